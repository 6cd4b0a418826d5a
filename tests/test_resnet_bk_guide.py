"""ResNet-BK's migration guide, item by item: programs as they were before, migrated and run.

`ITEMS` names the tests of every listing and every statement of the guide.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
resnet_bk = pytest.importorskip("resnet_bk")
pytest.importorskip("libcst")

Migrated = Callable[[str], str]
Run = Callable[..., dict[str, Any]]

GUIDE = Path(__file__).parents[2] / "shared" / "reference" / "source-guide-resnet-bk.md"

pytestmark = pytest.mark.usefixtures("compilers")

ITEMS = {
    "1.0.0, Configuration System Refactored, Before (0.9.x)": ["test_models_and_configurations"],
    "1.0.0, Configuration System Refactored, After (1.0.0)": ["test_a_configuration_of_its_own"],
    "1.0.0, Checkpoint Format Changed, Migration Script": [
        "test_the_script_for_checkpoints",
        "test_checkpoints",
    ],
    "1.0.0, API Changes, BirmanSchwingerCore.forward()": ["test_parts_of_the_model"],
    "1.0.0, API Changes, ScatteringRouter.forward()": ["test_parts_of_the_model"],
    "1.0.0, API Changes, SemiseparableMatrix.factorize()": ["test_parts_of_the_model"],
    "1.0.0, Deprecations, use_hybrid_gradient": [
        "test_deprecated_settings",
        "test_a_blend_for_all_models",
        "test_a_blend_of_a_configuration",
    ],
    "1.0.0, Deprecations, manual_seed": ["test_deprecated_settings"],
    "1.0.0, Deprecations, Old checkpoint format will be removed in 2.0.0": ["test_checkpoints"],
    "0.9.0, Hugging Face Integration, Before (0.8.x)": ["test_a_model_of_transformers"],
    "0.9.0, Hugging Face Integration, After (0.9.0)": ["test_a_model_of_transformers"],
    "0.9.0, ONNX Export, Usage": ["test_export_as_in_the_guide", "test_export_as_before"],
    "0.8.0, ACT Module Integration, Before (0.7.x)": ["test_adaptive_computation_as_before"],
    "0.8.0, ACT Module Integration, After (0.8.0)": ["test_adaptive_computation_as_in_the_guide"],
    "0.8.0, FLOPs Counter API, Before (0.7.x)": ["test_flops_as_before"],
    "0.8.0, FLOPs Counter API, After (0.8.0)": ["test_flops_as_in_the_guide"],
    "0.7.0, Quantization API, Before (0.6.x)": ["test_a_quantizer_as_before"],
    "0.7.0, Quantization API, After (0.7.0)": ["test_quantization_as_in_the_guide"],
    "0.7.0, Mixed-Precision Quantization, Usage": [
        "test_mixed_precision_as_in_the_guide",
        "test_a_quantizer_as_before",
    ],
    "0.6.0, Long-Context Support, Before (0.5.x)": ["test_long_texts_and_streaming"],
    "0.6.0, Long-Context Support, After (0.6.0)": ["test_long_texts_and_streaming"],
    "0.6.0, Streaming Evaluation, Usage": ["test_long_texts_and_streaming"],
    "0.5.0, Semiseparable Structure, Before (0.4.x)": ["test_semiseparable_models"],
    "0.5.0, Semiseparable Structure, After (0.5.0)": ["test_semiseparable_models"],
    "0.5.0, Semiseparable Structure, To disable (not recommended)": ["test_semiseparable_models"],
    "0.5.0, Memory Optimization, Usage": ["test_memory_as_in_the_guide", "test_a_matrix_as_before"],
    "0.5.0, Deprecations, Dense matrix mode will be removed in 1.0.0": ["test_semiseparable_models"],
}
"""Version, item, listing or statement -> the tests below."""

_LISTING = re.compile(r"^(?:\*\*)?([^\n*]+?):(?:\*\*)?\n```python\n", re.MULTILINE)

_ITEM = re.compile(r"^####? (?:\d\. )?([^\n]+)\n(.*?)(?=^###|\Z)", re.MULTILINE | re.DOTALL)


def test_every_item_has_a_test() -> None:
    """None of the tests that the table names is missing."""
    for names in ITEMS.values():
        assert names
        assert all(callable(globals().get(name)) for name in names), names


def test_every_listing_and_statement_of_the_guide_is_an_item() -> None:
    """What the guide shows, and what it says in words, has its line in the table."""
    if not GUIDE.is_file():
        pytest.skip("the guide is not here")
    found = set()
    for version in re.split(r"^## Migrating to ", GUIDE.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        number = version.split()[0]
        for title, text in _ITEM.findall(version):
            labels = _LISTING.findall(text)
            if title in ("API Changes", "Deprecations"):
                words = re.findall(r"^- (?:`([^`]+)`|([^\n]+))", text, re.MULTILINE)
                labels += [code or sentence for code, sentence in words]
            found |= {f"{number}, {title}, {label}" for label in labels}
    assert found == ITEMS.keys()


# 1.0.0 ----------------------------------------------------------------------------------------------------


def test_models_and_configurations(run_migrated: Run) -> None:
    """0.9 and 1.0: a model with settings as arguments is the one that its configuration gives."""
    names = run_migrated(
        """\
        import torch
        from src.models.resnet_bk import ResNetBK

        model = ResNetBK(
            vocab_size=30,
            d_model=32,
            n_layers=2,
            use_prime_bump=True
        )
        logits = model(torch.zeros(2, 8, dtype=torch.long))
        """,
    )
    assert type(names["model"]) is resnet_bk.ResNetBK
    assert names["model"].config.use_prime_bump
    assert names["logits"].shape == (2, 8, 30)


def test_a_configuration_of_its_own(run_migrated: Run) -> None:
    """What the guide writes afterwards needs nothing but another import."""
    names = run_migrated(
        """\
        from src.models.resnet_bk import ResNetBK
        from src.utils.config import MambaKillerConfig

        config = MambaKillerConfig(
            vocab_size=30,
            d_model=32,
            n_layers=2,
            use_prime_bump=True
        )
        model = ResNetBK(config)
        """
    )
    assert type(names["model"]) is resnet_bk.ResNetBK
    assert names["model"].config is names["config"]


def test_the_script_for_checkpoints(
    run_migrated: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guide's script saves in today's form what it loads."""
    model = resnet_bk.ResNetBK(resnet_bk.MambaKillerConfig(vocab_size=20, d_model=32, n_layers=1))
    optimizer = torch.optim.AdamW(model.parameters())
    monkeypatch.chdir(tmp_path)
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "step": 70}
    torch.save(saved, "old_model.pt")
    names = run_migrated(
        """\
        import torch
        from src.utils.checkpoint_manager import CheckpointManager

        # Load old checkpoint
        old_checkpoint = torch.load('old_model.pt')

        # Convert to new format
        manager = CheckpointManager('checkpoints')
        manager.save_checkpoint(
            model=old_checkpoint['model'],
            optimizer=old_checkpoint['optimizer'],
            epoch=old_checkpoint['epoch'],
            step=old_checkpoint['step'],
            metadata={'version': '1.0.0'}
        )
        """
    )
    loaded = names["manager"].load(model=model)
    assert (loaded.epoch, loaded.step) == (3, 70)


