"""The table that `python -m resnet_bk.memory` shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from resnet_bk.memory.__main__ import main


@pytest.mark.parametrize("offloads", [False, True])
def test_the_table_has_a_line_for_each_way(tmp_path: Path, offloads: bool) -> None:
    """Offloading is shown if there is a folder for it, and recomputing saves less than not."""
    arguments = ["--batch-size", "1", "--length", "128", "--steps", "1"]
    result = CliRunner().invoke(
        main, [*arguments, *(["--offload-folder", str(tmp_path)] if offloads else [])]
    )
    assert result.exit_code == 0, result.output
    saved = dict(re.findall(r"^([a-z][a-z0-9, ]*?) {2,}([\d.]+) MB", result.output, re.MULTILINE))

    assert float(saved["checkpointing"]) < float(saved["as it is"])
    assert ("checkpointing, offloading" in result.output) == offloads
