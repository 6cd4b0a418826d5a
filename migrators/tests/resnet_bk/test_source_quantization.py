"""Quantization, savings of memory, export, and models of transformers."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

BITS = "{'experts': 4, 'bk_core': 8, 'output': 16}"
QUANTIZER = "from src.models.mixed_precision_quantization import create_mixed_precision_quantizer\n"
CORE = (
    "from src.models.quantized_birman_schwinger import "
    "QuantizationConfig, QuantizedBirmanSchwingerCore, create_quantized_birman_schwinger\n"
)
MEMORY = (
    "from src.models.memory_optimization import MemoryOptimizationConfig, create_optimized_semiseparable\n"
)
EXPORT = "from src.models.onnx_export import export_to_onnx\n"


# Quantization ---------------------------------------------------------------------------------------------


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


def test_a_quantizer_becomes_a_quantized_model(programs: Any) -> None:
    """It stands where the model was changed; calibration goes, and blocks of it stay blocks."""
    before = f"""\
    {QUANTIZER}
    quantizer = create_mixed_precision_quantizer(model, use_dynamic_policy=False, group_size=64)
    quantizer.start_calibration()  # with all of it
    with torch.no_grad():
        for name, output in outputs:
            quantizer.calibrate_layer(name, output)
    quantizer.end_calibration()
    quantizer.quantize_model()  # done
    print(model)
    """
    after = f"""\
    from resnet_bk import MixedPrecisionQuantization

    # with all of it
    with torch.no_grad():
        for name, output in outputs:
            pass
    quantizer = MixedPrecisionQuantization(model, {BITS}, group_size=64, copy=False)  # done
    print(model)
    """
    assert programs.migrate(dedent(before)) == dedent(after)


def test_a_quantizer_of_the_class(programs: Any) -> None:
    """Made by itself, it becomes the same."""
    before = """\
    from src.models.mixed_precision_quantization import MixedPrecisionQuantizer

    class Small:
        def __init__(self, model):
            self.quantizer = MixedPrecisionQuantizer(model)
            self.quantizer.create_quantizers()
            self.quantizer.quantize_model()
    """
    after = f"""\
    from resnet_bk import MixedPrecisionQuantization

    class Small:
        def __init__(self, model):
            self.quantizer = MixedPrecisionQuantization(model, {BITS}, copy=False)
    """
    assert programs.migrate(dedent(before)) == dedent(after)


MADE = "q = create_mixed_precision_quantizer(model, use_dynamic_policy=False)\n"


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (
            "q = create_mixed_precision_quantizer(model, loader)\nq.quantize_model()",
            "a policy by the importance of layers has no counterpart: write MixedPrecisionQuantization(model",
        ),
        (f"{MADE}q.create_quantizers()", "it quantizes the model 0 times, and not once"),
        (f"{MADE}q.quantize_model()\nq.quantize_model()", "it quantizes the model 2 times, and not once"),
        (
            f"{MADE}print(q.estimate_model_size())\nq.quantize_model()",
            "nothing stands for estimate_model_size",
        ),
        (f"{MADE}f(q)\nq.quantize_model()", "it goes where its uses can't be seen"),
        (f"{MADE}def f():\n    q.quantize_model()", "it is made and used in different functions"),
        (f"{MADE}x = q.quantize_model()", "what becomes of quantize_model() can't be seen"),
        (
            "q = create_mixed_precision_quantizer(build(), use_dynamic_policy=False)\nq.quantize_model()",
            "its model has no name",
        ),
        ("q = create_mixed_precision_quantizer(*a)\nq.quantize_model()", "what its arguments are can't be"),
        (
            "create_mixed_precision_quantizer(model, use_dynamic_policy=False).quantize_model()",
            "it has no name",
        ),
    ],
)
def test_a_quantizer_that_can_t_be_decided_stays(programs: Any, rest: str, reason: str) -> None:
    """It is told, with what to write."""
    text = f"{QUANTIZER}{rest}\n"
    assert programs.migrate(text) == text
    assert any(reason in told for told in programs.todos(text))


@pytest.mark.parametrize(
    ("rest", "write"),
    [
        ("q = create_quantized_birman_schwinger(64)", "QuantizedBirmanSchwinger(model, bits=8)"),
        (
            "q = create_quantized_birman_schwinger(64, 'ptq_int4', 32)",
            "QuantizedBirmanSchwinger(model, bits=4, group_size=32)",
        ),
        (
            "c = QuantizationConfig(mode='qat_int8')",
            "QuantizedBirmanSchwinger(model, bits=8, qat=True), train it, and call its convert()",
        ),
        (
            "c = QuantizationConfig('mixed_precision')\nq = QuantizedBirmanSchwingerCore(8, quant_config=c)",
            f"MixedPrecisionQuantization(model, {BITS})",
        ),
        (
            "q = QuantizedBirmanSchwingerCore(8, quant_config=c)",
            "QuantizedBirmanSchwinger(model, bits=8)",
        ),
    ],
)
def test_quantized_cores_are_told(programs: Any, rest: str, write: str) -> None:
    """They quantized no weights, so they stay; the reader learns what quantizes a model in that way."""
    text = f"{CORE}{rest}\n"
    assert programs.migrate(text) == text
    told = programs.todos(text)[1:]
    assert len(told) == len(rest.splitlines())
    assert all(each.endswith(f"to quantize a model, write {write}") for each in told)


# Memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            (
                "config = MemoryOptimizationConfig(use_zero=True, use_mixed_precision=False)  # small\n"
                "matrix = create_optimized_semiseparable(8, config, device)\nT, U, V = matrix.factorize(h)"
            ),
            "# small\nmatrix = SemiseparableMatrix(8, device=device)\nT, U, V = matrix.factorize(h)",
        ),
        (
            (
                "config = MemoryOptimizationConfig(use_mixed_precision=False, use_hierarchical=False)\n"
                "a = create_optimized_semiseparable(8, config=config)\n"
                "b = create_optimized_semiseparable(n_seq=9, config=config)"
            ),
            "a = SemiseparableMatrix(8)\nb = SemiseparableMatrix(n_seq=9)",
        ),
        (
            "m = create_optimized_semiseparable(8, MemoryOptimizationConfig(use_mixed_precision=False))",
            "m = SemiseparableMatrix(8)",
        ),
    ],
)
def test_a_matrix_that_is_stored_as_it_is(programs: Any, before: str, after: str) -> None:
    """It is the matrix that the function made; a configuration that nothing else looks at goes."""
    assert programs.migrate(f"{MEMORY}{before}\n") == f"from resnet_bk import SemiseparableMatrix\n{after}\n"


def test_a_configuration_that_others_look_at_stays(programs: Any) -> None:
    """Only the matrix changes."""
    before = "c = MemoryOptimizationConfig(use_mixed_precision=False)\nm = {}\nprint(c.use_zero)\n"
    migrated = programs.migrate(MEMORY + before.format("create_optimized_semiseparable(8, c)"))
    assert migrated.endswith(before.format("SemiseparableMatrix(8)"))


@pytest.mark.parametrize(
    ("rest", "write"),
    [
        (
            (
                "c = MemoryOptimizationConfig(use_zero=True, use_cpu_offload=on)\n"
                "m = create_optimized_semiseparable(8, c)"
            ),
            "MemoryOptimizer(use_zero=True, use_cpu_offload=on).optimize(model)",
        ),
        (
            (
                "c = MemoryOptimizationConfig(use_hierarchical=True, use_mixed_precision=False)\n"
                "m = create_optimized_semiseparable(8, c)"
            ),
            "MemoryOptimizer(use_cpu_offload=...).optimize(model)",
        ),
        ("m = create_optimized_semiseparable(8)", "MemoryOptimizer(use_cpu_offload=...).optimize(model)"),
        ("m = create_optimized_semiseparable(8, c)", "MemoryOptimizer(use_cpu_offload=...).optimize(model)"),
    ],
)
def test_other_ways_to_store_a_matrix_are_told(programs: Any, rest: str, write: str) -> None:
    """They have no counterpart; the reader learns what saves memory in these ways for a model."""
    text = f"{MEMORY}{rest}\n"
    assert programs.migrate(text) == text
    told = programs.todos(text)[1:]
    assert len(told) == len(rest.splitlines())
    assert all(each.endswith(f"to save memory with a model, write {write}") for each in told)


# Export and transformers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("(m, 'm.onnx')", "(m, 'm.onnx', input_shape=(1, 512))"),
        ("(m, p, 2, 64)", "(m, p, input_shape=(2, 64))"),
        ("(m, output_path=p, seq_length=n, verify=False)", "(m, p, input_shape=(1, n), verify=False)"),
        (
            "(m, p, 1, 8, 20, False, True)",
            "(m, p, input_shape=(1, 8), opset_version=20, dynamic=False, verify=True)",
        ),
        ("(model=m, output_path=p, dynamic_axes=d)", "(m, p, input_shape=(1, 512), dynamic=d)"),
        ("(m, p, opset_version=14, tolerance=1e-5)", "(m, p, input_shape=(1, 512))"),
        ("(m, p, input_shape=(1, 64))", "(m, p, input_shape=(1, 64))"),
    ],
)
def test_export(programs_to: Callable[[str], Any], before: str, after: str) -> None:
    """Two sizes become one shape, and what it still takes has today's name."""
    text = f"{EXPORT}export_to_onnx{before}\n"
    assert programs_to("0.9").migrate(text) == f"{EXPORT}export_to_onnx{after}\n"


def test_what_is_another_thing_in_an_export_is_told(programs: Any) -> None:
    """The reader learns of operators, tolerance, and what is given."""
    text = f"{EXPORT}done = export_to_onnx(m, p, opset_version=14, tolerance=1e-5)\n"
    assert programs.told(text) == [
        "warning 2: opset_version is 18 now: there is none before that",
        "warning 2: tolerance is over the largest value that the model gives now: 1e-4 by default",
        "warning 2: it gives the path of the file now, and an error is raised where it gave False",
    ]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("export_to_onnx(*a)", "what its arguments are can't be seen"),
        ("export_to_onnx(m)", "where its model and its path are can't be seen"),
        ("export_to_onnx(m, p, device='cpu')", "its counterpart in resnet_bk takes no device"),
        ("export_to_onnx(m, p, opset_version=v)", "whether opset_version is 18 at least can't be seen"),
    ],
)
def test_an_export_that_can_t_be_decided_stays(programs: Any, call: str, reason: str) -> None:
    """With its import, and the reason."""
    text = f"{EXPORT}{call}\n"
    assert programs.migrate(text) == text
    assert reason in programs.todos(text)[0]


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