def test_checkpoints(run_migrated: Run, tmp_path: Path) -> None:
    """1.0: what a manager saved it loads, with what was told by position told by name."""
    names = run_migrated(
        """\
        import torch
        from src.models.resnet_bk import LanguageModel
        from src.utils.checkpoint_manager import CheckpointManager

        model = LanguageModel(vocab_size=20, d_model=32, n_layers=1)
        optimizer = torch.optim.AdamW(model.parameters())
        manager = CheckpointManager(checkpoint_dir=place, keep_last_n=2)
        path = manager.save(model, optimizer, epoch=3, step=70, metrics={"loss": 1.5})
        other = LanguageModel(vocab_size=20, d_model=32, n_layers=1)
        data = manager.load(path, other, device="cpu")
        where = (data["epoch"], data["step"])
        latest = manager.get_latest_checkpoint()
        """,
        place=str(tmp_path / "checkpoints"),
    )
    assert names["where"] == (3, 70)
    assert names["latest"] == names["path"]
    for left, right in zip(names["model"].parameters(), names["other"].parameters(), strict=True):
        assert torch.equal(left, right)


def test_parts_of_the_model(run_migrated: Run) -> None:
    """1.0: cores take z, routers give two things, matrices three."""
    names = run_migrated(
        """\
        import torch
        from src.models.birman_schwinger_core import BirmanSchwingerCore
        from src.models.scattering_router import ScatteringRouter
        from src.models.semiseparable_matrix import SemiseparableMatrix
        from src.models.prime_bump_potential import PrimeBumpPotential

        torch.manual_seed(0)
        core = BirmanSchwingerCore(n_seq=16, epsilon=1.0, enable_gradient_checkpointing=False)
        features, diagnostics = core(torch.randn(2, 16))
        g = torch.complex(features[..., 0], features[..., 1])
        router = ScatteringRouter(num_experts=4, top_k_resonance=3, top_k_normal=1)
        experts = router(g)
        indices, weights, facts = router(g, 0.5)
        matrix = SemiseparableMatrix(n_seq=16, rank=3)
        h = torch.randn(16, 16, dtype=torch.float32)
        tridiag, lowrank = matrix.factorize(h)
        product = lowrank + 0
        T, U, V = matrix.factorize(h)
        bumps = PrimeBumpPotential(16, 1.0, 3).compute_potential()
        """,
    )
    assert names["experts"].shape == names["indices"].shape == names["weights"].shape == (2, 16, 3)
    assert torch.allclose(names["product"], names["U"] @ names["V"].mT, atol=1e-5)
    assert torch.equal(names["tridiag"], names["T"])
    assert names["bumps"].shape == (16,)


