"""Seeds, gradients, checkpoints, evaluation, counting, quantization and export."""

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
COUNTER = "from src.benchmarks.flops_counter import FLOPsCounter\n"
EXPORT = "from src.models.onnx_export import export_to_onnx\n"


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
    "rest",
    [
        "BKCoreFunction.GRAD_BLEND = 0.3\nBKCoreFunction.GRAD_BLEND = 0.4\nm = LanguageModel(d_model=3)",
        "for b in bs:\n    BKCoreFunction.GRAD_BLEND = b\nm = LanguageModel(d_model=3)",
        "m = LanguageModel(d_model=3)\nBKCoreFunction.GRAD_BLEND = 0.3",
        "print(BKCoreFunction.GRAD_BLEND)",
        "BKCoreFunction.GRAD_BLEND = 0.3\nm = LanguageModel(grad_blend=0.1)",
        "BKCoreFunction.GRAD_BLEND = 0.3\nBKCoreFunction.apply(a)\nm = LanguageModel(d_model=3)",
    ],
)
def test_a_blend_that_can_t_be_decided_is_told(programs: Any, rest: str) -> None:
    """It stays where it is, and the reader learns that it belongs to each model now."""
    text = f"from src.models.bk_core import BKCoreFunction\n{MODEL}{rest}\n"
    assert "BKCoreFunction.GRAD_BLEND" in programs.migrate(text)
    assert any("GRAD_BLEND held for all models of a program" in each for each in programs.todos(text))


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


# Counting -------------------------------------------------------------------------------------------------


def test_flops_are_counted_in_a_block(programs_to: Callable[[str], Any]) -> None:
    """What counted by itself counts what runs in a block; the model is the counter's."""
    before = (
        f"{COUNTER}def f(model, x):\n    counter = FLOPsCounter(model)\n"
        f"    return counter.count_flops(x)  # all\n"
    )
    assert programs_to("0.8").migrate(before) == (
        f"{COUNTER}def f(model, x):\n    counter = FLOPsCounter(model)\n    with counter:\n        model(x)\n"
        "    return counter.total_flops  # all\n"
    )


@pytest.mark.parametrize(
    "rest",
    [
        "counter = FLOPsCounter(model, batch_size=32, seq_len=128)\ntotal = counter.count_total_flops()",
        "counter = FLOPsCounter(model)\ncounter.print_summary()",
        "counter = FLOPsCounter(build())\nflops = counter.count_flops(x)",
        "counter = FLOPsCounter(model)\nprint(counter.count_flops(x))",
    ],
)
def test_a_counter_that_can_t_be_decided_stays(programs: Any, rest: str) -> None:
    """What it estimated has nothing in its place; the reader learns how FLOPs are counted."""
    assert programs.migrate(f"{COUNTER}{rest}\n") == f"{COUNTER}{rest}\n"
    assert "counter.total_flops" in programs.todos(f"{COUNTER}{rest}\n")[0]


def test_the_guides_counter_stays(programs: Any) -> None:
    """It is written as it is today, but for its import."""
    rest = (
        "counter = FLOPsCounter(model)\nwith counter:\n"
        "    output = model(input_ids)\nprint(f'{counter.total_flops}')\n"
    )
    assert programs.migrate(COUNTER + rest) == f"from resnet_bk import FLOPsCounter\n{rest}"


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


# Quantization and export ----------------------------------------------------------------------------------


def test_bits_are_given_by_part(programs_to: Callable[[str], Any]) -> None:
    """The parts have the guide's names as of 0.7."""
    line = "from src.models.mixed_precision_quantization import MixedPrecisionQuantization\n"
    before = (
        f"{line}bits = {{'moe_experts': 4, 'bk_core': 8, \"output_layers\": 16}}\n"
        f"q = MixedPrecisionQuantization(m, bits)\n"
    )
    assert programs_to("0.7").migrate(before) == (
        f"{line}bits = {{'experts': 4, 'bk_core': 8, \"output\": 16}}\n"
        f"q = MixedPrecisionQuantization(m, bits)\n"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("export_to_onnx(m, 'm.onnx')", "export_to_onnx(m, 'm.onnx', input_shape=(1, 512))"),
        ("export_to_onnx(m, p, 2, 64)", "export_to_onnx(m, p, input_shape=(2, 64))"),
        (
            "export_to_onnx(m, output_path=p, seq_length=n, verify=False, opset_version=14)",
            "export_to_onnx(m, p, input_shape=(1, n))",
        ),
        ("export_to_onnx(m, p, input_shape=(1, 64))", "export_to_onnx(m, p, input_shape=(1, 64))"),
        ("export_to_onnx(m, p, opset_version=17)", "export_to_onnx(m, p, opset_version=17)"),
    ],
)
def test_export(programs_to: Callable[[str], Any], before: str, after: str) -> None:
    """Two sizes become one shape; what has no counterpart keeps the call."""
    assert programs_to("0.9").migrate(f"{EXPORT}{before}\n") == f"{EXPORT}{after}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('m = create_resnet_bk_for_hf("1M")', 'm = ResNetBKForCausalLM(preset("resnet-bk-1m"))'),
        (
            "m = create_resnet_bk_for_hf('10B', dropout_p=0.1)",
            "m = ResNetBKForCausalLM(preset('resnet-bk-10b', dropout=0.1))",
        ),
    ],
)
def test_models_of_a_size(programs: Any, before: str, after: str) -> None:
    """A size is a preset, whose settings may be changed."""
    line = "from src.models.hf_resnet_bk import create_resnet_bk_for_hf\n"
    assert (
        programs.migrate(f"{line}{before}\n")
        == f"from resnet_bk import ResNetBKForCausalLM, preset\n{after}\n"
    )


def test_configurations_for_transformers(programs: Any) -> None:
    """`ResNetBKConfig` of that module is the configuration by another name; others of the name are not."""
    before = (
        "from src.models.hf_resnet_bk import ResNetBKConfig, ResNetBKForCausalLM\n"
        "m = ResNetBKForCausalLM(ResNetBKConfig(dropout_p=0.1))\ny = m(x).logits\n"
    )
    assert programs.migrate(before) == before.replace("src.models.hf_resnet_bk", "resnet_bk").replace(
        "dropout_p", "dropout"
    )
    other = "from src.models.config import ResNetBKConfig\nc = ResNetBKConfig(dropout_p=0.1)\n"
    assert programs.migrate(other) == other
