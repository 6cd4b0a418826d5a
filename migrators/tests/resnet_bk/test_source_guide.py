"""The promise to whoever comes with the guide in hand: its listings of before become those of after."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

GUIDE = Path(__file__).parents[4] / "shared" / "reference" / "source-guide-resnet-bk.md"
IMPORT = "from src.models.resnet_bk import LanguageModel\n"


@pytest.fixture(scope="module")
def guide() -> str:
    """The guide; without it, the test is skipped."""
    if not GUIDE.is_file():
        pytest.skip("the guide is not here")
    return GUIDE.read_text("utf-8")


def listing(guide: str, first_words: str) -> str:
    """The listing below a line that begins with these words."""
    found = re.search(rf"^{re.escape(first_words)}.*?```python\n(.*?)```", guide, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def calls(text: str) -> list[str]:
    """What a program does besides importing, each statement spelled alike."""
    tree = ast.parse(text)
    return [ast.unparse(node) for node in tree.body if not isinstance(node, (ast.Import, ast.ImportFrom))]


def test_models_from_a_configuration(programs: Any, guide: str) -> None:
    """The model of 0.9 is made of the configuration that the guide shows, with the same settings."""
    after = programs.migrate(listing(guide, "**Before (0.9.x)"))
    assert after.startswith("from resnet_bk import MambaKillerConfig, ResNetBK\n")
    expected = calls(listing(guide, "**After (1.0.0)"))
    (config, model) = expected
    made = config.removeprefix("config = ")
    assert calls(after) == [model.replace("ResNetBK(config)", f"ResNetBK({made})")]


@pytest.mark.parametrize(
    "first_words",
    [
        "**After (1.0.0)",
        "**Migration Script",
        "**After (0.7.0)",
        "#### 2. Mixed-Precision",
        "#### 2. Streaming",
        "#### 2. Memory",
    ],
)
def test_listings_of_after_only_change_their_imports(programs: Any, guide: str, first_words: str) -> None:
    """What the guide tells people to write is what `resnet_bk` takes."""
    text = listing(guide, first_words)
    after = programs.migrate(text)
    assert calls(after) == calls(text)
    assert "src." not in after
    assert "from resnet_bk import " in after


@pytest.mark.parametrize("first_words", ["**After (0.8.0)", "**Usage:**"])
def test_counting_and_export_are_written_as_in_the_guide(programs: Any, guide: str, first_words: str) -> None:
    """Their listings change nothing but the import."""
    part = guide[guide.index("#### 2. FLOPs") if "0.8" in first_words else guide.index("#### 2. ONNX") :]
    text = listing(part, first_words)
    after = programs.migrate(text)
    assert calls(after) == calls(text)
    assert "from resnet_bk import " in after


@pytest.mark.parametrize(
    ("first_words", "after"),
    [
        ("**Before (0.8.x)", "model = ResNetBK(MambaKillerConfig(vocab_size=30000, d_model=256))"),
        ("**Before (0.7.x)", "model = ResNetBK(MambaKillerConfig(vocab_size=30000, d_model=256))"),
        ("**Before (0.5.x)", "model = ResNetBK(MambaKillerConfig(n_seq=2048))"),
        ("**Before (0.4.x)", "model = ResNetBK(MambaKillerConfig(d_model=256))"),
        ("**After (0.6.0)", "model = ResNetBK(MambaKillerConfig(n_seq=131072))"),
        (
            "**After (0.5.0)",
            "model = ResNetBK(MambaKillerConfig(d_model=256, use_semiseparable=True, low_rank=None))",
        ),
        (
            "**After (0.8.0)",
            (
                "model = ResNetBK(MambaKillerConfig(vocab_size=30000, d_model=256, use_act=True, "
                "act_halt_threshold=0.2))"
            ),
        ),
        ("To disable", "model = ResNetBK(MambaKillerConfig(d_model=256))"),
    ],
)
def test_models_of_every_version(programs: Any, guide: str, first_words: str, after: str) -> None:
    """Whatever version a listing is for, it ends as a model of 1.0, and its comments stay."""
    text = listing(guide, first_words)
    migrated = programs.migrate(IMPORT * (IMPORT not in text) + text)
    assert calls(migrated) == [after]
    assert re.findall("#.*", migrated) == re.findall("#.*", text)


def test_what_the_guide_says_in_words(programs: Any) -> None:
    """Z is given, the router gives two things, factorize gives three, and deprecated settings go."""
    before = (
        "import torch\n"
        "from src.models.birman_schwinger_core import BirmanSchwingerCore\n"
        "from src.models.scattering_router import ScatteringRouter\n"
        "from src.models.semiseparable_matrix import SemiseparableMatrix\n"
        "from src.models.resnet_bk import ResNetBK\n"
        "g, facts = BirmanSchwingerCore(8)(v)\n"
        "experts = ScatteringRouter(4)(g)\n"
        "tridiag, lowrank = SemiseparableMatrix(8).factorize(h)\n"
        "model = ResNetBK(d_model=32, use_hybrid_gradient=True, manual_seed=1)\n"
    )
    after = (
        "import torch\n"
        "g, facts = BirmanSchwingerCore(8)(v, z=1.0j)\n"
        "experts, _ = ScatteringRouter(4)(g)\n"
        "tridiag, *lowrank = SemiseparableMatrix(8).factorize(h)\n"
        "torch.manual_seed(1)\n"
        "model = ResNetBK(MambaKillerConfig(d_model=32, grad_blend=0.5))\n"
    )
    assert calls(programs.migrate(before)) == calls(after)


def test_the_whole_guide_can_be_migrated(programs: Any, guide: str) -> None:
    """The guide is a Markdown file: its listings change, and everything else keeps every byte."""
    after = programs.migrate(guide, "guide.md")
    outside = re.compile(r"```python\n.*?```", re.DOTALL)
    assert outside.sub("", after) == outside.sub("", guide)
    assert "from src." not in after
