"""The way back of a checkpoint from 1.0 to 0.9, for models that 0.9 had."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import attrs

from modelplug.migration.checkpoints import Build, CheckpointEditor, MadeTensor
from modelplug_migrators.resnet_bk.checkpoints.architecture import MIXER, expected_shapes
from modelplug_migrators.resnet_bk.checkpoints.content import refs_in
from modelplug_migrators.resnet_bk.checkpoints.current import CurrentCheckpoint
from modelplug_migrators.resnet_bk.checkpoints.mapping import ENERGY
from modelplug_migrators.resnet_bk.checkpoints.optimizers import carry_optimizer, is_optimizer
from modelplug_migrators.resnet_bk.checkpoints.progress import former_random_state
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref
from modelplug_migrators.resnet_bk.checkpoints.scalars import (
    complex_tensor,
    eta_of_rho,
    float_tensor,
    numbers_of,
    rho_of_eta,
)
from modelplug_migrators.resnet_bk.checkpoints.torch_file import UnwritableError, torch_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.migration.steps import StepContext

__all__ = ["downgrade_checkpoint"]

# What every model of 0.9 was, whatever its size.
_OF_EVERY: Final[Mapping[str, Any]] = {
    "mixer": MIXER,
    "diagonal_heads": 1,
    "potential_limit": 3.0,
    "feed_forward": "experts",
    "use_scattering_router": False,
    "parallel_feed_forward": True,
    "norm": "layer",
    "norm_eps": 1e-5,
    "position_embeddings": True,
    "head_bias": True,
    "tie_word_embeddings": False,
    "use_prime_bump": False,
}
_RANDOM: Final = "random_state"
_KEPT: Final = ("vocab_size", "d_model", "n_layers", "n_seq", "num_experts", "top_k")


def downgrade_checkpoint(artifact: CheckpointEditor, context: StepContext) -> None:
    """Say what becomes of a checkpoint of 1.0 in the form of 0.9.

    Args:
        artifact: The checkpoint.
        context: What the step may know besides.
    """
    del context
    _Downgrade(artifact).run()


class _Downgrade:
    def __init__(self, editor: CheckpointEditor) -> None:
        self.editor = editor
        self.new: CurrentCheckpoint = editor.content
        self.renamed: dict[str, str] = {}
        self.lost: dict[str, str] = {}

    def run(self) -> None:
        problem = self._not_of_0_9()
        if problem:
            self.editor.error(f"0.9 had no such model: {problem}")
            return
        try:
            root: dict[str, Any] = {"model": self._model()}
        except ValueError as error:
            self.editor.error(f"0.9 had no such model: {error}")
            return
        self._states(root)
        self._progress(root)
        self._config(root)
        for path in self.new.others:
            self.editor.leave_out(path.name, why="a checkpoint of 0.9 is one file")
        path = self.new.path.with_name(f"{self.new.path.name}.pt")
        try:
            file = torch_file(path.name, root)
        except UnwritableError as error:
            self.editor.error(f"it can't be written as a checkpoint of 0.9: {error}")
            return
        self.editor.build = Build(path=path, is_file=True, replaces=(self.new.path,), files=(file,))

    def _not_of_0_9(self) -> str:
        """What 0.9 can't say; empty if it can say everything."""
        config = self.new.config
        for name, value in _OF_EVERY.items():
            if config.get(name) != value:
                return f"{name} is {config.get(name)!r}, and was {value!r} in all of them"
        if config.get("intermediate_size") != 2 * config["d_model"]:
            return "intermediate_size was twice d_model in all of them"
        shapes = expected_shapes(config)
        odd = [name for name, ref in self.new.model.items() if shapes.get(name) != ref.tensor.shape] + [
            name for name in shapes if name not in self.new.model
        ]
        return f"{odd[0]} is not what its configuration says" if odd else ""

    # The model ----------------------------------------------------------------------------------------

    def _model(self) -> OrderedDict[str, Ref]:
        config = self.new.config
        made: OrderedDict[str, Ref] = OrderedDict()
        self._move(made, "token_embedding.weight", "model.embeddings.weight")
        self._move(made, "position_embedding.weight", "model.position_embeddings.weight")
        for number in range(config["n_layers"]):
            self._layer(made, f"blocks.{number}.", f"model.layers.{number}.")
        for part in ("weight", "bias"):
            self._move(made, f"layer_norm_final.{part}", f"model.norm.{part}")
        for part in ("weight", "bias"):
            self._move(made, f"lm_head.{part}", f"lm_head.{part}")
        return made

    def _layer(self, made: OrderedDict[str, Ref], old: str, new: str) -> None:
        """One layer, in the order in which 0.9 had its tensors."""
        for part in ("weight", "bias"):
            self._move(made, f"{old}layer_norm.{part}", f"{new}norm.{part}")
        mixer = f"{old}bk_layer."
        self._scale(made, f"{mixer}bk_scale", f"{new}mixer.scale")
        length = self.new.config["n_seq"]
        for name, value, count in (
            ("diag", -2.0, length),
            ("sub", 1.0, length - 1),
            ("super", 1.0, length - 1),
        ):
            self._add(made, f"{mixer}h0_{name}_base", float_tensor([value] * count, (1, count)))
        self._z(made, f"{mixer}z", new)
        experts = f"{mixer}moe_ffn."
        self._add(made, f"{experts}scattering_step_counter", MadeTensor("I64", (), bytes(8)))
        for number in range(self.new.config["num_experts"]):
            for before, now in (("0", "up_proj"), ("3", "down_proj")):
                for part in ("weight", "bias"):
                    target = f"{new}feed_forward.experts.{number}.{now}.{part}"
                    self._move(made, f"{experts}experts.{number}.{before}.{part}", target)
        for before, now in (
            (f"{experts}gating_network", "feed_forward.gate.proj"),
            (f"{mixer}v_proj", "mixer.potential"),
            (f"{mixer}output_proj", "mixer.out_proj"),
        ):
            for part in ("weight", "bias"):
                self._move(made, f"{before}.{part}", f"{new}{now}.{part}")

    def _move(self, made: OrderedDict[str, Ref], old: str, new: str) -> None:
        ref = self.new.model[new]
        made[old] = attrs.evolve(ref, key=f"model.{old}")
        self.renamed[new] = old
        self.editor.move(ref.key, f"model.{old}")

    def _add(self, made: OrderedDict[str, Ref], old: str, tensor: MadeTensor) -> None:
        made[old] = Ref(f"model.{old}", tensor)
        self.editor.add(f"model.{old}", tensor, why="every model of 0.9 held it")

    def _scale(self, made: OrderedDict[str, Ref], old: str, new: str) -> None:
        ref = self.new.model[new]
        data = b"".join(ref.tensor.chunks())
        width = len(data) // ref.tensor.shape[0]
        if data != data[:width] * ref.tensor.shape[0]:
            raise ValueError(f"{new} has a number of its own for each channel, and 0.9 had one for all")
        tensor = MadeTensor(ref.tensor.dtype, (), data[:width])
        made[old] = Ref(f"model.{old}", tensor)
        self.renamed[new] = old
        self.lost[old] = "0.9 had one number for all channels, and its gradient was their sum"
        self.editor.transform(ref.key, f"model.{old}", tensor, how="the number that all channels share")

    def _z(self, made: OrderedDict[str, Ref], old: str, new: str) -> None:
        energy, rho = (self.new.model[f"{new}mixer.{name}"] for name in ("energy", "rho"))
        width = numbers_of(rho.tensor)[0].real
        usual = numbers_of(float_tensor([rho_of_eta(1.0)], (1,)))[0].real
        # The usual width is not exactly 1 in 32 bits, but it was made from 1.
        eta = 1.0 if width == usual else eta_of_rho(width)
        tensor = complex_tensor(complex(numbers_of(energy.tensor)[0].real - ENERGY, eta))
        made[old] = Ref(f"model.{old}", tensor)
        self.editor.transform(energy.key, f"model.{old}", tensor, how="z, of energy and width")
        self.editor.drop(rho.key, why=f"it is part of {old}")

    # The rest -----------------------------------------------------------------------------------------

    def _states(self, root: dict[str, Any]) -> None:
        for name, value in self.new.states.items():
            carried = value
            if name == "optimizer" and is_optimizer(value):
                shapes = expected_shapes(self.new.config)
                buffers = ("h0_diag_base", "h0_sub_base", "h0_super_base", "z", "scattering_step_counter")
                after = [old for old in root["model"] if not old.endswith(buffers)]
                found = carry_optimizer(value, shapes, self.renamed, after, self.lost)
                if found.state is None:
                    self.editor.todo(f"the optimizer's state is left out: {found.why}")
                    for ref in refs_in(value):
                        self.editor.drop(ref.key, why=found.why)
                    self.editor.leave_out(f"{name}.json", why=found.why)
                    continue
                for key, why in found.dropped.items():
                    self.editor.drop(key, why=why)
                carried = _without_names(found.state)
            root[name] = self._renamed(carried, name)
            self.editor.carry(f"{name}.json", name)

    def _renamed(self, value: Any, place: str) -> Any:
        """A state in which every tensor is called as it is in the new file."""
        if isinstance(value, Ref):
            self.editor.move(value.key, place)
            return attrs.evolve(value, key=place)
        if isinstance(value, dict):
            return type(value)({key: self._renamed(item, f"{place}.{key}") for key, item in value.items()})
        if isinstance(value, (list, tuple)):
            return type(value)(self._renamed(item, f"{place}.{key}") for key, item in enumerate(value))
        return value

    def _progress(self, root: dict[str, Any]) -> None:
        for name, value in self.new.training_state.items():
            key = f"training_state/{name}"
            if name == "rng":
                self._random(root, key, value)
            elif name in root:
                self.editor.leave_out(key, why="another entry has that name")
            else:
                root[name] = value
                self.editor.carry(key, name)
        root.setdefault("epoch", 0)
        root.setdefault("step", 0)

    def _random(self, root: dict[str, Any], key: str, states: Any) -> None:
        """The random numbers of the one process that a checkpoint of 0.9 is of."""
        if not isinstance(states, list) or len(states) != 1:
            self.editor.leave_out(key, why="there are none, or those of several processes")
            return
        try:
            made = former_random_state(states[0], _RANDOM)
        except (KeyError, ValueError, TypeError):
            self.editor.leave_out(key, why="they are not whole")
            return
        root[_RANDOM] = made
        for ref in refs_in(made):
            self.editor.add(ref.key, ref.tensor, why="it stood as text in training_state.json")
        self.editor.carry(key, _RANDOM)

    def _config(self, root: dict[str, Any]) -> None:
        """The configuration that there was before it was brought to 1.0, or what the present one says."""
        known = self.new.metadata.get("config")
        config = dict(known) if isinstance(known, dict) else {}
        for name in _KEPT:
            config[name] = self.new.config[name]
        config["dropout_p"] = self.new.config.get("dropout", 0.0)
        root["config"] = config
        for name in self.new.config:
            key = f"config.json/{name}"
            if name in _KEPT:
                self.editor.carry(key, f"config.{name}")
            elif name == "dropout":
                self.editor.carry(key, "config.dropout_p")
            else:
                self.editor.leave_out(key, why="in 0.9 every model was so, or the training said it")
        for name in self.new.metadata:
            key = f"metadata/{name}"
            if name == "config":
                self.editor.carry(key, "config")
            else:
                self.editor.leave_out(key, why="it speaks of 1.0")


def _without_names(state: Mapping[str, Any]) -> dict[str, Any]:
    groups = [
        {name: value for name, value in group.items() if name != "param_names"}
        for group in state["param_groups"]
    ]
    return {**state, "param_groups": groups}
