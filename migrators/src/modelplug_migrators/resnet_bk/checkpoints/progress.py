"""Where training stood, and the states of random number generators, as `training_state.json` holds them."""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.migration.checkpoints import MadeTensor
from modelplug_migrators.resnet_bk.checkpoints.content import refs_in
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Progress", "former_random_state", "progress_of", "random_states"]

_STEPS: Final = ("optimizer_step", "step", "global_step")
_KNOWN: Final = frozenset(
    {
        "epsilon", "best_ppl", "schatten_norms", "condition_numbers", "gradient_norms", "routing_entropy",
        "expert_usage", "nan_count", "oom_count", "last_stable_checkpoint",
    }
)  # fmt: skip
_RESERVED: Final = frozenset({"epoch", "step", "rng", "extras"}) | _KNOWN
_NUMPY_STATE: Final = 5
_PYTHON_STATE: Final = 3


@attrs.define(kw_only=True)
class Progress:
    """Where training stood.

    Attributes:
        epoch: Passes over the data.
        step: Updates of the parameters.
        entries: The content of `training_state.json` besides these, in plain values.
        places: Entry of the source -> the entry it is now, and whether only to be kept.
    """

    epoch: int = 0
    step: int = 0
    entries: dict[str, Any] = attrs.field(factory=dict)
    places: dict[str, tuple[str, bool]] = attrs.field(factory=dict)


def progress_of(entries: Mapping[str, Any], config: Mapping[str, Any]) -> Progress:
    """What the entries of a checkpoint say of where training stood; those with tensors are passed over.

    Args:
        entries: The entries by name.
        config: The configuration.
    """
    progress = Progress()
    counted = next((name for name in _STEPS if _is_count(entries.get(name))), "")
    for name, value in entries.items():
        if next(refs_in(value), None) is not None:
            continue
        if name == "epoch" and _is_count(value):
            progress.epoch = value
            progress.places[name] = ("epoch", False)
        elif name == counted:
            progress.step = value
            progress.places[name] = ("step", False)
        elif name == "best_val_loss" and _is_number(value) and value < math.log(1e300):
            progress.entries["best_ppl"] = math.exp(value)
            progress.places[name] = ("best_ppl", False)
        elif name in _KNOWN and _fits(name, value):
            progress.entries[name] = value
            progress.places[name] = (name, False)
        else:
            kept = f"former_{name}" if name in _RESERVED else name
            progress.entries[kept] = value
            progress.places[name] = (kept, True)
    if _is_number(config.get("epsilon")):
        progress.entries.setdefault("epsilon", config["epsilon"])
    return progress


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _fits(name: str, value: Any) -> bool:
    if name in ("epsilon", "best_ppl"):
        return _is_number(value)
    if name in ("nan_count", "oom_count"):
        return _is_count(value)
    if name == "last_stable_checkpoint":
        return isinstance(value, str)
    return isinstance(value, list) and all(_is_number(item) for item in value)


# Random number generators ---------------------------------------------------------------------------------


def random_states(value: Any) -> dict[str, Any] | None:
    """The states of Python's, NumPy's and torch's generators as 1.0 stores them; None if one is missing.

    Args:
        value: What a checkpoint says of them.
    """
    if not isinstance(value, dict):
        return None
    python = _one_of(value, "python_random", "python")
    numpy = _one_of(value, "numpy_random", "numpy")
    torch = _one_of(value, "torch_random", "torch", "cpu")
    cuda = _one_of(value, "torch_cuda_random", "cuda")
    if not (isinstance(python, tuple) and len(python) == _PYTHON_STATE):
        return None
    if not (isinstance(numpy, tuple) and len(numpy) == _NUMPY_STATE and isinstance(numpy[1], (Ref, list))):
        return None
    if not isinstance(torch, Ref):
        return None
    kind, key, position, has_gauss, cached = numpy
    state: dict[str, Any] = {
        "python": {"version": python[0], "state": list(python[1]), "gauss": python[2]},
        "numpy": {
            "kind": kind,
            "key": key if isinstance(key, list) else _whole_numbers(key),
            "position": position,
            "has_gauss": has_gauss,
            "gauss": cached,
        },
        "torch": _text(torch),
    }
    devices = [cuda] if isinstance(cuda, Ref) else cuda
    if isinstance(devices, (list, tuple)) and all(isinstance(each, Ref) for each in devices):
        state["cuda"] = [_text(each) for each in devices]
    return state


def former_random_state(state: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The states of the generators as checkpoints before 1.0 hold them.

    Args:
        state: The states as 1.0 stores them.
        place: What they are called in the checkpoint.

    Raises:
        KeyError: One is missing.
        ValueError: One is damaged.
    """
    python, numpy = state["python"], state["numpy"]
    key, position, has_gauss, gauss = (numpy[name] for name in ("key", "position", "has_gauss", "gauss"))
    made: dict[str, Any] = {
        "python_random": (python["version"], tuple(python["state"]), python["gauss"]),
        "numpy_random": (numpy["kind"], list(key), position, has_gauss, gauss),
        "torch_random": _tensor(state["torch"], f"{place}.torch_random"),
    }
    if "cuda" in state:
        made["torch_cuda_random"] = [
            _tensor(text, f"{place}.torch_cuda_random.{number}") for number, text in enumerate(state["cuda"])
        ]
    return made


def _tensor(text: str, name: str) -> Ref:
    data = base64.b64decode(text, validate=True)
    return Ref(name, MadeTensor("U8", (len(data),), data))


def _one_of(value: Mapping[Any, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _whole_numbers(ref: Ref) -> list[int]:
    data = b"".join(ref.tensor.chunks())
    width = 4
    return [int.from_bytes(data[at : at + width], "little") for at in range(0, len(data), width)]


def _text(ref: Ref) -> str:
    return base64.b64encode(b"".join(ref.tensor.chunks())).decode("ascii")
