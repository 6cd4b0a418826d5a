"""Programs for ResNet-BK before 1.0, migrated as users do it, run with `resnet_bk`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from modelplug.migration.candidates import Candidate
from modelplug.migration.detection import Wishes
from modelplug.migration.graph import MigrationGraph
from modelplug.migration.planning import Planner
from modelplug.paths import Paths

torch = pytest.importorskip("torch")
resnet_bk = pytest.importorskip("resnet_bk")
pytest.importorskip("libcst")

from modelplug_migrators.resnet_bk.family import FAMILY, STEPS  # noqa: E402
from modelplug_migrators.resnet_bk.source import settings, vocabulary  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Do once what leaves traces in the process: compilers are imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("compiler")))
        parameter = torch.nn.Parameter(torch.zeros(1))
        torch.optim.AdamW([parameter]).zero_grad()
        config = resnet_bk.MambaKillerConfig(vocab_size=2, d_model=32, n_layers=1)
        resnet_bk.ResNetBK(config)(torch.zeros(1, 2, dtype=torch.long)).logits.sum().backward()
        yield


def migrated(folder: Path, text: str) -> str:
    """What becomes of a program, whatever version it is for."""
    path = folder / "program.py"
    path.write_text(dedent(text), "utf-8")
    home = folder / "home"
    paths = Paths(config=home, data=home, cache=home, logs=home)
    plan = Planner(MigrationGraph([FAMILY], STEPS), paths).plan_candidate(Candidate(path), Wishes())
    assert plan.status == "migrate", plan.error
    (change,) = plan.changes
    assert change.after is not None
    return change.after.decode()


def run(folder: Path, text: str, **names: Any) -> dict[str, Any]:
    """The names a program leaves behind, migrated and run; warnings are errors."""
    after = migrated(folder, text)
    names["__name__"] = "program"
    exec(compile(after, "program.py", "exec"), names)
    return names


# Item by item of the guide --------------------------------------------------------------------------------


def test_semiseparable_models(tmp_path: Path) -> None:
    """0.5: with its settings spelled out, without them, and in the dense mode, a model is the same one."""
    names = run(
        tmp_path,
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


def test_long_texts_and_streaming(tmp_path: Path) -> None:
    """0.6: a long model, evaluated piece by piece, by the method it had and by that of the guide."""
    names = run(
        tmp_path,
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


def test_adaptive_computation(tmp_path: Path) -> None:
    """0.8: the settings are there; what they ask for is not done, and that is said."""
    with pytest.warns(UserWarning, match="use_act=True"):
        names = run(
            tmp_path,
            """\
            from src.models.resnet_bk import LanguageModel

            model = LanguageModel(
                vocab_size=20,
                d_model=32,
                n_layers=1,
                use_adaptive_computation=True,
                act_threshold=0.3,
            )
            """,
        )
    assert names["model"].config.use_act
    assert names["model"].config.act_halt_threshold == 0.3


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("FLOPsCounter", "counter = FLOPsCounter(model)\nflops = counter.count_flops(x)\nassert flops > 0\n"),
        ("QuantizedBirmanSchwinger", "q = QuantizedBirmanSchwinger(model, bits=8)\n"),
        (
            "MixedPrecisionQuantization",
            "q = MixedPrecisionQuantization(model, {'moe_experts': 4, 'bk_core': 8, 'output_layers': 16})\n",
        ),
        (
            "MemoryOptimizer",
            "model = MemoryOptimizer(use_zero=False, use_gradient_checkpointing=True).optimize(model)\n",
        ),
    ],
)
def test_what_later_versions_have(tmp_path: Path, name: str, rest: str) -> None:
    """0.5 to 0.8: programs that use them are written for them, and run where `resnet_bk` has them."""
    module = next(key for key, names in vocabulary.MODULES.items() if name in names)
    text = (
        "import torch\nfrom src.models.resnet_bk import LanguageModel\n"
        f"from src.{module} import {name}\n"
        "model = LanguageModel(vocab_size=20, d_model=32, n_layers=1)\n"
        "x = torch.zeros(1, 8, dtype=torch.long)\n" + rest
    )
    after = migrated(tmp_path, text)
    assert f"from resnet_bk import {name}" in after or f"{name}, " in after
    if name not in resnet_bk.__all__:
        pytest.skip(f"this resnet_bk has no {name}")
    exec(compile(after, "program.py", "exec"), {"__name__": "program"})


def test_models_and_configurations(tmp_path: Path) -> None:
    """0.9 and 1.0: a model with settings as arguments is the one that its configuration gives."""
    names = run(
        tmp_path,
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


def test_checkpoints(tmp_path: Path) -> None:
    """1.0: what a manager saved it loads, with what was told by position told by name."""
    names = run(
        tmp_path,
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


def test_parts_of_the_model(tmp_path: Path) -> None:
    """1.0: cores take z, routers give two things, matrices three."""
    names = run(
        tmp_path,
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


def test_deprecated_settings(tmp_path: Path) -> None:
    """1.0: a seed among the settings gives the same weights as one that is set before; no warning is left."""
    names = run(
        tmp_path,
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


# Programs as people have them -----------------------------------------------------------------------------


def test_a_training_loop(tmp_path: Path) -> None:
    """A model goes through functions of its own file, and its logits are taken wherever it is called."""
    names = run(
        tmp_path,
        """\
        import torch
        import torch.nn as nn
        from src.models.resnet_bk import LanguageModel as ResNetBK

        CONFIG = {
            'vocab_size': 20, 'd_model': 32, 'n_layers': 1, 'n_seq': 16, 'num_experts': 2, 'dropout_p': 0.0,
            'use_scattering_router': False, 'use_birman_schwinger': False,
        }

        class Wrapper(nn.Module):
            def __init__(self):
                super().__init__()
                self.model = ResNetBK(**CONFIG)

            def forward(self, x):
                return self.model(x)

        def create():
            return ResNetBK(**CONFIG).to("cpu")

        def train(model, batch):
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
            criterion = nn.CrossEntropyLoss()
            for _ in range(2):
                logits = model(batch[:, :-1])
                loss = criterion(logits.reshape(-1, logits.size(-1)), batch[:, 1:].reshape(-1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            return loss.item()

        batch = torch.randint(0, 20, (2, 17))
        model = create()
        before = train(model, batch)
        with torch.no_grad():
            logits = model(batch)
        wrapped = Wrapper()(batch)
        sizes = (model.d_model, model.n_seq)
        """,
    )
    assert names["logits"].shape == names["wrapped"].shape == (2, 17, 20)
    assert names["sizes"] == (32, 16)
    assert names["model"].config.top_k == 1


def test_settings_that_only_running_shows(tmp_path: Path) -> None:
    """Whatever names they have, the older class takes them, says it is deprecated, and gives a tensor."""
    with pytest.warns(DeprecationWarning, match="LanguageModel"):
        names = run(
            tmp_path,
            """\
            import torch
            from src.models.resnet_bk import LanguageModel

            model = LanguageModel(**checkpoint['config']).to("cpu")
            logits = model(torch.zeros(1, 4, dtype=torch.long))
            """,
            checkpoint={"config": {"vocab_size": 20, "d_model": 32, "n_layers": 1, "dropout_p": 0.1}},
        )
    assert names["logits"].shape == (1, 4, 20)


# What is said of resnet_bk is true ------------------------------------------------------------------------


def test_every_counterpart_exists_or_is_promised() -> None:
    """A program is not sent to a name that nobody has; what a later version has is known as such."""
    names = {old.counterpart for module in vocabulary.MODULES.values() for old in module.values()} - {""}
    assert names - vocabulary.PROMISED <= set(resnet_bk.__all__)


def test_the_settings_are_those_of_the_configuration() -> None:
    """Today's names, the renamed and the dropped ones are the same ones in both packages."""
    from resnet_bk import legacy
    from resnet_bk.configuration.checks import RENAMED
    from resnet_bk.configuration.rules import CHECKS

    assert set(CHECKS) | {"hidden_size", "num_hidden_layers"} == settings.CURRENT
    assert settings.RENAMED.items() >= RENAMED.items()
    assert set(settings.RENAMED.values()) <= settings.CURRENT
    assert settings.DROPPED == legacy._DROPPED
    gone = settings.RENAMED.keys() | settings.DROPPED | settings.DEPENDENT.keys()
    assert not settings.CURRENT & gone
    today = [settings.RENAMED.get(name, name) for name in settings.POSITIONAL]
    assert today == [settings.RENAMED.get(name, name) for name in legacy._POSITIONAL]


def test_the_defaults_are_those_of_the_configuration() -> None:
    """What is told of defaults is what models get."""
    config = resnet_bk.MambaKillerConfig()
    for name, change in settings.DEFAULTS_CHANGED.items():
        assert getattr(config, name) == float(change.partition(" -> ")[2])


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("birman_schwinger", "BirmanSchwingerCore"),
        ("checkpoint_manager", "CheckpointManager"),
        ("factorize", "SemiseparableMatrix"),
        ("prime_bump", "PrimeBumpPotential"),
        ("streaming_evaluator", "StreamingEvaluator"),
    ],
)
def test_arguments_are_those_of_the_classes(rule: str, name: str) -> None:
    """What a call is fitted to is what the class takes, in that order."""
    module = __import__(f"modelplug_migrators.resnet_bk.source.rules.{rule}", fromlist=["_MAKING"])
    parameters = inspect.signature(getattr(resnet_bk, name)).parameters
    plain = [each.name for each in parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert list(module._MAKING.kept) == plain
    assert set(module._MAKING.keywords) == parameters.keys() - set(plain)


def test_methods_are_those_of_the_classes() -> None:
    """What calls of methods are fitted to is what they take."""
    from modelplug_migrators.resnet_bk.source.rules import checkpoint_manager, streaming_evaluator

    save = inspect.signature(resnet_bk.CheckpointManager.save_checkpoint).parameters
    load = inspect.signature(resnet_bk.CheckpointManager.load).parameters
    evaluate = inspect.signature(resnet_bk.StreamingEvaluator.evaluate).parameters
    assert set(checkpoint_manager._SAVING.keywords) <= save.keys()
    assert {*checkpoint_manager._LOADING.kept, *checkpoint_manager._LOADING.keywords} <= load.keys()
    assert tuple(evaluate)[1:] == streaming_evaluator._EVALUATING.kept
    for method in checkpoint_manager._TODAY - {"directory", "keep"}:
        assert hasattr(resnet_bk.CheckpointManager, method)