def test_deprecated_settings(run_migrated: Run) -> None:
    """1.0: a seed among the settings gives the same weights as one that is set before; no warning is left."""
    names = run_migrated(
        """\
        import torch
        from src.models.resnet_bk import LanguageModel

        def build(seed):
            return LanguageModel(20, 32, 1, 16, use_hybrid_gradient=False, manual_seed=seed)

        first, second = build(5), build(5)
        torch.manual_seed(5)
        third = LanguageModel(vocab_size=20, d_model=32, n_layers=1, n_seq=16)
        """,
    )
    for name in ("second", "third"):
        for left, right in zip(names["first"].parameters(), names[name].parameters(), strict=True):
            assert torch.equal(left, right)


def test_a_blend_for_all_models(run_migrated: Run) -> None:
    """What was set for all models of a program is a setting of each; those without a choice say so."""
    with pytest.warns(UserWarning, match="grad_blend=0.3"):
        names = run_migrated(
            """\
            from src.models.bk_core import BKCoreFunction
            from src.models.resnet_bk import LanguageModel

            def build(size):
                return LanguageModel(20, size, 1, 16, 0, 1, 0.0, prime_bump_init=False)

            BKCoreFunction.GRAD_BLEND = 0.3
            model = build(32)
            """
        )
    assert names["model"].config.grad_blend == 0.3
    assert not names["model"].config.use_prime_bump


@pytest.mark.filterwarnings("ignore:A model with the mixer diagonal")
def test_a_blend_of_a_configuration(run_migrated: Run) -> None:
    """A model with a diagonal mixer has the gradient that it asks for."""
    text = """\
    import torch
    from src.models.bk_core import BKCoreFunction
    from src.models.resnet_bk import ResNetBK
    from src.utils.config import MambaKillerConfig

    BKCoreFunction.GRAD_BLEND = blend
    torch.manual_seed(0)
    config = MambaKillerConfig(20, 32, 1, 16, mixer="diagonal-bidirectional")
    model = ResNetBK(config)
    model(torch.arange(16).view(1, 16)).logits.square().sum().backward()
    gradient = model.get_input_embeddings().weight.grad
    """
    exact, blended = run_migrated(text, blend=0.0), run_migrated(text, blend=0.9)
    assert blended["config"].grad_blend == 0.9
    assert not torch.allclose(exact["gradient"], blended["gradient"])


