"""Seeds, gradients, checkpoints, evaluation, and the settings of a version."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "from src.models.resnet_bk import LanguageModel\n"
TODAY = "from resnet_bk import MambaKillerConfig, ResNetBK\n"
MANAGER = "from src.utils.checkpoint_manager import CheckpointManager\n"
EVALUATOR = "from src.benchmarks.streaming_evaluator import StreamingEvaluator\n"


# Seeds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "m = LanguageModel(d_model=3, manual_seed=42)",
            "torch.manual_seed(42)\nm = ResNetBK(MambaKillerConfig(d_model=3))",
        ),
        (
            "def f(seed):\n    return LanguageModel(manual_seed=seed + 1).to('cpu')",
            (
                "def f(seed):\n    torch.manual_seed(seed + 1)\n"
                "    return ResNetBK(MambaKillerConfig()).to('cpu')"
            ),
        ),
        (
            "def f(seed=None):\n    return LanguageModel(manual_seed=seed)",
            (
                "def f(seed=None):\n    if seed is not None:\n        torch.manual_seed(seed)\n"
                "    return ResNetBK(MambaKillerConfig())"
            ),
        ),
        ("m = LanguageModel(manual_seed=None)", "m = ResNetBK(MambaKillerConfig())"),
        (
            "f = lambda: LanguageModel(manual_seed=1)",
            "f = lambda: ResNetBK(MambaKillerConfig(manual_seed=1))",
        ),
        (
            "m = LanguageModel(manual_seed=draw())",
            "m = ResNetBK(MambaKillerConfig(manual_seed=draw()))",
        ),
        (
            "m = c and LanguageModel(manual_seed=1)",
            "m = c and ResNetBK(MambaKillerConfig(manual_seed=1))",
        ),
    ],
)
def test_a_seed_is_set_before_the_model_is_made(programs: Any, before: str, after: str) -> None:
    """`manual_seed` becomes a call of torch, where a line can be put before; elsewhere it stays."""
    assert programs.migrate(f"import torch\n{MODEL}{before}\n") == f"import torch\n{TODAY}{after}\n"


def test_torch_is_imported_for_a_seed(programs: Any) -> None:
    """A program that does not import torch gets that too."""
    after = programs.migrate(f"{MODEL}m = LanguageModel(manual_seed=1)\n")
    assert after == f"import torch\n{TODAY}torch.manual_seed(1)\nm = ResNetBK(MambaKillerConfig())\n"


def test_torch_under_another_name(programs: Any) -> None:
    """A name of the program's own is not taken for torch."""
    after = programs.migrate(f"import torch as t\n{MODEL}m = LanguageModel(manual_seed=1)\n")
    assert "import torch\nfrom resnet_bk" in after


@pytest.mark.parametrize(
    "line",
    [
        "torch.manual_seed(42)",
        "torch.cuda.manual_seed_all(42)",
        "generator = torch.Generator().manual_seed(0)",
        "set_seed(manual_seed=3)",
        "Other(manual_seed=3, use_hybrid_gradient=True)",
    ],
)
def test_seeds_of_others_stay(programs: Any, line: str) -> None:
    """What only has the same name keeps every byte."""
    after = programs.migrate(f"import torch\n{MODEL}{line}\nm = LanguageModel(manual_seed=1)\n")
    assert f"\n{line}\n" in after


def test_deprecated_settings_of_a_configuration(programs: Any) -> None:
    """A configuration of today may still have them; they go in the same way."""
    before = """\
    import torch
    from src.utils.config import MambaKillerConfig

    config = MambaKillerConfig(
        vocab_size=9,
        manual_seed=1,
        use_hybrid_gradient=True,
        use_semiseparable=False,  # dense
    )
    """
    after = """\
    import torch
    from resnet_bk import MambaKillerConfig

    torch.manual_seed(1)
    config = MambaKillerConfig(
        vocab_size=9,
        grad_blend=0.5,
        # dense
    )
    """
    assert programs.migrate(dedent(before)) == dedent(after)
    assert programs.told(dedent(before)) == [
        "warning 4: use_semiseparable=False: the dense mode is gone, the model is semiseparable now"
    ]


# Gradients ------------------------------------------------------------------------------------------------


