"""The style of the HTML page: light and dark as the reader's system asks, and readable from 320 pixels on."""

from __future__ import annotations

__all__ = ["STYLE"]

# The colours keep a contrast of at least 3:1 against their background, and differ for colour-blind eyes.
STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1b1f24; --soft: #57606a; --rule: #d0d7de;
  --card: #f6f8fa; --bad: #b3261e; --good: #1a7f37;
  --c0: #0b66b2; --c1: #b45309; --c2: #1b7a5a; --c3: #a03a86; --c4: #5b5bd6; --c5: #7a6a00; }
@media (prefers-color-scheme: dark) { :root { --page: #0f1318; --ink: #e6e9ed; --soft: #9aa4af;
  --rule: #3a434e; --card: #181e25; --bad: #ff8f87; --good: #5fcf80;
  --c0: #58a6ff; --c1: #f0a03c; --c2: #3fc08f; --c3: #e07cc8; --c4: #a3a3ff; --c5: #d6c04a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; margin: 0.5rem 0; } h2 { font-size: 1.2rem; margin: 2rem 0 0.5rem; }
p { margin: 0.5rem 0; max-width: 60rem; }
small, .how, figcaption span, .days { color: var(--soft); font-size: 0.85rem; }
figure { margin: 1rem 0; padding: 0.75rem 1rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: 6px; }
figcaption { margin-bottom: 0.5rem; }
svg { display: block; width: 100%; }
svg line, svg polyline { vector-effect: non-scaling-stroke; fill: none; }
.grid { stroke: var(--rule); stroke-width: 1; }
.interval line { stroke: var(--ink); stroke-width: 2; }
.row { display: grid; grid-template-columns: minmax(8rem, 14rem) 1fr minmax(8rem, 16rem); gap: 0.1rem 0.75rem;
  align-items: center; margin-bottom: 0.4rem; }
.row svg { height: 2rem; }
.row .name { overflow-wrap: anywhere; }
.figure small { display: block; }
.marks { position: relative; height: 1.3rem; font-size: 0.8rem; color: var(--soft); }
.marks span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
.marks span:first-child { transform: none; }
.marks span:last-child { transform: translateX(-100%); }
.chart { display: grid; grid-template-columns: auto 1fr; gap: 0.5rem; }
.chart svg { height: 14rem; }
.chart polyline { stroke-width: 2; }
.dot { stroke-width: 9; stroke-linecap: round; }
.upright { position: relative; min-width: 3.5rem; font-size: 0.8rem; color: var(--soft); }
.upright span { position: absolute; right: 0; transform: translateY(50%); white-space: nowrap; }
.days { display: flex; justify-content: space-between; padding-left: 4rem; }
.keys { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; margin-bottom: 0.5rem; }
.key { display: inline-flex; align-items: center; gap: 0.4rem; overflow-wrap: anywhere; }
.key i { width: 0.9rem; height: 0.9rem; border-radius: 50%; flex: none; }
rect.c0 { fill: var(--c0); } polyline.c0, .dot.c0 { stroke: var(--c0); } i.c0 { background: var(--c0); }
rect.c1 { fill: var(--c1); } polyline.c1, .dot.c1 { stroke: var(--c1); } i.c1 { background: var(--c1); }
rect.c2 { fill: var(--c2); } polyline.c2, .dot.c2 { stroke: var(--c2); } i.c2 { background: var(--c2); }
rect.c3 { fill: var(--c3); } polyline.c3, .dot.c3 { stroke: var(--c3); } i.c3 { background: var(--c3); }
rect.c4 { fill: var(--c4); } polyline.c4, .dot.c4 { stroke: var(--c4); } i.c4 { background: var(--c4); }
rect.c5 { fill: var(--c5); } polyline.c5, .dot.c5 { stroke: var(--c5); } i.c5 { background: var(--c5); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.95rem; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.75rem 0.35rem 0;
  border-bottom: 1px solid var(--rule); overflow-wrap: anywhere; }
td.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
.bad { color: var(--bad); } .good { color: var(--good); }
@media (max-width: 44rem) {
  body { padding: 0.75rem; }
  figure { padding: 0.6rem; }
  .row { grid-template-columns: 1fr; margin-bottom: 0.75rem; }
  .row .name { font-weight: 600; }
  .row svg { height: 1.5rem; }
  .row.axis > span { display: none; }
  .marks span:nth-child(even):not(:last-child) { display: none; }
  table.figures thead { display: none; }
  table.figures tr { display: block; padding: 0.5rem 0; border-bottom: 1px solid var(--rule); }
  table.figures td { display: block; border: 0; padding: 0; white-space: normal; }
  table.figures td:first-child { font-weight: 600; }
}
"""
