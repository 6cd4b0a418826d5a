"""From an installation of the older programs to modelplug's own home."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from modelplug.errors import MigrationError
from modelplug.migration.candidates import Candidate
from modelplug.migration.steps import Kind, Migration
from modelplug_migrators.gguf_loader import layouts
from modelplug_migrators.gguf_loader.choice import OPTION, named_engine, no_such_backend
from modelplug_migrators.gguf_loader.engines import engine_named
from modelplug_migrators.gguf_loader.home.backup import plan_backup
from modelplug_migrators.gguf_loader.home.contents import ConfigFile, HomeContents
from modelplug_migrators.gguf_loader.home.locations import desktop_settings
from modelplug_migrators.gguf_loader.home.models import ModelRegistry
from modelplug_migrators.gguf_loader.home.notes import current_setup
from modelplug_migrators.gguf_loader.home.performance import (
    read_cache,
    read_meta,
    runs_of_cache,
    runs_of_meta,
)
from modelplug_migrators.gguf_loader.home.secrets import without_secrets
from modelplug_migrators.gguf_loader.models import look_at
from modelplug_migrators.gguf_loader.windows_registry import EFFECT, Registry, find_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from modelplug.migration.homes import HomeEditor
    from modelplug.migration.steps import StepContext

__all__ = ["COPY_MODELS", "HomeToModelplug"]

COPY_MODELS = "copy_models"

# Which configuration counts more where several say the same: the later, the more.
_RANKS = {
    layouts.APPLICATION: 0,
    layouts.INTERFACE: 1,
    layouts.FIRST: 2,
    layouts.BACKEND_SET_1_0: 3,
    layouts.BACKEND_SET_1_1: 3,
    layouts.FLAT: 4,
    layouts.MULTI_BACKEND: 5,
    layouts.UNIVERSAL: 6,
    layouts.MODELPLUG: 7,
}

_ONE_ENGINE = frozenset({layouts.FLAT, layouts.FIRST, layouts.INTERFACE})


class HomeToModelplug(Migration):
    """Settings, models and measurements of an installation enter modelplug's own home.

    Every configuration in the folder is brought to modelplug's settings and carried into modelplug's settings
    file, those that say most of a backend last; where they differ, the later one counts, and the plan says
    so. Presets are not carried in, because only one set of settings can be in force.

    Every model that the folder holds or its files name gets a name in modelplug's history; its path stays,
    and what it is is read from the file again. Missing models are listed. What
    `model_performance_cache.json` and `MODEL.meta.json` say of earlier runs enters the history too, marked as
    claimed by the older program.

    The old folder stays as it is. The backup holds its configurations, logs and notes, and what the older
    programs kept in the Windows registry; models are only recorded there, unless the option `copy_models`
    says `yes`.

    There is no way back by steps, because the old installation is still there; rolling back takes modelplug's
    settings and history to where they were.
    """

    family = layouts.NAME
    kind = Kind.HOME
    source = layouts.HOME
    target = layouts.MODELPLUG
    breaking = (
        "The older programs do not see what is changed in modelplug afterwards, nor the other way round.",
    )
    adds = ("Models can be named instead of typing their path.",)

    registry: ClassVar[Callable[[], Registry | None]] = staticmethod(find_registry)

    def upgrade(self, artifact: HomeEditor, context: StepContext) -> None:
        """Plan what goes where."""
        self._check_options(artifact, context)
        contents = HomeContents(artifact.folder)
        for path, why in contents.others.items():
            artifact.note(f"{path.relative_to(contents.folder).as_posix()} is only in the backup: {why}")
        models = ModelRegistry(artifact.folder, lambda path: look_at(context, path))
        if contents.is_backup:
            artifact.note(
                "this is a backup as the guide makes them, and no live installation; it stays as it is"
            )
        self._carry_settings(artifact, context, contents, models)
        models.add_from_folder(contents)
        runs = list(self._runs(contents, models))
        models.report(artifact)
        self._carry_history(artifact, models, runs)
        plan_backup(artifact, contents, copy_models=context.options.get(COPY_MODELS) == "yes")
        if contents.has_known_name:
            artifact.copies += desktop_settings(artifact.folder.parent, os.environ)
        artifact.notes["current_setup.txt"] = current_setup(contents, models)
        self._keep_registry(artifact)

    def _check_options(self, artifact: HomeEditor, context: StepContext) -> None:
        """Refuse what can't be meant, before every file is refused for it."""
        told = context.options.get(OPTION, "")
        if told and not engine_named(told):
            artifact.error(no_such_backend(told))
        copy = context.options.get(COPY_MODELS, "no")
        if copy not in ("yes", "no"):
            artifact.error(f"the option {COPY_MODELS} takes yes or no, and not {copy!r}")

    def _carry_settings(
        self, artifact: HomeEditor, context: StepContext, contents: HomeContents, models: ModelRegistry
    ) -> None:
        """Bring every configuration into modelplug's settings, and its models into the registry."""
        options = {name: value for name, value in context.options.items() if name == OPTION}
        engine = "" if options else _named_engine(contents)
        configs = sorted(contents.configs, key=lambda config: _RANKS.get(config.seen.version, 8))
        for config in configs:
            name = config.path.relative_to(contents.folder).as_posix()
            told = options
            if engine and config.seen.version in _ONE_ENGINE and not _engine_of(config):
                artifact.note(
                    f"{name} names no backend; its settings are for {engine}, as other files here say"
                )
                told = {OPTION: engine}
            migrated = artifact.migrate_config(config.path, told)
            if migrated is None:
                continue
            models.add_from_config(migrated.value, name)
            if config.seen.version == layouts.PRESET:
                artifact.note(f"{name} is a preset, and not carried over; the backup has it")
                continue
            migrated, left_out = without_secrets(migrated)
            if left_out:
                artifact.note(f"{name}: {', '.join(left_out)} may hold passwords, and only the backup has it")
            artifact.merge_settings(migrated)

    def _runs(self, contents: HomeContents, models: ModelRegistry) -> Iterator[dict[str, Any]]:
        """The runs that the installation noted; the models they are of enter the registry."""
        if contents.performance_cache is not None:
            yield from runs_of_cache(
                contents.performance_cache, read_cache(contents.performance_cache, models)
            )
        for path in _metas(contents, models):
            yield from runs_of_meta(path, read_meta(path, models))

    def _carry_history(self, artifact: HomeEditor, models: ModelRegistry, runs: list[dict[str, Any]]) -> None:
        entries = models.entries()
        if entries or runs:
            summary = f"{_counted(len(entries), 'model')} and {_counted(len(runs), 'run')} enter the history"
            artifact.effect("history", {"models": entries, "runs": runs}, summary)

    def _keep_registry(self, artifact: HomeEditor) -> None:
        registry = type(self).registry()
        if registry is None:
            artifact.note("there is no Windows registry here, and nothing of it to keep")
            return
        try:
            exported = list(registry.export())
        except MigrationError as error:
            artifact.warn(f"the Windows registry is not in the backup: {error}")
            return
        for entry in exported:
            artifact.notes[entry.name] = entry.data
        if exported:
            keys = ", ".join(f"{entry.key} ({_counted(entry.values, 'value')})" for entry in exported)
            payload = {"keys": [entry.payload() for entry in exported]}
            artifact.effect(EFFECT, payload, f"rolling back brings {keys} to where it was", of_family=True)
        else:
            artifact.note("the Windows registry holds nothing of the older programs")


def _named_engine(contents: HomeContents) -> str:
    """The engine that the configuration saying most of a backend names; empty if none names one."""
    ranked = [config for config in contents.configs if config.seen.version in _RANKS]
    ranked.sort(key=lambda config: _RANKS[config.seen.version], reverse=True)
    return next(filter(None, map(_engine_of, ranked)), "")


def _engine_of(config: ConfigFile) -> str:
    return named_engine(Candidate(config.path).mapping)


def _metas(contents: HomeContents, models: ModelRegistry) -> Iterator[Path]:
    """Every `MODEL.meta.json` in the folder of models, and beside the models that are elsewhere."""
    found = dict.fromkeys(sorted((contents.folder / "models").rglob("*.meta.json")))
    for model in list(models):
        for name in (f"{model.path.name}.meta.json", f"{model.path.stem}.meta.json"):
            note = model.path.with_name(name) if model.exists else Path(name)
            if model.exists and note.is_file():
                found[note] = None
    yield from found


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