def test_the_blend_of_all_models_becomes_a_setting(programs: Any) -> None:
    """Where it is set once, before the models, each of them gets it."""
    before = """\
    from src.models.bk_core import BKCoreFunction
    from src.models.resnet_bk import LanguageModel

    BKCoreFunction.GRAD_BLEND = 0.3
    a = LanguageModel(d_model=3)
    b = LanguageModel()
    """
    after = """\
    from resnet_bk import MambaKillerConfig, ResNetBK

    a = ResNetBK(MambaKillerConfig(d_model=3, grad_blend=0.3))
    b = ResNetBK(MambaKillerConfig(grad_blend=0.3))
    """
    assert programs.migrate(dedent(before)) == dedent(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("m = {old}(d_model=3)\nBKCoreFunction.GRAD_BLEND = 0.3", "m = {new}(d_model=3, grad_blend=0.3))"),
        (
            "def f():\n    return {old}(d_model=3)\nBKCoreFunction.GRAD_BLEND = 1",
            "def f():\n    return {new}(d_model=3, grad_blend=1))",
        ),
        (
            "for b in bs:\n    BKCoreFunction.GRAD_BLEND = b  # try\n    m = {old}(d_model=3)",
            "for b in bs:\n    # try\n    m = {new}(d_model=3, grad_blend=b))",
        ),
        (
            "def f(args):\n    BKCoreFunction.GRAD_BLEND = args.blend\n    return {old}(d_model=3).to(d)",
            "def f(args):\n    return {new}(d_model=3, grad_blend=args.blend)).to(d)",
        ),
        (
            "BKCoreFunction.GRAD_BLEND = 0.3\nm = {old}(\n    use_birman_schwinger=True,\n)",
            "m = {new}(grad_blend=0.3\n))",
        ),
        (
            "BKCoreFunction.GRAD_BLEND = 0.3\nm = {old}(\n    num_experts=2,\n    use_birman_schwinger=a,\n)",
            "m = {new}(\n    num_experts=2, top_k=1, grad_blend=0.3,\n))",
        ),
        (
            "c = {'num_experts': 2}\nBKCoreFunction.GRAD_BLEND = 0.3\nm = {old}(**c)",
            "c = {'num_experts': 2}\nm = {new}(**c, top_k=1, grad_blend=0.3))",
        ),
    ],
)
def test_the_blend_goes_where_the_settings_are(programs: Any, before: str, after: str) -> None:
    """A number may be set behind the model too; another value is one the model's place has as well."""
    text = before.replace("{old}", "LanguageModel")
    expected = after.replace("{new}", "ResNetBK(MambaKillerConfig")
    migrated = programs.migrate(f"from src.models.bk_core import BKCoreFunction\n{MODEL}{text}\n")
    assert migrated == f"{TODAY}{expected}\n"


def test_the_blend_of_a_configuration(programs: Any) -> None:
    """A configuration of its own gets it as a model does."""
    before = """\
    from src.models.bk_core import BKCoreFunction
    from src.models.resnet_bk import ResNetBK
    from src.utils.config import MambaKillerConfig

    BKCoreFunction.GRAD_BLEND = 0.3
    config = MambaKillerConfig(d_model=3, manual_seed=None)
    model = ResNetBK(config)
    """
    after = """\
    from resnet_bk import MambaKillerConfig, ResNetBK

    config = MambaKillerConfig(d_model=3, grad_blend=0.3)
    model = ResNetBK(config)
    """
    assert programs.migrate(dedent(before)) == dedent(after)


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (
            "BKCoreFunction.GRAD_BLEND = 0.3\nBKCoreFunction.GRAD_BLEND = 0.4\nm = LanguageModel(d_model=3)",
            "as it is set or read in several places: write grad_blend=0.3 in the MambaKillerConfig of each",
        ),
        (
            "for b in bs:\n    BKCoreFunction.GRAD_BLEND = b\nm = LanguageModel(d_model=3)",
            "as a model is not made after it, in the same block",
        ),
        (
            "if bs:\n    BKCoreFunction.GRAD_BLEND = 0.3\n    pass\nm = LanguageModel(d_model=3)",
            "as not every model is made in the block where it is set",
        ),
        (
            "BKCoreFunction.GRAD_BLEND = b\ndef f():\n    return LanguageModel(d_model=3)",
            "as a model is made in another function",
        ),
        ("m = LanguageModel(d_model=3)\nBKCoreFunction.GRAD_BLEND = b", "as a model is not made after it"),
        (
            "b = 1\nBKCoreFunction.GRAD_BLEND = b\nb = 2\nm = LanguageModel(d_model=3)",
            "as b gets another value before a model is made",
        ),
        (
            "BKCoreFunction.GRAD_BLEND = a.b\na.b = 2\nm = LanguageModel(d_model=3)",
            "as a.b gets another value before a model is made",
        ),
        ("BKCoreFunction.GRAD_BLEND = f()\nm = LanguageModel(d_model=3)", "as f() may be something else"),
        ("print(BKCoreFunction.GRAD_BLEND)", "not simply given a value: a model says it by model.config.gra"),
        (
            'setattr(BKCoreFunction, "GRAD_BLEND", 0.3)\nm = LanguageModel(d_model=3)',
            "as it is not simply given a value: write grad_blend=0.3 in the MambaKillerConfig of each",
        ),
        ("BKCoreFunction.GRAD_BLEND = 0.3\nm = LanguageModel(grad_blend=0.1)", "a blend of its own"),
        ("BKCoreFunction.GRAD_BLEND = 0.3\nm = LanguageModel(use_hybrid_gradient=a)", "a blend of its own"),
        ("c = {'grad_blend': 1}\nBKCoreFunction.GRAD_BLEND = 0.3\nm = LanguageModel(**c)", "of its own"),
        ("BKCoreFunction.GRAD_BLEND = 0.3\nm = LanguageModel(**c)", "settings of a model can't be seen"),
        ("BKCoreFunction.GRAD_BLEND = 0.3", "as no model is made in this file: write grad_blend=0.3"),
        (
            "BKCoreFunction.GRAD_BLEND = 0.3\nBKCoreFunction.apply(a)\nm = LanguageModel(d_model=3)",
            "as the program also uses BKCoreFunction itself, which resnet_bk has not",
        ),
        ("BKCoreFunction.GRAD_BLEND = 0.3; m = LanguageModel(d_model=3)", "its line can't be taken out"),
        (
            "from src.models import ConfigurableResNetBK as C\nBKCoreFunction.GRAD_BLEND = 0.3\nm = C(c)",
            "as there are models that are not made from these settings",
        ),
    ],
)
def test_a_blend_that_can_t_be_decided_is_told(programs: Any, rest: str, reason: str) -> None:
    """It stays where it is, and the reader learns why, and what to write."""
    text = f"from src.models.bk_core import BKCoreFunction\n{MODEL}{rest}\n"
    assert "GRAD_BLEND" in programs.migrate(text)
    told = "".join(each for each in programs.todos(text) if "GRAD_BLEND held for all models" in each)
    assert reason in told