# 0.9.0 ----------------------------------------------------------------------------------------------------


def test_a_model_of_transformers(run_migrated: Run, migrated: Migrated, tmp_path: Path) -> None:
    """A model of before can be saved and loaded as transformers does; that is left as it is written."""
    place = tmp_path / "resnet-bk-1b"
    run_migrated(
        """\
        from src.models.resnet_bk import LanguageModel

        model = LanguageModel(vocab_size=20, d_model=32, n_layers=1)
        model.save_pretrained(place)
        """,
        place=place,
    )
    after = """\
from transformers import AutoModel

model = AutoModel.from_pretrained(place)
"""
    assert migrated(after) == after
    names = run_migrated(after, place=place)
    assert isinstance(names["model"], resnet_bk.ResNetBKModel)


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The package for ONNX files, when what the first export leaves in the process is there."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = resnet_bk.ResNetBK(resnet_bk.MambaKillerConfig(vocab_size=20, d_model=32, n_layers=1))
    resnet_bk.export_to_onnx(model, tmp_path_factory.mktemp("onnx") / "model.onnx", (1, 8))
    return pytest.importorskip("onnx")


def test_export_as_in_the_guide(
    run_migrated: Run, onnx: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there, for inputs of the shape that was told."""
    monkeypatch.chdir(tmp_path)
    run_migrated(
        """\
        from src.models.onnx_export import export_to_onnx
        from src.models.resnet_bk import LanguageModel

        model = LanguageModel(vocab_size=20, d_model=32, n_layers=1, num_experts=0)
        export_to_onnx(model, 'model.onnx', input_shape=(1, 16))
        """
    )
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"))


def test_export_as_before(run_migrated: Run, onnx: Any, tmp_path: Path) -> None:
    """Sizes become a shape, and what was checked is checked."""
    names = run_migrated(
        """\
        from src.models.onnx_export import export_to_onnx
        from src.models.resnet_bk import LanguageModel

        model = LanguageModel(vocab_size=20, d_model=32, n_layers=1, num_experts=0)
        success = export_to_onnx(
            model=model,
            output_path=path,
            batch_size=2,
            seq_length=16,
            opset_version=14,
            dynamic_axes=False,
            verify=True,
            tolerance=1e-5,
        )
        done = "exported" if success else "failed"
        """,
        path=str(tmp_path / "model.onnx"),
    )
    assert names["done"] == "exported"
    (given,) = onnx.load(tmp_path / "model.onnx").graph.input
    assert [each.dim_value for each in given.type.tensor_type.shape.dim] == [2, 16]


# 0.8.0 ----------------------------------------------------------------------------------------------------


def test_adaptive_computation_as_before(run_migrated: Run) -> None:
    """Settings of other names are today's; what they ask for is not done, and that is said."""
    with pytest.warns(UserWarning, match="use_act=True"):
        names = run_migrated(
            """\
            from src.models.resnet_bk import LanguageModel

            model = LanguageModel(
                vocab_size=20,
                d_model=32,
                n_layers=1,
                use_adaptive_computation=True,
                act_threshold=0.3,
            )
            """
        )
    assert names["model"].config.use_act
    assert names["model"].config.act_halt_threshold == 0.3


def test_adaptive_computation_as_in_the_guide(run_migrated: Run) -> None:
    """The settings are accepted, with a warning, and the model computes."""
    from resnet_bk.configuration import UnusedSettingWarning

    with pytest.warns(UnusedSettingWarning, match="use_act=True"):
        names = run_migrated(
            """\
            import torch
            from src.models.resnet_bk import LanguageModel

            model = LanguageModel(
                vocab_size=20,
                d_model=32,
                use_act=True,
                act_halt_threshold=0.2
            )
            logits = model(torch.zeros(1, 4, dtype=torch.long))
            """
        )
    assert names["model"].config.act_halt_threshold == 0.2
    assert names["logits"].shape == (1, 4, 20)


def test_flops_as_before(run_migrated: Run) -> None:
    """What was estimated of a forward pass is counted in one, of the sizes that were told."""
    names = run_migrated(
        """\
        import torch
        from src.benchmarks.flops_counter import FLOPsCounter
        from src.models.resnet_bk import LanguageModel

        model = LanguageModel(vocab_size=20, d_model=32, n_layers=1)
        counter = FLOPsCounter(model, batch_size=2, seq_len=8)
        flops = counter.count_forward_flops()
        line = f"{flops.forward / 1e3:.1f}"
        total = counter.count_total_flops()
        again = total.forward
        other = FLOPsCounter(model)
        counted = other.count_flops(torch.zeros(2, 8, dtype=torch.long))
        """
    )
    assert names["flops"] == names["again"] == names["counted"] > 0
    assert names["line"] == f"{names['flops'] / 1e3:.1f}"


def test_flops_as_in_the_guide(run_migrated: Run) -> None:
    """They are counted in the block."""
    names = run_migrated(
        """\
        import torch
        from src.benchmarks.flops_counter import FLOPsCounter
        from src.models.resnet_bk import LanguageModel

        model = LanguageModel(vocab_size=20, d_model=32, n_layers=1)
        input_ids = torch.zeros(1, 8, dtype=torch.long)
        counter = FLOPsCounter(model)
        with counter:
            output = model(input_ids)
        line = f"FLOPs: {counter.total_flops}"
        """
    )
    assert names["output"].shape == (1, 8, 20)
    assert int(names["line"].removeprefix("FLOPs: ")) > 0


# 0.7.0 ----------------------------------------------------------------------------------------------------


def test_quantization_as_in_the_guide(run_migrated: Run) -> None:
    """The quantized model is smaller, and computes much the same."""
    names = run_migrated(
        """\
        import torch
        from src.models.quantized_birman_schwinger import QuantizedBirmanSchwinger
        from src.models.resnet_bk import LanguageModel

        model = LanguageModel(vocab_size=20, d_model=32, n_layers=1)
        quantized_model = QuantizedBirmanSchwinger(model, bits=8)
        x = torch.arange(16).view(1, 16)
        before, after = model(x), quantized_model(x)
        """
    )
    assert names["quantized_model"].size_in_bytes() < sum(
        parameter.nbytes for parameter in names["model"].parameters()
    )
    assert torch.allclose(names["before"], names["after"], atol=0.1)


@pytest.mark.parametrize(("experts", "output"), [("experts", "output"), ("moe_experts", "output_layers")])
def test_mixed_precision_as_in_the_guide(run_migrated: Run, experts: str, output: str) -> None:
    """Bits by part, under the names of the guide and of configurations."""
    names = run_migrated(
        f"""\
        from src.models.mixed_precision_quantization import MixedPrecisionQuantization
        from src.models.resnet_bk import LanguageModel

        model = LanguageModel(vocab_size=20, d_model=32, n_layers=1, num_experts=2)
        quant_config = {{
            '{experts}': 4,  # INT4 for experts
            'bk_core': 8,  # INT8 for BK-Core
            '{output}': 16   # FP16 for output
        }}
        mixed_quant = MixedPrecisionQuantization(model, quant_config)
        """
    )
    assert names["quant_config"] == {"experts": 4, "bk_core": 8, "output": 16}
    assert isinstance(names["mixed_quant"], resnet_bk.MixedPrecisionQuantization)


def test_a_quantizer_as_before(run_migrated: Run) -> None:
    """A quantizer of before changed its model; the model is quantized, and goes on being used."""
    names = run_migrated(
        """\
        import torch
        from src.models.mixed_precision_quantization import create_mixed_precision_quantizer
        from src.models.resnet_bk import LanguageModel

        model = LanguageModel(vocab_size=20, d_model=64, n_layers=1, num_experts=2)
        x = torch.zeros(1, 8, dtype=torch.long)
        before = sum(each.nbytes for each in model.state_dict().values())
        quantizer = create_mixed_precision_quantizer(model=model, use_dynamic_policy=False, group_size=32)
        quantizer.start_calibration()
        with torch.no_grad():
            quantizer.calibrate_layer("lm_head", model(x))
        quantizer.end_calibration()
        quantizer.quantize_model()
        after = sum(each.nbytes for each in model.state_dict().values())
        logits = model(x)
        """
    )
    assert names["quantizer"].plan.group_size == 32
    assert names["after"] < names["before"]
    assert names["logits"].shape == (1, 8, 20)


# 0.6.0 ----------------------------------------------------------------------------------------------------


def test_long_texts_and_streaming(run_migrated: Run) -> None:
    """0.6: a long model, evaluated piece by piece, by the method it had and by that of the guide."""
    names = run_migrated(
        """\
        import torch
        from src.models.resnet_bk import LanguageModel
        from src.benchmarks.streaming_evaluator import StreamingEvaluator

        torch.manual_seed(0)
        model = LanguageModel(vocab_size=20, d_model=32, n_layers=1, n_seq=131072)
        data = torch.randint(0, 20, (3000,))
        evaluator = StreamingEvaluator(model, chunk_size=512, device="cpu", verbose=False)
        results = evaluator.evaluate_streaming(data, log_interval=10)
        line = f"{results['loss']:.4f} {results['perplexity']:.2f} {results['total_tokens']}"
        guide = evaluator.evaluate(data, max_length=2000)
        """,
    )
    assert names["results"].tokens == 3000
    assert names["guide"].tokens == 2000
    assert names["line"] == f"{names['results'].loss:.4f} {float(names['results']):.2f} 3000"


# 0.5.0 ----------------------------------------------------------------------------------------------------


def test_semiseparable_models(run_migrated: Run) -> None:
    """0.5: with its settings spelled out, without them, and in the dense mode, a model is the same one."""
    names = run_migrated(
        """\
        import torch
        from src.models.resnet_bk import LanguageModel

        torch.manual_seed(0)
        plain = LanguageModel(vocab_size=20, d_model=32, n_layers=1, n_seq=16)
        torch.manual_seed(0)
        said = LanguageModel(
            vocab_size=20, d_model=32, n_layers=1, n_seq=16, use_semiseparable=True, low_rank=None
        )
        torch.manual_seed(0)
        dense = LanguageModel(vocab_size=20, d_model=32, n_layers=1, n_seq=16, use_semiseparable=False)
        x = torch.arange(16).view(1, 16)
        results = [plain(x), said(x), dense(x)]
        """,
    )
    first, *others = names["results"]
    assert first.shape == (1, 16, 20)
    assert all(torch.equal(first, other) for other in others)


def test_memory_as_in_the_guide(run_migrated: Run) -> None:
    """The model computes what it did; that there is nowhere to move anything is said."""
    with pytest.warns(UserWarning, match="nothing is offloaded"):
        names = run_migrated(
            """\
            import torch
            from src.models.memory_optimization import MemoryOptimizer
            from src.models.resnet_bk import LanguageModel

            torch.manual_seed(0)
            model = LanguageModel(vocab_size=20, d_model=32, n_layers=1)
            x = torch.arange(16).view(1, 16)
            before = model(x)
            optimizer = MemoryOptimizer(
                use_zero=True,
                use_cpu_offload=True,
                use_gradient_checkpointing=True
            )
            model = optimizer.optimize(model)
            after = model(x)
            """
        )
    assert torch.equal(names["before"], names["after"])


def test_a_matrix_as_before(run_migrated: Run) -> None:
    """A matrix that is stored as it is was a `SemiseparableMatrix`, and is one."""
    names = run_migrated(
        """\
        import torch
        from src.models.memory_optimization import MemoryOptimizationConfig, create_optimized_semiseparable

        config = MemoryOptimizationConfig(use_zero=False, use_mixed_precision=False)
        matrix = create_optimized_semiseparable(16, config)
        h = torch.eye(16) + torch.ones(16, 1) @ torch.ones(1, 16)
        T, U, V = matrix.factorize(h)
        product = matrix.matvec(torch.ones(16))
        """
    )
    assert type(names["matrix"]) is resnet_bk.SemiseparableMatrix
    assert torch.allclose(names["product"], names["h"] @ torch.ones(16), atol=1e-3)
