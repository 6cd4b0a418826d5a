"""Checkpoints of ResNet-BK before 1.0, migrated as users do it, give in 1.0 what they gave before."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelplug.cli.main import main

torch = pytest.importorskip("torch")
numpy = pytest.importorskip("numpy")
tqdm = pytest.importorskip("tqdm")
resnet_bk = pytest.importorskip("resnet_bk")

SHARED = Path(__file__).parents[2] / "shared" / "data" / "resnet-bk-checkpoints"
SAME = ("bare_state_dict.pt", "checkpoint_manager.pt", "train_py.pt")
TOLERANCE = 1e-4
VOCABULARY, WIDTH, LAYERS, LENGTH, EXPERTS = 13, 8, 2, 10, 3

Run = Callable[..., tuple[int, str, str]]
State = dict[str, Any]

pytestmark = pytest.mark.filterwarnings("ignore:A model with the mixer diagonal-bidirectional")


@pytest.fixture(scope="module", autouse=True)
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Do once what leaves traces in the process: compilers are imported, a model is written and read."""
    place = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(place))
        patch.setattr(tqdm.tqdm, "monitor_interval", 0)
        torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).zero_grad()
        config = resnet_bk.MambaKillerConfig(vocab_size=2, d_model=32, n_layers=1)
        resnet_bk.ResNetBK(config).save_pretrained(place)
        resnet_bk.ResNetBK.from_pretrained(place)
        yield


@pytest.fixture(autouse=True)
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The migrators, and no other plugin."""
    monkeypatch.setenv("MODELPLUG_PLUGINS", "migrators")
    monkeypatch.setenv("MODELPLUG_PLUGIN_DEADLINE", "0")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The program."""

    def run_program(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["migrate", *map(str, arguments)])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run_program


@pytest.fixture
def migrate(run: Run) -> Callable[..., Path]:
    """Migrates a checkpoint with every check there is; gives the folder."""

    def migrate_path(path: Path, *arguments: str) -> Path:
        status, out, err = run("apply", path, "--yes", "--verify", "--json", *arguments)
        assert status == 0, err
        (made,) = json.loads(out)["made"]
        return Path(made)

    return migrate_path


@pytest.fixture
def real(tmp_path: Path) -> Callable[[str], Path]:
    """Copies of files that the program of 0.9 saved."""
    if not SHARED.is_dir():
        pytest.skip("the shared checkpoints are not here")

    def copy(name: str) -> Path:
        path = tmp_path / name
        shutil.copyfile(SHARED / name, path)
        return path

    return copy


def logits_of(folder: Path, ids: Any) -> Any:
    """What a migrated model gives."""
    with torch.no_grad():
        return resnet_bk.ResNetBK.from_pretrained(folder).eval()(ids).logits


def reference() -> tuple[Any, Any]:
    """Inputs, and the logits that the program of 0.9 gave for them."""
    with numpy.load(SHARED / "reference.npz") as content:
        return torch.from_numpy(content["input_ids"]), torch.from_numpy(content["logits"])


# Files that the program of 0.9 saved ----------------------------------------------------------------------


@pytest.mark.parametrize("name", SAME)
def test_a_real_checkpoint_gives_the_logits_it_gave(real: Callable[[str], Path], run: Run, name: str) -> None:
    """Through the program, with the reference; and loaded in each of the three ways."""
    from transformers import AutoModelForCausalLM

    path = real(name)
    status, out, err = run("apply", path, "--yes", "--reference", SHARED / "reference.npz")
    assert status == 0, err
    assert "verified: 66 tensors before: 54 moved, 4 transformed" in out
    assert "verified: the logits of 2 texts of 128 tokens are those of reference.npz" in out
    folder = path.with_suffix("")
    ids, expected = reference()
    found = logits_of(folder, ids)

    assert float((found - expected).abs().max()) < TOLERANCE
    assert float(expected.abs().max()) > 1
    model = resnet_bk.ResNetBK(resnet_bk.MambaKillerConfig.from_pretrained(folder)).eval()
    checkpoint = resnet_bk.CheckpointManager(folder.parent).load(folder, model=model)
    assert checkpoint.metadata.format_version == "1.0.0"
    with torch.no_grad():
        assert torch.equal(model(ids).logits, found)
        assert torch.equal(AutoModelForCausalLM.from_pretrained(folder).eval()(ids).logits, found)