# Checkpoints ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("CheckpointManager()", 'CheckpointManager("./checkpoints")'),
        ("CheckpointManager('x')", "CheckpointManager('x')"),
        ("CheckpointManager('x', 3)", "CheckpointManager('x', keep=3)"),
        ("CheckpointManager(keep_last_n=3)", 'CheckpointManager("./checkpoints", keep=3)'),
        (
            "CheckpointManager(checkpoint_dir=d, keep_last_n=3, save_optimizer=True)",
            "CheckpointManager(directory=d, keep=3)",
        ),
        ("CheckpointManager('x').save(m, o)", "CheckpointManager('x').save_checkpoint(model=m, optimizer=o)"),
        (
            "CheckpointManager('x').save(m, epoch=1, metrics={'loss': 2}, is_best=False)",
            "CheckpointManager('x').save_checkpoint(model=m, epoch=1, metadata={\"metrics\": {'loss': 2}})",
        ),
        (
            "CheckpointManager('x').load(p, m, o, device='cpu')",
            "CheckpointManager('x').load(p, model=m, optimizer=o)",
        ),
        ("CheckpointManager('x').load(model=m)['epoch']", "CheckpointManager('x').load(model=m).epoch"),
        ("CheckpointManager('x').get_latest_checkpoint()", "CheckpointManager('x').latest()"),
    ],
)
def test_a_manager_of_checkpoints(programs: Any, before: str, after: str) -> None:
    """What was told by position is told by name, and methods have today's names."""
    assert (
        programs.migrate(f"{MANAGER}c = {before}\n")
        == f"from resnet_bk import CheckpointManager\nc = {after}\n"
    )


def test_what_a_manager_loads(programs: Any) -> None:
    """What was looked up in a dictionary is an attribute."""
    before = f"{MANAGER}c = CheckpointManager('x')\nd = c.load_best(m)\nprint(d['epoch'], d['step'])\n"
    assert programs.migrate(before) == (
        "from resnet_bk import CheckpointManager\nc = CheckpointManager('x')\n"
        "d = c.load(c.best(), model=m)\nprint(d.epoch, d.step)\n"
    )


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("CheckpointManager('x').save(m, is_best=loss < best)", "takes no is_best"),
        ("CheckpointManager('x', save_optimizer=False)", "with save_optimizer=False it left something out"),
        ("c = CheckpointManager('x')\nc.list_checkpoints()", "has no list_checkpoints"),
        (
            "d = CheckpointManager('x').load(p)\nd['metrics']",
            "is used as a dictionary, and is a Checkpoint now",
        ),
        ("train(CheckpointManager('x'))", "it goes where its uses can't be seen"),
    ],
)
def test_a_manager_that_can_t_be_decided_stays(programs: Any, rest: str, reason: str) -> None:
    """It stays with all its uses and its import."""
    assert programs.migrate(f"{MANAGER}{rest}\n") == f"{MANAGER}{rest}\n"
    assert reason in programs.todos(f"{MANAGER}{rest}\n")[0]


