"""Notebooks, Markdown, encodings, and what can't be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

CELL = "m = LanguageModel(d_model=3)\n"
IMPORT = "from src.models.resnet_bk import LanguageModel\n"
TODAY = "from resnet_bk import MambaKillerConfig, ResNetBK\n"
MADE = "m = ResNetBK(MambaKillerConfig(d_model=3))\n"


def notebook(*cells: str, indent: int | None = 1, ascii_only: bool = False, **metadata: Any) -> str:
    """A notebook with these code cells, between other ones."""
    made: list[dict[str, Any]] = [{"cell_type": "markdown", "metadata": {}, "source": ["# Größe\n", CELL]}]
    made += [
        {
            "cell_type": "code",
            "execution_count": 3,
            "metadata": {"scrolled": True},
            "outputs": [{"data": {"image/png": "iVBOR" * 50}, "output_type": "display_data"}],
            "source": cell.splitlines(keepends=True),
        }
        for cell in cells
    ]
    data = {"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(data, indent=indent, ensure_ascii=ascii_only) + "\n"


def sources(text: str) -> list[str]:
    """The code of a notebook, cell by cell."""
    return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("indent", [1, 2, None])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_cells_are_one_program(programs: Any, indent: int | None, ascii_only: bool) -> None:
    """What one cell imports another one uses; only lines that change get other bytes."""
    cells = (f"# größer\n{IMPORT}x = 1", CELL + "print('ä')", "y = m(x)\n")
    before = notebook(*cells, indent=indent, ascii_only=ascii_only)
    after = programs.migrate(before, "n.ipynb")
    assert after == notebook(
        f"# größer\n{TODAY}x = 1",
        MADE + "print('ä')",
        "y = m(x).logits\n",
        indent=indent,
        ascii_only=ascii_only,
    )


def test_the_last_line_of_a_cell_can_go(programs: Any) -> None:
    """It has no end, so what goes is the end of the line before; a cell may become empty."""
    blend = "from src.models.bk_core import BKCoreFunction\n"
    set_to = "BKCoreFunction.GRAD_BLEND = 0.3"
    after = "m = ResNetBK(MambaKillerConfig(d_model=3, grad_blend=0.3))\n"
    before = notebook(f"{blend}{IMPORT}{set_to}", CELL)
    assert sources(programs.migrate(before, "n.ipynb")) == [TODAY.strip(), after]
    before = notebook(blend + IMPORT, set_to, CELL)
    assert sources(programs.migrate(before, "n.ipynb")) == [TODAY, "", after]
    before = notebook(IMPORT + blend.strip(), set_to + "\n", CELL)
    assert sources(programs.migrate(before, "n.ipynb")) == [TODAY.strip(), "", after]


def test_a_cell_that_is_one_text(programs: Any) -> None:
    """Some programs write a cell's source as one text."""
    data = json.loads(notebook(IMPORT + CELL))
    data["cells"][1]["source"] = IMPORT + CELL
    after = programs.migrate(json.dumps(data), "n.ipynb")
    data["cells"][1]["source"] = TODAY + MADE
    assert after == json.dumps(data)


@pytest.mark.parametrize(
    "cell",
    [
        "!pip install torch\n",
        "%matplotlib inline\nimport torch\n",
        "import os\nif not os.path.exists('src'):\n    !git clone x \\\n        y\n    %cd x\n",
        "%%bash\nls *.py\n",
        "%%time\nx = 1\n",
        "files = !ls\n",
        "torch?\n",
    ],
)
def test_cells_with_commands_stay(programs: Any, cell: str) -> None:
    """They keep every byte, and what other cells need is still understood."""
    after = programs.migrate(notebook(cell, IMPORT + CELL), "n.ipynb")
    assert sources(after) == [cell, TODAY + MADE]


def test_older_code_beside_a_command_is_told(programs: Any) -> None:
    """The cell stays as it is; other cells import what they need for themselves."""
    first = f"%cd repo\n{IMPORT}"
    before = notebook(first, CELL + "y = m(x)\n", "!nvidia-smi\nn = LanguageModel(d_model=4)\n")
    after = programs.migrate(before, "n.ipynb")
    assert sources(after) == [
        first,
        TODAY + MADE + "y = m(x).logits\n",
        "!nvidia-smi\nn = LanguageModel(d_model=4)\n",
    ]
    todos = programs.todos(before, "n.ipynb")
    assert all(
        told.endswith("this cell has IPython's own commands in it and stays as it is") for told in todos
    )
    lines = [before.splitlines()[int(todo.partition(":")[0]) - 1].strip() for todo in todos]
    assert lines == [json.dumps(IMPORT), '"n = LanguageModel(d_model=4)\\n"']


def test_a_cell_that_is_no_python_is_told(programs: Any) -> None:
    """The others change; a line of the file says which one it is."""
    before = notebook(IMPORT, "m = LanguageModel(\n", CELL)
    assert sources(programs.migrate(before, "n.ipynb")) == [TODAY, "m = LanguageModel(\n", MADE]
    (told,) = programs.todos(before, "n.ipynb")
    line, _, message = told.partition(": ")
    assert message == "this cell is not read: it has a command of IPython, or is no Python"
    assert '"m = LanguageModel(\\n"' in before.splitlines()[int(line) - 1]


