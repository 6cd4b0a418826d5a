"""The pages about migrating ResNet-BK: a program becomes what they show, and steps say the same as they."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelplug.migration.candidates import Candidate
from modelplug.migration.detection import Wishes
from modelplug.migration.explain import as_markdown, explained_steps
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.planning import Planner
from modelplug.paths import Paths

torch = pytest.importorskip("torch")
pytest.importorskip("resnet_bk")
pytest.importorskip("libcst")

from modelplug_migrators.resnet_bk.family import FAMILY, STEPS  # noqa: E402

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "migrating.md").read_text("utf-8")
README = (ROOT / "migrators" / "README.md").read_text("utf-8")
IMPORT = "from src.models.resnet_bk import LanguageModel\n"
TODAY = "from resnet_bk import MambaKillerConfig, ResNetBK\n"


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    """Import once what leaves traces in the process."""
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).zero_grad()


def migrated(folder: Path, text: str) -> str:
    """What becomes of a program."""
    path = folder / "train.py"
    path.write_text(text, "utf-8")
    home = folder / "home"
    paths = Paths(config=home, data=home, cache=home, logs=home)
    plan = Planner(MigrationGraph([FAMILY], STEPS), paths).plan_candidate(Candidate(path), Wishes())
    (change,) = plan.changes
    assert change.after is not None
    return change.after.decode()


def test_the_documented_program(tmp_path: Path) -> None:
    """Byte for byte; and afterwards it computes a loss and its gradient."""
    samples = dict(re.findall(r"```python\n# train\.py, (before|after)\n(.*?)```", PAGE, re.DOTALL))
    after = migrated(tmp_path, samples["before"])
    assert after == samples["after"]
    names: dict[str, object] = {"__name__": "train"}
    exec(compile(after, "train.py", "exec"), names)
    assert all(parameter.grad is not None for parameter in names["model"].parameters())  # type: ignore[attr-defined]


def test_the_call_in_the_readme(tmp_path: Path) -> None:
    """Both of its lines become what stands below them."""
    before, after = re.findall(r"((?:    model = .*\n)(?:    logits = .*\n))", README)
    lines = [re.sub("^    ", "", text, flags=re.MULTILINE) for text in (before, after)]
    assert migrated(tmp_path, IMPORT + lines[0]) == TODAY + lines[1]


def test_the_page_of_versions_says_what_the_steps_say() -> None:
    """It is what `modelplug migrate explain resnet-bk` prints, with a few lines before it."""
    steps = explained_steps(MigrationGraph([FAMILY], STEPS), FAMILY.name)
    page = (ROOT / "docs" / "migrating-resnet-bk.md").read_text("utf-8")
    assert page.partition("\n## ")[1:] == (
        "\n## ",
        as_markdown(FAMILY, steps).strip().removeprefix("## ") + "\n",
    )
