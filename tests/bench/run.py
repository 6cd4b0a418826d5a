"""Runs every benchmark beside this file and says which figures hold.

Each `bench_*.py` here has a function `main(out)` that returns a list of records with `name`, `value`,
`threshold`, `better` (`higher` or `lower`) and `unit`; ratios are taken within one run. The results are
printed, and saved as JSON in `bench-results/`.

    python tests/bench/run.py [NAME ...]
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import platform
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE.parent.parent / "bench-results"


def main(wanted: list[str]) -> int:
    """Run the wanted benchmarks, or all; returns 1 if a figure misses its threshold."""
    RESULTS.mkdir(exist_ok=True)
    scripts = sorted(HERE.glob("bench_*.py"))
    if wanted:
        scripts = [script for script in scripts if script.stem.removeprefix("bench_") in wanted]
    records: list[dict[str, Any]] = []
    for script in scripts:
        print(f"== {script.stem.removeprefix('bench_')}", flush=True)
        for record in load(script).main(RESULTS):
            record["passed"] = holds(record)
            records.append({"benchmark": script.stem, **record})
            print(describe(record), flush=True)
    machine = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    path = RESULTS / "results.json"
    path.write_text(json.dumps({"machine": machine, "records": records}, indent=2) + "\n")
    missed = [record for record in records if not record["passed"]]
    print(f"{len(records) - len(missed)} of {len(records)} figures hold; {path}")
    return 1 if missed else 0


def load(script: Path) -> Any:
    """The module in `script`."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def holds(record: dict[str, Any]) -> bool:
    """Whether a figure is on the right side of its threshold."""
    value, threshold = record["value"], record["threshold"]
    return bool(value >= threshold if record["better"] == "higher" else value <= threshold)


def describe(record: dict[str, Any]) -> str:
    """A line for people."""
    sign = ">=" if record["better"] == "higher" else "<="
    verdict = "ok    " if record["passed"] else "MISSED"
    wanted = f"(wanted {sign} {record['threshold']:g})"
    return f"{verdict} {record['name']}: {record['value']:.4g} {record['unit']} {wanted}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
