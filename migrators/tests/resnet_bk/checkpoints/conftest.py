"""What the tests of checkpoints share: old models in all sizes of small, written without torch."""

from __future__ import annotations

import json
import random
import struct
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug import Runtime
from modelplug.migration.candidates import Candidate
from modelplug.migration.checkpoints import MadeTensor, TensorData
from modelplug.migration.detection import Wishes
from modelplug.migration.migrator import Applied, Migrator
from modelplug.migration.plan import FilePlan
from modelplug.migration.steps import Kind
from modelplug_migrators.resnet_bk.checkpoints.current import CurrentCheckpoint, open_current
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref
from modelplug_migrators.resnet_bk.checkpoints.torch_file import torch_file

WIDTH, VOCABULARY, LENGTH, LAYERS, EXPERTS = 8, 11, 6, 2, 3
State = OrderedDict[str, MadeTensor]


class _FileSink:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Take bytes."""
        self.parts.append(data)

    def tensor(self, name: str, tensor: TensorData, watch: Any = None) -> None:
        """Take a tensor's values."""
        for chunk in tensor.chunks():
            self.parts.append(chunk)
            if watch is not None:
                watch(chunk)


def _shape_size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


@attrs.define
class Workshop:
    """Makes old checkpoints and migrates them.

    Attributes:
        folder: Where they are put.
        seed: Of the numbers in them.
    """

    folder: Path
    seed: int = 0

    # Making -------------------------------------------------------------------------------------------

    def tensor(self, *shape: int, dtype: str = "F32") -> MadeTensor:
        """A tensor of small random numbers."""
        self.seed += 1
        numbers = random.Random(self.seed)
        code, count = {"F32": ("f", 1), "F64": ("d", 1), "C64": ("f", 2)}[dtype], _shape_size(shape)
        values = [numbers.uniform(-0.5, 0.5) for _ in range(count * code[1])]
        return MadeTensor(dtype, shape, struct.pack(f"<{len(values)}{code[0]}", *values))

    def numbers(self, *values: float, shape: tuple[int, ...] | None = None) -> MadeTensor:
        """A tensor of these numbers; of one without dimensions."""
        return MadeTensor(
            "F32", (len(values),) if shape is None else shape, struct.pack(f"<{len(values)}f", *values)
        )

    def state(self, **wishes: Any) -> State:
        """The state dict of an old model.

        Args:
            wishes: `layers`; `ffn` for the later name of the experts; `epsilon` and `gamma` in place of `z`;
                `z`; `scale` for a vector; `diagonal` of the stored chain; `low_rank`; `router` for experts
                that the phase chooses.
        """
        made: State = OrderedDict()
        made["token_embedding.weight"] = self.tensor(VOCABULARY, WIDTH)
        made["position_embedding.weight"] = self.tensor(LENGTH, WIDTH)
        for layer in range(wishes.get("layers", LAYERS)):
            self._layer(made, f"blocks.{layer}.", wishes)
        for part in ("weight", "bias"):
            made[f"layer_norm_final.{part}"] = self.tensor(WIDTH)
        made["lm_head.weight"] = self.tensor(VOCABULARY, WIDTH)
        made["lm_head.bias"] = self.tensor(VOCABULARY)
        return made

    def _layer(self, made: State, block: str, wishes: Mapping[str, Any]) -> None:
        mixer = f"{block}bk_layer."
        ffn = f"{mixer}{'ffn' if wishes.get('ffn') else 'moe_ffn'}."
        for part in ("weight", "bias"):
            made[f"{block}layer_norm.{part}"] = self.tensor(WIDTH)
        made[f"{mixer}bk_scale"] = self.tensor(WIDTH) if wishes.get("scale") else self.numbers(0.7, shape=())
        if "gamma" in wishes:
            made[f"{mixer}gamma"] = self.numbers(wishes["gamma"], shape=())
        if "epsilon" in wishes:
            made[f"{mixer}epsilon_param"] = self.numbers(wishes["epsilon"], shape=())
        diagonal, others = wishes.get("diagonal", (-2.0, 1.0))
        made[f"{mixer}h0_diag_base"] = self.numbers(*[diagonal] * LENGTH, shape=(1, LENGTH))
        for name in ("sub", "super"):
            made[f"{mixer}h0_{name}_base"] = self.numbers(*[others] * (LENGTH - 1), shape=(1, LENGTH - 1))
        if "epsilon" not in wishes:
            z = complex(wishes.get("z", 1j))
            made[f"{mixer}z"] = MadeTensor("C64", (), struct.pack("<2f", z.real, z.imag))
        made[f"{ffn}scattering_step_counter"] = MadeTensor("I64", (), bytes(8))
        for expert in range(EXPERTS):
            made[f"{ffn}experts.{expert}.0.weight"] = self.tensor(2 * WIDTH, WIDTH)
            made[f"{ffn}experts.{expert}.0.bias"] = self.tensor(2 * WIDTH)
            made[f"{ffn}experts.{expert}.3.weight"] = self.tensor(WIDTH, 2 * WIDTH)
            made[f"{ffn}experts.{expert}.3.bias"] = self.tensor(WIDTH)
        if not wishes.get("router"):
            made[f"{ffn}gating_network.weight"] = self.tensor(EXPERTS, WIDTH)
            made[f"{ffn}gating_network.bias"] = self.tensor(EXPERTS)
        for name, shape in (("v_proj", (1, WIDTH)), ("output_proj", (WIDTH, 2))):
            made[f"{mixer}{name}.weight"] = self.tensor(*shape)
            made[f"{mixer}{name}.bias"] = self.tensor(shape[0])
        if wishes.get("low_rank"):
            core = f"{mixer}birman_schwinger_core."
            made[f"{core}positions"] = self.tensor(LENGTH)
            made[f"{core}semiseparable.main_diag"] = self.tensor(LENGTH)
            made[f"{core}semiseparable.U"] = self.tensor(LENGTH, 2)
            made[f"{core}semiseparable.V"] = self.tensor(LENGTH, 2)

    def optimizer(self, state: Mapping[str, MadeTensor], *, groups: int = 1) -> dict[str, Any]:
        """What an Adam optimizer knows of the parameters of a model."""
        buffers = (
            "h0_diag_base",
            "h0_sub_base",
            "h0_super_base",
            ".z",
            "scattering_step_counter",
            "positions",
        )
        shapes = [tensor.shape for name, tensor in state.items() if not name.endswith(buffers)]
        known = {
            index: {
                "step": self.numbers(5.0, shape=()),
                "exp_avg": self.tensor(*shape),
                "exp_avg_sq": self.tensor(*shape),
            }
            for index, shape in enumerate(shapes)
        }
        cut = len(shapes) // groups
        parts = [list(range(number * cut, (number + 1) * cut)) for number in range(groups)]
        parts[-1] += range(groups * cut, len(shapes))
        return {
            "state": known,
            "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.999), "params": part} for part in parts],
        }

    def save(self, root: Any, name: str = "old.pt") -> Path:
        """A file as `torch.save` writes it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sink = _FileSink(path)
        torch_file(path.name, _referred(root, "")).write(sink)
        path.write_bytes(b"".join(sink.parts))
        return path

    def save_folder(self, name: str, config: Mapping[str, Any], files: Mapping[str, Any]) -> Path:
        """A folder with `config.json` and files as `torch.save` writes them, or with these bytes."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        for file, root in files.items():
            if isinstance(root, bytes):
                (folder / file).write_bytes(root)
            else:
                self.save(root, f"{name}/{file}")
        return folder

    # Migrating ----------------------------------------------------------------------------------------

    @property
    def migrator(self) -> Migrator:
        """A migrator of this test's home."""
        return Migrator(Runtime())

    def plan(self, path: Path, *, target: str = "", **options: str) -> FilePlan:
        """What would become of a checkpoint."""
        (file,) = self.migrator.plan([path], Wishes(target=target, options=options)).files
        return file

    def apply(self, path: Path, *, target: str = "", **options: str) -> Applied:
        """Migrate a checkpoint, and verify every tensor."""
        migrator = self.migrator
        plan = migrator.plan([path], Wishes(target=target, options=options))
        assert [file.status for file in plan.files] == ["migrate"], [file.error for file in plan.files]
        return migrator.apply(plan, verify=True)

    def migrate(self, path: Path, **options: str) -> CurrentCheckpoint:
        """Migrate a checkpoint to 1.0; gives what came of it."""
        (file,) = self.apply(path, **options).files
        assert file.build is not None
        return open_current(file.build.path)

    def why_not(self, path: Path, **options: str) -> str:
        """Why a checkpoint is refused."""
        file = self.plan(path, **options)
        assert file.status == "refused", file.status
        assert file.error is not None
        return f"{file.error['what']}; {file.error['why']}"

    def why_not_back(self, path: Path) -> str:
        """Why a checkpoint can't be brought back to 0.9."""
        wishes = Wishes(target="0.9", kind=Kind.CHECKPOINT)
        (file,) = self.migrator.plan([path], wishes).files
        assert file.status == "refused", file.status
        assert file.error is not None
        return str(file.error["why"])

    def detections(self, path: Path) -> list[Any]:
        """What a file or folder is taken for."""
        from modelplug_migrators.resnet_bk import checkpoints

        return list(checkpoints.detect(Candidate(path)))


def _referred(value: Any, place: str) -> Any:
    if isinstance(value, MadeTensor):
        return Ref(place, value)
    if isinstance(value, dict):
        return type(value)({key: _referred(item, f"{place}.{key}") for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(_referred(item, f"{place}.{number}") for number, item in enumerate(value))
    return value


def bytes_of(ref: Any) -> bytes:
    """The values of a tensor."""
    return b"".join(getattr(ref, "tensor", ref).chunks())


@pytest.fixture
def workshop(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """Makes and migrates checkpoints in a folder of this test."""
    monkeypatch.setenv("MODELPLUG_PLUGINS", "migrators")
    monkeypatch.setenv("MODELPLUG_PLUGIN_DEADLINE", "0")
    folder = tmp_path / "models"
    folder.mkdir()
    return Workshop(folder)


@pytest.fixture(scope="session")
def read() -> Any:
    """Gives the values of a tensor as bytes."""
    return bytes_of