def test_notebooks_of_other_languages_and_broken_ones_stay(programs: Any) -> None:
    """A notebook of R is none of ours; one that is no JSON is told with the line."""
    other = notebook(IMPORT + CELL, language_info={"name": "R"})
    assert programs.migrate(other, "n.ipynb") == other
    broken = notebook(IMPORT + CELL)[:-30]
    assert programs.migrate(broken, "n.ipynb") == broken
    assert "the notebook is no JSON" in programs.todos(broken, "n.ipynb")[0]


def test_blocks_of_markdown_are_one_program(programs: Any) -> None:
    """Python blocks change, indented ones too; everything else keeps every byte."""
    before = (
        "# LanguageModel\n\n```python\n" + IMPORT + CELL + "```\n\n"
        "1. then\n\n   ~~~py\n   y = m(x)\n\n   print(y)\n   ~~~\n\n"
        "```bash\nLanguageModel(d_model=3)\n```\n\n`LanguageModel(d_model=3)`\n\n"
        '````python title="x.py"\nm = LanguageModel(d_model=3)\n````\n'
    )
    after = (
        "# LanguageModel\n\n```python\n" + TODAY + MADE + "```\n\n"
        "1. then\n\n   ~~~py\n   y = m(x).logits\n\n   print(y)\n   ~~~\n\n"
        "```bash\nLanguageModel(d_model=3)\n```\n\n`LanguageModel(d_model=3)`\n\n"
        '````python title="x.py"\nm = ResNetBK(MambaKillerConfig(d_model=3))\n````\n'
    )
    assert programs.migrate(before, "README.md") == after


def test_each_block_of_markdown_keeps_an_import_of_its_own(programs: Any) -> None:
    """Who reads one block can run it without the others."""
    block = "```python\n{}m{} = {}(d_model=3)\n```\n"
    before = block.format(IMPORT, 1, "LanguageModel") + "and\n" + block.format(IMPORT, 2, "LanguageModel")
    today = "ResNetBK(MambaKillerConfig(d_model=3))"
    after = before.replace(IMPORT, TODAY).replace("LanguageModel(d_model=3)", today)
    assert programs.migrate(before, "README.md") == after


def test_a_block_that_is_no_python_is_told(programs: Any) -> None:
    """It stays, and the others change."""
    before = f"```python\n{IMPORT}{CELL}```\n\n```python\nLanguageModel(...\n```\n\n```python\n>>> 1 +\n```\n"
    assert programs.migrate(before, "a.md") == before.replace(IMPORT, TODAY).replace(CELL, MADE)
    assert programs.todos(before, "a.md") == ["7: this block is not read: it is no Python"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{IMPORT}m = LanguageModel(\n", "2: this can't be read, and stays as it is: Python"),
        (f"{IMPORT}print 'x'\n", "2: this can't be read, and stays as it is: Python"),
        (f"{IMPORT}x = '\0'\n", "None: this can't be read, and stays as it is: "),
        (f"{IMPORT}x = {'-' * 400}1  # LanguageModel\n", "2: this can't be read, and stays as it is: "),
        (
            f"{IMPORT}x = {'[' * 160}{']' * 160}  # LanguageModel\n",
            "2: this can't be read, and stays as it is: ",
        ),
    ],
)
def test_what_can_t_be_read_is_told_and_stays(programs: Any, text: str, told: str) -> None:
    """The reader learns the line and the reason; other files go on."""
    editor = programs.open(text)
    assert editor.text == text
    assert editor.render() == text.encode()
    (only,) = programs.todos(text)
    assert only.startswith(told)


@pytest.mark.parametrize("ends", ["\r\n", "\n"])
@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_line_ends_and_byte_order_marks_stay(programs: Any, ends: str, mark: str) -> None:
    """They are as they were, also in lines that are new."""
    before = f"{mark}import torch\n{IMPORT}m = LanguageModel(d_model=3, manual_seed=1)\n".replace("\n", ends)
    after = programs.open(before).render().decode()
    assert after == f"{mark}import torch\n{TODAY}torch.manual_seed(1)\n{MADE}".replace("\n", ends)


def test_tabs_and_a_missing_last_line_end_stay(programs: Any) -> None:
    """New lines are indented as their neighbours are."""
    before = f"import torch\ndef f():\n\t{IMPORT}\treturn LanguageModel(manual_seed=1)"
    assert programs.migrate(before) == (
        f"import torch\ndef f():\n\t{TODAY}\ttorch.manual_seed(1)\n\treturn ResNetBK(MambaKillerConfig())"
    )


def test_a_program_that_takes_too_long_stays(programs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a time that one file may take; what would take longer is told and stays."""
    from modelplug_migrators.resnet_bk.source import deadline

    monkeypatch.setattr(deadline, "_LINES_PER_SECOND", 1e-9)
    text = f"{IMPORT}{CELL}"
    assert programs.open(text).text == text
    assert (
        "this stays as it is: looking at the program would take more than 30 seconds"
        in programs.todos(text)[0]
    )


def test_escapes_that_python_warns_of_are_no_concern(programs: Any) -> None:
    """Warnings of the compiler about the user's program are not ours to show."""
    after = programs.open(f"{IMPORT}x = '\\d'  # LanguageModel\n{CELL}").text
    assert after == f"{TODAY}x = '\\d'  # LanguageModel\n{MADE}"