def test_the_check_of_the_logits_can_fail(real: Callable[[str], Path], run: Run, tmp_path: Path) -> None:
    """A reference that differs in one logit, and a model in one weight, are found out; nothing is changed."""
    path = real("bare_state_dict.pt")
    with numpy.load(SHARED / "reference.npz") as content:
        ids, logits = content["input_ids"], content["logits"].copy()
    logits[1, 77, 3] += 2 * TOLERANCE
    numpy.savez(tmp_path / "other.npz", input_ids=ids, logits=logits)
    status, _, err = run("apply", path, "--yes", "--reference", tmp_path / "other.npz")
    assert status != 0
    assert "does not give what other.npz says" in err
    state = torch.load(path, weights_only=True)
    state["blocks.1.bk_layer.v_proj.bias"] += 0.01
    torch.save(state, path)
    status, _, err = run("apply", path, "--yes", "--reference", SHARED / "reference.npz")

    assert status != 0
    assert "does not give what reference.npz says" in err
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.is_dir()) == [
        "bare_state_dict.pt",
        "other.npz",
    ]


def test_the_guides_checkpoint_is_one_step_further(
    real: Callable[[str], Path], migrate: Callable[..., Path]
) -> None:
    """Its model has made one update since the reference: taken back with the migrated state of its optimizer.

    That works only if every weight and everything the optimizer knew of it arrived at the same parameter.
    What it knew of the scales has no place in 1.0, and comes from the old file.
    """
    old = torch.load(SHARED / "guide_0_9.pt", weights_only=True)
    folder = migrate(real("guide_0_9.pt"))
    model = resnet_bk.ResNetBK.from_pretrained(folder).eval()
    checkpoint = resnet_bk.CheckpointManager(folder.parent).load(folder)
    optimizer = checkpoint.state("optimizer")
    (group,) = optimizer["param_groups"]
    assert group["param_names"] == [name for name, _ in model.named_parameters()]
    assert (checkpoint.epoch, checkpoint.step) == (3, 1200)
    names = [name for name in old["model"] if old["model"][name].dtype == torch.float32 and "h0_" not in name]
    scales = [index for index, name in enumerate(names) if name.endswith("bk_scale")]
    known = dict(optimizer["state"])
    for layer, index in enumerate(scales):
        known[group["param_names"].index(f"model.layers.{layer}.mixer.scale")] = old["optimizer"]["state"][
            index
        ]
    with torch.no_grad():
        for index, name in enumerate(group["param_names"]):
            if index in known:
                take_back(model.get_parameter(name), known[index], group)
        ids, expected = reference()
        found = model(ids).logits

    assert len(known) == len(group["params"]) - 2 * 2
    assert float((found - expected).abs().max()) < TOLERANCE


def take_back(parameter: Any, state: Any, group: Any) -> None:
    """Undo one update of AdamW."""
    step, (beta1, beta2) = float(state["step"]), group["betas"]
    mean = state["exp_avg"] / (1 - beta1**step)
    spread = (state["exp_avg_sq"] / (1 - beta2**step)).sqrt() + group["eps"]
    parameter.add_(group["lr"] * mean / spread).div_(1 - group["lr"] * group["weight_decay"])


# Models of our own, against the old formulas --------------------------------------------------------------


