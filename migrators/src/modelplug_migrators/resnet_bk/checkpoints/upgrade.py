"""The step of a checkpoint from 0.9 to 1.0: a folder of data takes the place of a pickle."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from modelplug.migration.checkpoints import Build, CheckpointEditor, NewFile
from modelplug_migrators.resnet_bk.checkpoints import forms, layout
from modelplug_migrators.resnet_bk.checkpoints.architecture import NotAModelOf10Error, infer
from modelplug_migrators.resnet_bk.checkpoints.content import OldCheckpoint, refs_in
from modelplug_migrators.resnet_bk.checkpoints.mapping import Mapped, differences, map_model
from modelplug_migrators.resnet_bk.checkpoints.naming import place_of
from modelplug_migrators.resnet_bk.checkpoints.optimizers import carry_optimizer, is_optimizer, renamed_refs
from modelplug_migrators.resnet_bk.checkpoints.options import MODEL_OPTION, TOP_K_OPTION
from modelplug_migrators.resnet_bk.checkpoints.progress import Progress, progress_of, random_states
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import Ref
from modelplug_migrators.resnet_bk.checkpoints.reading.stored import StoredTensor
from modelplug_migrators.resnet_bk.checkpoints.trees import flatten
from modelplug_migrators.resnet_bk.checkpoints.warnings import warn_about_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modelplug.migration.steps import StepContext
    from modelplug_migrators.resnet_bk.checkpoints.architecture import Architecture

__all__ = ["upgrade_checkpoint"]

_SHOWN: Final = 5
_SETTINGS: Final = {"dropout_p": "dropout", "v_max": "potential_limit"}
_STATE_NAME: Final = re.compile(r"[a-zA-Z]\w*")
_BUFFER: Final = re.compile(r".*\.(?:h0_(?:diag|sub|super)_base|z|scattering_step_counter|positions)")


def upgrade_checkpoint(artifact: CheckpointEditor, context: StepContext) -> None:
    """Say what becomes of a checkpoint before 1.0.

    Args:
        artifact: The checkpoint.
        context: What the user decided.
    """
    _Upgrade(artifact, context.options).run()


class _Upgrade:
    def __init__(self, editor: CheckpointEditor, options: Mapping[str, str]) -> None:
        self.editor = editor
        self.options = options
        self.old: OldCheckpoint = editor.content
        self.files: list[NewFile] = []
        self.states: list[str] = []
        self.settings: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}

    def run(self) -> None:
        as_data = self.options.get(MODEL_OPTION) == "data"
        if self.old.form is forms.COMPRESSED and not as_data:
            self.editor.error(
                "it holds a compressed embedding and no model, and nothing in 1.0 reads that; `--option "
                f"{MODEL_OPTION}=data` keeps it as data"
            )
            return
        mapped = None if as_data else self._map()
        if self.editor.is_refused:
            return
        for place, name in self.old.classes.items():
            self.editor.note(f"the {name} in it is kept as its fields; the class is not imported", place)
        if mapped is None:
            self._write_tensors("model", dict(self.old.model))
            self.editor.warn("its tensors keep their names: programs can read them, and no class of 1.0 can")
        else:
            self._write_model(mapped[0], mapped[1])
        self._write_states(mapped)
        progress = self._write_progress()
        self._keep_config()
        self._carry_files()
        self._build(progress)

    # The model ----------------------------------------------------------------------------------------

    def _map(self) -> tuple[Mapped, Architecture] | None:
        old = self.old
        try:
            architecture = infer(old.model, old.settings, self._top_k())
            mapped = map_model(old.model, architecture.settings["d_model"])
        except (NotAModelOf10Error, ValueError) as error:
            self._refuse(str(error))
            return None
        if mapped.unknown:
            self._refuse(f"1.0 has no place for {_listed(mapped.unknown)}")
        elif "blocks.0.bk_layer.moe_ffn.gating_network.weight" not in old.model and (
            "blocks.0.bk_layer.ffn.gating_network.weight" not in old.model
        ):
            self._refuse(
                "its experts were chosen by the phase of the resolvent, among all texts of a batch together; "
                "1.0 chooses for each text by itself, so no model of it gives the same"
            )
        elif mapped.low_rank and self.options.get(MODEL_OPTION) != "nearest":
            self._refuse(
                f"1.0 has nothing for the low-rank term {_listed(mapped.low_rank)}; `--option "
                f"{MODEL_OPTION}=nearest` leaves it out, and the model is then only near the old one"
            )
        else:
            for problem in differences(mapped, architecture)[:_SHOWN]:
                self._refuse(problem)
        if self.editor.is_refused:
            return None
        warn_about_model(self.editor, old, mapped, architecture)
        return mapped, architecture

    def _refuse(self, why: str) -> None:
        advice = "" if MODEL_OPTION in why else f" (`--option {MODEL_OPTION}=data` keeps its tensors as data)"
        self.editor.error(f"no model of 1.0 is this one: {why}{advice}")

    def _top_k(self) -> int:
        said = self.old.settings.get("top_k")
        if type(said) is int:
            return said
        wanted = self.options.get(TOP_K_OPTION, "")
        if wanted.isdecimal():
            return int(wanted)
        self.editor.warn(
            "nothing in it says through how many experts each token goes: it is taken to be 1, as it was by "
            f"default; `--option {TOP_K_OPTION}=N` says another number"
        )
        return 1

    def _write_model(self, mapped: Mapped, architecture: Architecture) -> None:
        for key, why in mapped.dropped.items():
            self.editor.drop(key, why=why)
        settings = dict(architecture.settings)
        aliases = _aliases(mapped.tensors)
        tied = aliases == {"lm_head.weight": "model.embeddings.weight"}
        settings["tie_word_embeddings"] = tied
        self.settings = settings
        self._write_tensors("model", mapped.tensors, aliases)
        self.files.append(layout.json_file(layout.CONFIG_FILE, settings, indent=2))
        self.editor.introduce(layout.CONFIG_FILE)

    def _write_tensors(
        self, stem: str, tensors: Mapping[str, Ref], aliases: Mapping[str, str] | None = None
    ) -> None:
        """Account for tensors, and write those that are not further names of others."""
        for name, ref in tensors.items():
            self._account(ref, f"{stem}/{name}")
        texts = {"format": "pt", **(aliases or {})} if stem == "model" else {}
        written = {name: ref for name, ref in tensors.items() if name not in (aliases or {})}
        self.files.append(layout.tensors_file(stem, written, texts))

    def _account(self, ref: Ref, target: str) -> None:
        if not ref.key:
            self.editor.add(target, ref.tensor, why=ref.how)
        elif ref.how:
            self.editor.transform(ref.key, target, ref.tensor, how=ref.how)
        else:
            self.editor.move(ref.key, target)

    # States -------------------------------------------------------------------------------------------

    def _write_states(self, mapped: tuple[Mapped, Architecture] | None) -> None:
        for entry, value in self.old.states.items():
            name = self._state_name(forms.STATES.get(entry, entry.removesuffix("_state_dict")))
            if value is None:
                self.editor.leave_out(entry, why="there was none")
            elif name == "optimizer" and mapped is not None and is_optimizer(value):
                self._write_optimizer(entry, value, *mapped)
            elif name == "ema" and mapped is not None:
                self._write_state(entry, name, self._average(value, mapped[0]))
            else:
                self._write_state(entry, name, value)
        for entry, value in self.old.random.items():
            state = random_states(value)
            if state is None or "rng" in self.metadata:
                self._write_state(entry, self._state_name(entry), value)
                continue
            self.metadata["rng"] = state
            for ref in refs_in(value):
                self.editor.inline(ref.key, "training_state/rng", how="as text, as 1.0 keeps it")
            self.editor.carry(entry, "training_state/rng")
        for entry, value in self.old.entries.items():
            if next(refs_in(value), None) is not None:
                self._write_state(entry, self._state_name(entry), value)

    def _state_name(self, name: str) -> str:
        """A name for the files of a state: one that is free, and that can be a name."""
        name = name if _STATE_NAME.fullmatch(name) else "state"
        reserved = {"model", "config", "training_state", "metadata", "migration", *self.states}
        while name in reserved:
            name += "_2"
        return name

    def _write_state(self, entry: str, name: str, value: Any) -> None:
        files, tensors = layout.state_files(name, value)
        for key, ref in tensors.items():
            self._account(ref, f"{name}/{key}")
        self.files += files
        self.states.append(name)
        self.editor.carry(entry, f"{name}.json")

    def _write_optimizer(
        self, entry: str, value: Mapping[str, Any], mapped: Mapped, architecture: Architecture
    ) -> None:
        old = self.old
        before = {
            name: ref.tensor.shape
            for name, ref in old.model.items()
            if not _BUFFER.fullmatch(name) and not name.startswith("prime_bump_potential.")
        }
        losses = {
            mapped.renamed[name]: "its gradient was the sum over the channels, and its parts can't be told"
            for name, ref in old.model.items()
            if place_of(name).action == "scale" and ref.tensor.shape == ()
        }
        carried = carry_optimizer(value, before, mapped.renamed, tuple(architecture.shapes), losses)
        if carried.state is None:
            name = self._state_name("former_optimizer")
            self._write_state(entry, name, value)
            self.editor.todo(
                f"the optimizer's state is kept as {name}, which no optimizer takes: {carried.why}", entry
            )
            return
        for key, why in carried.dropped.items():
            self.editor.drop(key, why=why)
        self._write_state(entry, "optimizer", carried.state)

    def _average(self, value: Any, mapped: Mapped) -> Any:
        """A moving average of the model's parameters, under their new names if they are its names."""
        if not isinstance(value, dict):
            return value
        stripped = {
            name: next((own for own in mapped.renamed if str(name).endswith(own)), "") for name in value
        }
        if not all(stripped.values()) or not all(isinstance(item, Ref) for item in value.values()):
            return value
        return renamed_refs(value, {name: mapped.renamed[own] for name, own in stripped.items()})

    # The rest -----------------------------------------------------------------------------------------

    def _write_progress(self) -> Progress:
        progress = progress_of(self.old.entries, self.old.settings)
        for entry, (place, is_extra) in progress.places.items():
            self.editor.carry(entry, f"training_state/{place}", extra=is_extra)
        content: dict[str, Any] = {"epoch": progress.epoch, "step": progress.step, **progress.entries}
        rng = self.metadata.pop("rng", None)
        content["rng"] = [] if rng is None else [rng]
        tree, _ = flatten(content)
        self.files.append(layout.json_file(layout.STATE_FILE, tree))
        return progress

    def _keep_config(self) -> None:
        """Keep every entry of the old configuration in the metadata, and say which ones the new one has."""
        old = self.old
        if not old.config_place:
            return
        kept: dict[str, Any] = {}
        for name, value in old.config.items():
            refs = list(refs_in(value))
            key = f"{old.config_place}.{name}"
            if refs:
                self._write_state(key, self._state_name(f"config_{name}"), value)
                continue
            kept[name] = flatten(value)[0]
            setting = _SETTINGS.get(name, name)
            if value is not None and self.settings.get(setting) == value:
                self.editor.carry(key, f"config.json/{setting}")
            else:
                self.editor.carry(key, f"metadata/config/{name}", extra=True)
        self.metadata["config"] = json.loads(json.dumps(kept))

    def _carry_files(self) -> None:
        """Take over the further files of a folder, such as a tokenizer."""
        for path in self.old.carried:
            name = path.relative_to(self.old.path).as_posix()
            if name in {file.name for file in self.files} | {layout.METADATA_FILE, layout.ACCOUNT_FILE}:
                name = f"former-{name}"
            self.files.append(layout.copied_file(path, name))

    def _build(self, progress: Progress) -> None:
        old = self.old
        description = layout.Description(
            epoch=progress.epoch,
            step=progress.step,
            states=self.states,
            source=old.path,
            form=old.form.name,
            chain=lambda: self.editor.chain,
            metadata=self.metadata,
        )
        self.editor.build = Build(
            path=result_path(old.path),
            replaces=(old.path,),
            files=tuple(self.files),
            seal=description.seal,
        )


def result_path(path: Path) -> Path:
    """Where the folder is put that takes the place of a checkpoint.

    Args:
        path: The checkpoint: a folder keeps its name, and a file leaves its own without the ending.
    """
    if path.is_dir():
        return path
    return path.with_suffix("") if path.stem and path.suffix else path.with_name(f"{path.name}-1.0")


def _aliases(tensors: Mapping[str, Ref]) -> dict[str, str]:
    """Further names of tensors that are one and the same memory -> the first name."""
    first: dict[object, str] = {}
    found: dict[str, str] = {}
    for name, ref in tensors.items():
        if isinstance(ref.tensor, StoredTensor) and ref.tensor.size:
            known = first.setdefault(ref.tensor.identity, name)
            if known != name:
                found[name] = known
    return found


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
