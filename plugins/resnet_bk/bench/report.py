"""Renders the results of `quality.py` and `recall.py` as one Markdown page.

    python plugins/resnet_bk/bench/report.py

What is met and what is missed is computed from the figures.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from comparison.quality_page import quality
from comparison.recall_page import recall
from comparison.results import FOLDER

from modelplug.atomic import write_atomically


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option(
    "--folder",
    default=FOLDER,
    show_default="docs/results",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the results are, and where the page goes.",
)
def main(folder: Path) -> None:
    """Render what there is."""
    lines = ["# ResNet-BK: quality and recall", "", "Rendered from the results beside this page.", ""]
    for render, name in ((quality, "quality"), (recall, "recall")):
        path = folder / f"resnet-bk-{name}.json"
        if path.exists():
            lines += render(json.loads(path.read_text(encoding="utf-8")))
    page = folder / "resnet-bk-quality.md"
    write_atomically(page, "\n".join(lines).rstrip() + "\n")
    click.echo(f"{page} is written.")


if __name__ == "__main__":
    main()