def old_state(**wishes: Any) -> State:
    """The state dict of an old model, with random weights."""
    torch.manual_seed(7)
    state: State = OrderedDict()
    state["token_embedding.weight"] = torch.randn(VOCABULARY, WIDTH)
    state["position_embedding.weight"] = torch.randn(LENGTH, WIDTH)
    ffn = wishes.get("ffn", "moe_ffn")
    for number in range(LAYERS):
        block, mixer = f"blocks.{number}.", f"blocks.{number}.bk_layer."
        state[f"{block}layer_norm.weight"] = 1 + 0.1 * torch.randn(WIDTH)
        state[f"{block}layer_norm.bias"] = 0.1 * torch.randn(WIDTH)
        state[f"{mixer}bk_scale"] = torch.randn(WIDTH) if wishes.get("vector") else torch.tensor(0.8)
        for name in ("epsilon_param", "gamma"):
            if name in wishes:
                state[f"{mixer}{name}"] = torch.tensor(wishes[name])
        state[f"{mixer}h0_diag_base"] = torch.full((1, LENGTH), -2.0)
        state[f"{mixer}h0_sub_base"] = torch.ones(1, LENGTH - 1)
        state[f"{mixer}h0_super_base"] = torch.ones(1, LENGTH - 1)
        if "epsilon_param" not in wishes:
            state[f"{mixer}z"] = torch.tensor(wishes.get("z", 1j), dtype=torch.complex64)
        for expert in range(EXPERTS):
            for name, shape in (("0", (2 * WIDTH, WIDTH)), ("3", (WIDTH, 2 * WIDTH))):
                state[f"{mixer}{ffn}.experts.{expert}.{name}.weight"] = 0.4 * torch.randn(*shape)
                state[f"{mixer}{ffn}.experts.{expert}.{name}.bias"] = 0.1 * torch.randn(shape[0])
        state[f"{mixer}{ffn}.gating_network.weight"] = torch.randn(EXPERTS, WIDTH)
        state[f"{mixer}{ffn}.gating_network.bias"] = torch.randn(EXPERTS)
        state[f"{mixer}v_proj.weight"] = 3 * torch.randn(1, WIDTH)
        state[f"{mixer}v_proj.bias"] = torch.randn(1)
        state[f"{mixer}output_proj.weight"] = torch.randn(WIDTH, 2)
        state[f"{mixer}output_proj.bias"] = torch.randn(WIDTH)
    for name in ("weight", "bias"):
        state[f"layer_norm_final.{name}"] = torch.randn(WIDTH)
    state["lm_head.weight"] = torch.randn(VOCABULARY, WIDTH)
    state["lm_head.bias"] = torch.randn(VOCABULARY)
    return state


def old_logits(state: State, ids: Any, *, top_k: int = 1, limit: float = 3.0) -> Any:
    """What a model before 1.0 computes, from its formulas, with dense inverses in 64 bits."""
    wide = {
        name: tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)
        for name, tensor in state.items()
    }
    functional = torch.nn.functional

    def linear(name: str, inputs: Any) -> Any:
        return functional.linear(inputs, wide[f"{name}.weight"], wide[f"{name}.bias"])

    def norm(name: str, inputs: Any) -> Any:
        return functional.layer_norm(inputs, (WIDTH,), wide[f"{name}.weight"], wide[f"{name}.bias"])

    hidden = wide["token_embedding.weight"][ids] + wide["position_embedding.weight"]
    for number in range(LAYERS):
        mixer = f"blocks.{number}.bk_layer."
        ffn = "moe_ffn" if f"{mixer}moe_ffn.gating_network.weight" in wide else "ffn"
        inputs = norm(f"blocks.{number}.layer_norm", hidden)
        features = resolvent_features(
            wide, mixer, ffn, linear(f"{mixer}v_proj", inputs)[..., 0].clamp(-limit, limit)
        )
        mixed = wide[f"{mixer}bk_scale"] * linear(f"{mixer}output_proj", features)
        chosen, experts = linear(f"{mixer}{ffn}.gating_network", inputs).topk(top_k, -1)
        shares = torch.zeros(*ids.shape, EXPERTS, dtype=torch.float64).scatter(
            -1, experts, chosen.softmax(-1)
        )
        outputs = [
            linear(f"{mixer}{ffn}.experts.{each}.3", linear(f"{mixer}{ffn}.experts.{each}.0", inputs).relu())
            for each in range(EXPERTS)
        ]
        hidden = hidden + mixed + (torch.stack(outputs, -1) * shares.unsqueeze(-2)).sum(-1)
    return linear("lm_head", norm("layer_norm_final", hidden))