# Evaluation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.6", "1.0"])
def test_streaming_evaluation(programs_to: Callable[[str], Any], version: str) -> None:
    """As of 0.6 there is one method, `evaluate`, whose result is a number with attributes."""
    before = """\
    from src.benchmarks.streaming_evaluator import StreamingEvaluator
    evaluator = StreamingEvaluator(model, chunk_size=512, overlap=0, device='cpu', verbose=True)
    results = evaluator.evaluate_streaming(data, log_interval=5)
    print(f"{results['loss']:.4f} {results['perplexity']:.2f} {results['total_tokens']:,}")
    seconds = results["total_time"] / results["num_chunks"]
    limited = evaluator.evaluate_streaming(data, max_tokens=1000)
    """
    after = """\
    from src.benchmarks.streaming_evaluator import StreamingEvaluator
    evaluator = StreamingEvaluator(model, chunk_size=512)
    results = evaluator.evaluate(data, max_length=len(data))
    print(f"{results.loss:.4f} {results:.2f} {results.tokens:,}")
    seconds = results.seconds / results.chunks
    limited = evaluator.evaluate(data, max_length=1000)
    """
    text = programs_to(version).migrate(dedent(before))
    line = "from resnet_bk import StreamingEvaluator\n" if version == "1.0" else EVALUATOR
    assert text == dedent(after).replace(EVALUATOR, line)


def test_the_guides_evaluation_stays(programs: Any) -> None:
    """It is written as it is today, but for its import."""
    rest = (
        "evaluator = StreamingEvaluator(model, chunk_size=8192)\n"
        "ppl = evaluator.evaluate(dataset, max_length=9)\n"
    )
    assert programs.migrate(EVALUATOR + rest) == f"from resnet_bk import StreamingEvaluator\n{rest}"


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (
            "StreamingEvaluator(m).evaluate_streaming_with_metrics(d)",
            "has no evaluate_streaming_with_metrics",
        ),
        ("r = StreamingEvaluator(m).evaluate_streaming(d)\nsave(r)", "is used as a dictionary"),
        ("r = StreamingEvaluator(m).evaluate_streaming(d)\nr['other']", "is used as a dictionary"),
        ("f(StreamingEvaluator(m).evaluate_streaming(d))", "what becomes of its result can't be seen"),
        (
            "r = StreamingEvaluator(m).evaluate_streaming(d)\nr = {}\nr['loss']",
            "r is something else elsewhere",
        ),
        ("class StreamingEvaluator: ...\nr = StreamingEvaluator(m).evaluate_streaming(d)\nr['x']", ""),
    ],
)
def test_an_evaluation_that_can_t_be_decided_stays(programs: Any, rest: str, reason: str) -> None:
    """It stays with its import, and is told; one of the program's own is none of ours."""
    assert programs.migrate(f"{EVALUATOR}{rest}\n").endswith(f"{rest}\n")
    assert not reason or reason in programs.todos(f"{EVALUATOR}{rest}\n")[0]


# Settings of a version ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "before", "after"),
    [
        ("0.5", "semiseparable_rank=3", "low_rank=3"),
        ("0.5", "use_adaptive_computation=True", "use_adaptive_computation=True"),
        ("0.8", "use_adaptive_computation=True", "use_act=True"),
        ("0.8", "act_threshold=0.2", "act_halt_threshold=0.2"),
        ("0.8", "act_threshold=0.2, act_halt_threshold=0.1", "act_threshold=0.2, act_halt_threshold=0.1"),
    ],
)
def test_settings_get_the_names_of_a_version(
    programs_to: Callable[[str], Any], version: str, before: str, after: str
) -> None:
    """Steps before 1.0 change what they changed, and no more."""
    text = programs_to(version).migrate(f"{MODEL}m = LanguageModel({before})\n")
    assert text == f"{MODEL}m = LanguageModel({after})\n"


@pytest.mark.parametrize("version", ["0.5", "0.6", "0.7", "0.8", "0.9"])
def test_steps_before_1_0_leave_models_and_imports(programs_to: Callable[[str], Any], version: str) -> None:
    """The configuration and the package came with 1.0."""
    text = (
        f"{MODEL}from src.models.resnet_bk import ResNetBK\n"
        f"m = LanguageModel(d_model=3)\nn = ResNetBK(d_model=3)\ny = m(x)\n"
    )
    assert programs_to(version).migrate(text) == text
