"""Programs of any shape: what comes out can be read, and stays as it is a second time."""

from __future__ import annotations

import ast
import io
import tokenize
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

IMPORTS = [
    "from src.models.resnet_bk import LanguageModel",
    "from src.models.resnet_bk import LanguageModel as ResNetBK",
    "from src.models.resnet_bk import (\n    LanguageModel,  # a model\n    ResNetBKBlock,\n)",
    "from src.models import LanguageModel, BKCoreFunction",
    "import src.models.resnet_bk as rb",
    "from src.models.resnet_bk import ResNetBK",
    "from src.utils.config import MambaKillerConfig",
    "from src.models.scattering_router import ScatteringRouter",
    "from src.models.birman_schwinger_core import BirmanSchwingerCore",
    "from src.models.semiseparable_matrix import SemiseparableMatrix",
    "from src.benchmarks.streaming_evaluator import StreamingEvaluator",
    "from src.utils.checkpoint_manager import CheckpointManager",
    "try:\n    from models.resnet_bk import LanguageModel\nexcept ImportError:\n    LanguageModel = None",
    "import torch",
    "from resnet_bk import ResNetBK",
    "import os; from src.models.bk_core import BKCoreFunction",
]
ARGUMENTS = st.lists(
    st.sampled_from(
        [
            "vocab_size=9", "d_model=8", "dropout_p=0.1", "prime_bump_init=True", "num_experts=4", "top_k=1",
            "use_birman_schwinger=False", "use_symplectic=True", "use_bitnet=False", "manual_seed=3",
            "use_hybrid_gradient=flag", "use_semiseparable=False", "**config", "**other", "n_seq=len(x)",
            "num_layers=(\n        2)",
        ]
    ),
    unique=True,
    max_size=5,
)  # fmt: skip
POSITIONAL = st.lists(st.sampled_from(["1", "config", "vocab_size", "cfg.d_model", "x"]), max_size=3)
CALLEES = st.sampled_from(
    [
        "LanguageModel", "ResNetBK", "rb.LanguageModel", "ScatteringRouter", "BirmanSchwingerCore",
        "StreamingEvaluator", "SemiseparableMatrix", "CheckpointManager", "BKCoreFunction.apply",
        "MambaKillerConfig", "other", "m", "self.m",
    ]
)  # fmt: skip
SUFFIXES = st.sampled_from(
    ["", ".to(device)", "(x)", ".factorize(h)", ".save(m)", ".evaluate_streaming(x)", "[0]", ".d_model"]
)
LAYOUTS = st.sampled_from([", ", ",  # why\n        ", ",\n        "])


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """A call of something, laid out in some way."""
    glue = draw(LAYOUTS)
    given_ = [*draw(POSITIONAL), *draw(ARGUMENTS)]
    end = draw(st.sampled_from(["", ",", ",\n    ", "\n    "])) if given_ else ""
    return f"{draw(CALLEES)}({glue.join(given_)}{end}){draw(SUFFIXES)}"


PATTERNS = st.sampled_from(
    [
        "m = {}", "a, b = {}", "a, b, c = {}", "f({})", "m.forward({})", "m: LanguageModel = {}",
        "self.m = {}", "x = [{} for y in z]", "print(f'{{m.d_model}}', {})", "y = {} if c else m",
        "with torch.no_grad():\n    y = {}", "config = {{'d_model': 3, 'dropout_p': 0.1}}; m = {}",
        "def f(m=None):\n    return {}", "if c: m = {}", "BKCoreFunction.GRAD_BLEND = 0.3; m = {}",
        "class W(Base):\n    x = 1\n    def g(self):\n        self.m = {}\n        return self.m(x)",
        "f = lambda: {}", "def g():\n    global m\n    m = {}\n    return m",
    ]
)  # fmt: skip


@st.composite
def statements(draw: st.DrawFn) -> str:
    """A statement with such a call in it."""
    return draw(PATTERNS).format(draw(expressions()))


def parses(text: str) -> bool:
    """Whether Python takes a program."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A program: imports, then statements, with comments between them."""
    lines = [
        *draw(st.lists(st.sampled_from(IMPORTS), min_size=1, max_size=5)),
        *draw(st.lists(statements(), max_size=5)),
    ]
    lines = [f"# {index}\n{line}" if draw(st.booleans()) else line for index, line in enumerate(lines)]
    end = draw(st.sampled_from(["\n", "\r\n"]))
    return ("\n".join(lines) + "\n").replace("\n", end)


def comments(text: str) -> list[str]:
    """Every comment of a program, in their order."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(text=texts().filter(parses))
def test_any_program_can_be_read_afterwards(programs_to: Callable[[str], Any], text: str) -> None:
    """It parses, has its comments and line ends, and a second time nothing changes."""
    programs = programs_to("1.0")
    after = programs.open(text).text
    assert parses(after)
    assert sorted(comments(after)) == sorted(comments(text))
    assert ("\r\n" in after) == ("\r\n" in text)
    assert after.count("\n") == after.count("\r\n") or "\r\n" not in after
    assert programs.open(after).text == after


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(text=texts().filter(parses), filler=st.integers(1, 3))
def test_what_does_not_matter_changes_nothing(
    programs_to: Callable[[str], Any], text: str, filler: int
) -> None:
    """Statements that mention nothing of it stay, and the rest changes as it does without them."""
    programs = programs_to("1.0")
    extra = "def unrelated(number):\n    # nothing\n    return number + 1\n\nvalue = unrelated(3)\n" * filler
    extra = extra.replace("\n", "\r\n" if "\r\n" in text else "\n")
    assert programs.open(text + extra).text == programs.open(text).text + extra


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(text=texts().filter(parses))
def test_all_steps_end_where_the_last_one_does(programs_to: Callable[[str], Any], text: str) -> None:
    """A program that goes through every version ends as one that only the last step saw."""
    stepwise = text
    for version in ("0.5", "0.6", "0.7", "0.8", "0.9", "1.0"):
        stepwise = programs_to(version).open(stepwise).text
    assert stepwise == programs_to("1.0").open(text).text