def resolvent_features(wide: State, mixer: str, ffn: str, potential: Any) -> Any:
    """Real and imaginary part of the diagonal of the resolvent of the chain with a potential."""
    if f"{mixer}z" in wide:
        z = wide[f"{mixer}z"]
    else:
        floor = 1e-6 if ffn == "moe_ffn" else 1e-4
        z = 1j * (torch.nn.functional.softplus(wide[f"{mixer}epsilon_param"]) + floor + wide[f"{mixer}gamma"])
    chain = torch.diag_embed(wide[f"{mixer}h0_diag_base"] + potential).to(torch.complex128)
    chain = (
        chain
        + torch.diag(wide[f"{mixer}h0_sub_base"][0], -1)
        + torch.diag(wide[f"{mixer}h0_super_base"][0], 1)
    )
    diagonal = torch.linalg.inv(chain - z * torch.eye(LENGTH)).diagonal(dim1=-2, dim2=-1)
    return torch.view_as_real(diagonal.contiguous())


@pytest.mark.parametrize(
    ("wishes", "config"),
    [
        ({}, {"top_k": 1}),
        ({}, {"top_k": 2}),
        ({"vector": True}, {"top_k": 3, "v_max": 1.0}),
        ({"z": 0.3 + 0.7j}, {"top_k": 1}),
        ({"epsilon_param": 0.4, "gamma": 0.0, "vector": True}, {"top_k": 1}),
        ({"epsilon_param": -0.5, "gamma": 0.2, "vector": True, "ffn": "ffn"}, {"top_k": 2}),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module._orig_mod."])
def test_every_variant_gives_what_the_old_formulas_give(
    tmp_path: Path, migrate: Callable[..., Path], wishes: Any, config: Any, prefix: str
) -> None:
    """Other choices of experts, limits, energies and widths; computed by other means."""
    state = old_state(**wishes)
    named = {f"{prefix}{name}": tensor for name, tensor in state.items()}
    path = tmp_path / "model.pt"
    torch.save({"model_state_dict": named, "config": config}, path)
    ids = torch.randint(0, VOCABULARY, (3, LENGTH), generator=torch.Generator().manual_seed(1))
    expected = old_logits(state, ids, top_k=config["top_k"], limit=config.get("v_max", 3.0))
    found = logits_of(migrate(path), ids)

    assert float((found - expected).abs().max()) < TOLERANCE
    assert float(expected.abs().max()) > 1


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_models_in_16_bits(tmp_path: Path, migrate: Callable[..., Path], kind: str) -> None:
    """Keep their bits; energies and widths stay in 32."""
    state = {
        name: each if each.is_complex() else each.to(getattr(torch, kind))
        for name, each in old_state().items()
    }
    path = tmp_path / "half.pt"
    torch.save({"model_state_dict": state, "config": {"top_k": 1}}, path)
    model = resnet_bk.ResNetBK.from_pretrained(migrate(path), dtype="auto")

    assert torch.equal(model.lm_head.weight, state["lm_head.weight"])
    assert model.model.layers[0].mixer.rho.dtype == torch.float32


def test_a_folder_for_transformers_is_one_again(tmp_path: Path, migrate: Callable[..., Path]) -> None:
    """In its place, with its tokenizer."""
    state = old_state()
    folder = tmp_path / "hub"
    folder.mkdir()
    torch.save({f"model.{name}": each for name, each in state.items()}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"model_type": "resnet_bk", "top_k": 1}))
    (folder / "tokenizer_config.json").write_text("{}")
    ids = torch.arange(LENGTH)[None]

    assert migrate(folder) == folder
    assert float((logits_of(folder, ids) - old_logits(state, ids)).abs().max()) < TOLERANCE
    assert (folder / "tokenizer_config.json").exists()


# Training goes on -----------------------------------------------------------------------------------------


def test_training_goes_on(tmp_path: Path, migrate: Callable[..., Path]) -> None:
    """Model, optimizer, scheduler and random numbers are loaded, and the next update is the old state's."""
    state = old_state(vector=True)
    parameters = {
        name: torch.nn.Parameter(each)
        for name, each in state.items()
        if "h0_" not in name and not name.endswith(".z")
    }
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(3):
        for parameter in parameters.values():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
        scheduler.step()
    saved = {name: parameters[name].detach() if name in parameters else each for name, each in state.items()}
    numbers = {
        "python_random": random.getstate(),
        "numpy_random": numpy.random.get_state(),
        "torch_random": torch.get_rng_state(),
    }
    path = tmp_path / "run.pt"
    root = {"model_state_dict": saved, "optimizer_state_dict": optimizer.state_dict(), "epoch": 1, "step": 3}
    root |= {"scheduler_state_dict": scheduler.state_dict(), "random_state": numbers, "config": {"top_k": 1}}
    torch.save(root, path)
    wanted = (random.random(), float(numpy.random.rand()), float(torch.rand(1)))
    folder = migrate(path)
    model = resnet_bk.ResNetBK.from_pretrained(folder)
    again = torch.optim.AdamW(model.named_parameters(), lr=0.5)
    then = torch.optim.lr_scheduler.StepLR(again, 2)
    manager = resnet_bk.CheckpointManager(folder.parent)
    manager.load(folder, model=model, optimizer=again, scheduler=then, with_rng=True)

    assert (random.random(), float(numpy.random.rand()), float(torch.rand(1))) == wanted
    assert (then.last_epoch, again.param_groups[0]["lr"]) == (3, pytest.approx(0.001))
    old, new = parameters["blocks.1.bk_layer.v_proj.weight"], model.model.layers[1].mixer.potential.weight
    for parameter in (old, new):
        parameter.grad = torch.ones_like(parameter)
    for parameter in (*model.parameters(), *parameters.values()):
        if parameter is not new and parameter is not old:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    again.step()
    assert torch.equal(new, old)


def values() -> Iterator[tuple[str, Any]]:
    """States as programs have them."""
    yield "scheduler", {"milestones": Counter({3: 1}), "base_lrs": [0.1], "last": float("inf"), "fn": None}
    yield "nested", {"a": (1, [2.5, {"b": torch.arange(3)}]), 7: "x", "o": OrderedDict(z=torch.zeros(()))}
    yield (
        "kinds",
        {"t": torch.float16, "d": torch.device("cpu"), "s": torch.Size([1, 2]), "b": b"\x00", "c": 1j},
    )
    yield "arrays", {"n": numpy.arange(4).reshape(2, 2), "f": numpy.float64(0.1), "set": {1, 2}}
    yield "views", {"t": torch.arange(6).reshape(2, 3).t(), "c": torch.ones(2, dtype=torch.complex128)}


@pytest.mark.parametrize(("name", "value"), list(values()))
def test_states_arrive_exactly(tmp_path: Path, migrate: Callable[..., Path], name: str, value: Any) -> None:
    """What 1.0 reads is what the old program saved, type by type."""
    path = tmp_path / "run.pt"
    root = {"model_state_dict": old_state(), "step": 1, "config": {"top_k": 1}, f"{name}_state_dict": value}
    torch.save(root, path)
    folder = migrate(path)

    same(resnet_bk.CheckpointManager(tmp_path).load(folder).state(name), value)


def same(found: Any, wanted: Any) -> None:
    """Make sure that two nested values are equal, and of the same types."""
    assert type(found) is type(wanted)
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            same(found[key], wanted[key])
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    elif isinstance(wanted, torch.Tensor):
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)
    elif isinstance(wanted, numpy.ndarray):
        assert numpy.array_equal(found, wanted)
    else:
        assert found == wanted


def test_checkpoints_of_1_0_are_left_alone(tmp_path: Path, run: Run) -> None:
    """Those that the manager saved, and models that transformers saved."""
    config = resnet_bk.MambaKillerConfig(vocab_size=11, d_model=16, n_layers=1, expand=2, value_dim=16)
    model = resnet_bk.ResNetBK(config)
    saved = resnet_bk.CheckpointManager(tmp_path / "run").save_checkpoint(model=model)
    model.save_pretrained(tmp_path / "model")
    status, out, _ = run("plan", tmp_path, "--json")
    files = json.loads(out)["files"]

    assert status == 0
    assert {(Path(file["path"]), file["status"], file["target"]) for file in files} == {
        (saved, "current", "1.0"),
        (tmp_path / "model", "current", "1.0"),
    }


PROGRAM = """\
import torch
from src.models.resnet_bk import LanguageModel

torch.manual_seed(1)  # of this program
model = LanguageModel(vocab_size=11, d_model=16, n_layers=1, n_seq=8, num_experts=0, dropout_p=0.0)
logits = model(torch.zeros(1, 8, dtype=torch.long))
"""


def content(folder: Path) -> dict[Path, bytes]:
    """Every file of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a configuration, a checkpoint, a program, and what is nothing to migrate."""
    folder = tmp_path / "project"
    (folder / "runs").mkdir(parents=True)
    yaml = "model:\n  d_model: 256 # wide\n  n_layers: 8\n  n_seq: 2048\n  use_prime_bump: true\n"
    (folder / "base.yaml").write_text(yaml)
    (folder / "train.py").write_text(PROGRAM)
    best = folder / "runs" / "best.pt"
    torch.save({"model_state_dict": old_state(), "config": {"top_k": 1}}, best)
    torch.save(torch.nn.Linear(2, 2).state_dict(), folder / "runs" / "another.pt")
    (folder / "runs" / "cut.pt").write_bytes(best.read_bytes()[:-200])
    header = json.dumps({"blocks.0.bk_layer.z": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    data = len(header).to_bytes(8, "little") + header.encode()
    (folder / "runs" / "cut.safetensors").write_bytes(data[:40])
    for number in range(20):
        (folder / "runs" / f"firmware{number}.bin").write_bytes(bytes([number]) * 100)
    return folder


def test_a_project_with_everything(project: Path, run: Run) -> None:
    """One plan, one transaction, and one rollback for configuration, checkpoint and program."""
    before = content(project)
    status, out, err = run("plan", project)
    assert status == 0, err
    assert content(project) == before
    for words in ("config of resnet-bk", "checkpoint of resnet-bk", "source of resnet-bk", "3 to migrate"):
        assert words in out

    status, out, err = run("apply", project, "--yes", "--json")
    assert status == 0, err
    done = json.loads(out)
    assert {Path(path).name for path in done["migrated"]} == {"base.yaml", "best.pt", "train.py"}
    assert (project / "runs" / "best" / "metadata.json").exists()
    assert b"# wide" in (project / "base.yaml").read_bytes()
    program = (project / "train.py").read_text()
    assert "torch.manual_seed(1)  # of this program" in program
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(program, "train.py", "exec"), names)
    assert names["logits"].shape == (1, 8, 11)

    assert run("rollback", done["transaction"], "--yes")[0] == 0
    assert content(project) == before


def test_a_project_s_plan_says_what_is_left_alone(project: Path, run: Run) -> None:
    """Weights of other models, cut-off files and what is no checkpoint, without failing the plan."""
    status, out, err = run("plan", project, "--json")
    assert status == 0, err
    left = {Path(file["path"]).name: file for file in json.loads(out)["left_alone"]}
    assert len(left) == 23
    assert left["another.pt"]["what"] == "PyTorch weights of a model that no installed family knows"
    assert left["cut.pt"]["what"] == left["cut.safetensors"]["what"] == "a file that is cut off"
    assert left["firmware3.bin"]["what"] == "no checkpoint"
    out = run("plan", project)[1]
    assert "no checkpoint: 20 files" in out
    assert "and 17 more" in out
    assert "3 to migrate, 23 left alone" in out


# Memory ---------------------------------------------------------------------------------------------------

MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="resource")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("turned", [False, True])
def test_memory_is_bounded_by_the_largest_tensor(tmp_path: Path, turned: bool) -> None:
    """A checkpoint is never in memory as a whole, also if its largest tensor is a view."""
    state = old_state()
    rows = 8 << 20
    large = torch.zeros(WIDTH, rows).t() if turned else torch.zeros(rows, WIDTH)
    state["token_embedding.weight"] = state["lm_head.weight"] = large
    state["lm_head.weight"] = large.clone(memory_format=torch.preserve_format)
    state["lm_head.bias"] = torch.zeros(rows)
    path = tmp_path / "large.pt"
    torch.save({"model": state, "epoch": 0, "step": 0, "config": {"top_k": 1}}, path)
    largest = large.numel() * 4
    del state, large
    program = [sys.executable, "-m", "modelplug", "migrate", "apply", str(path), "--yes"]
    result = subprocess.run(
        [sys.executable, "-c", MEASURED, *program], capture_output=True, text=True, check=True
    )

    assert path.with_suffix("").is_dir()
    assert int(result.stdout) < 1.3 * largest + 300e6
