"""The whole contract between modelplug and its plugins, on one page.

A plugin is a distribution with an entry point in the group `modelplug`. The entry point names a module (or an
object) whose functions, marked with `hookimpl`, implement any of the hooks below. A hook implementation may
take fewer arguments than the specification, by name. It says which contract it was written for in its
attribute `MODELPLUG_HOOKSPEC_VERSION`, a `"major.minor"` string.

The contract's version changes by these rules: a new hook or a new argument raises the minor number; removing
or changing one raises the major number, after at least two minor versions in which using it warns (pluggy's
`warn_on_impl` and `warn_on_impl_args`). A plugin works with a core of the same major number and an equal or
higher minor number.

Importing a plugin's module must not import its engine. Hooks must not change global state.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pluggy

if TYPE_CHECKING:
    import click

    from modelplug.backends.model import Model
    from modelplug.backends.types import (
        BackendReport,
        BackendSettings,
        ConversionPlan,
        ConvertRequest,
        LoadRequest,
    )
    from modelplug.formats.model_info import ModelInfo
    from modelplug.migration.steps import Family, Migration
    from modelplug.system.info import SystemInfo

__all__ = ["ENTRY_POINT_GROUP", "HOOKSPEC_VERSION", "hookimpl", "hookspec"]

HOOKSPEC_VERSION: Final = "1.2"
ENTRY_POINT_GROUP: Final = "modelplug"

hookspec = pluggy.HookspecMarker("modelplug")
hookimpl = pluggy.HookimplMarker("modelplug")


# Detecting backends -------------------------------------------------------------------------------------


@hookspec
def modelplug_detect_backends(system: SystemInfo) -> BackendReport | list[BackendReport] | None:
    """Say which engines this plugin brings, and how usable each is on this machine.

    Called whenever backends are listed or a model is to be loaded. Must be cheap (package metadata,
    `importlib.util.find_spec`, executables on PATH, the devices in `system`) and must not import an engine:
    what only the engine can tell goes into `BackendReport.deep_probe`. Results of all plugins are joined;
    None says that the plugin brings no backend. Since 1.0.
    """
    raise AssertionError  # pluggy never calls a specification


@hookspec
def modelplug_backend_settings() -> dict[str, type[BackendSettings]]:
    """Give the attrs class of each backend's settings, by backend name.

    Called when settings are read, checked or written. Values are structured into the class by cattrs, so its
    types and validators decide what is allowed, and its docstring is shown as help. Results of all plugins
    are joined. Since 1.0.
    """
    raise AssertionError


# Models -------------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def modelplug_inspect_model(path: Path) -> ModelInfo | None:
    """Inspect a file or directory in a format that the core does not know.

    Called only after the core has failed to recognise `path`. Must not load an engine, must not execute
    anything from the file, and must take a time independent of its size. The first result that is not None
    is used; a `ModelFileError` says that the format is known and the file is faulty. Since 1.0.
    """
    raise AssertionError


@hookspec(firstresult=True)
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """Load a model with the engine that `request.backend` names.

    Called in the worker process, or in the caller's own process when isolation is `inline`. A plugin returns
    None for a backend that is not its own. Must return only when the model is ready to generate, and raise
    `BackendError` (any other exception is turned into one) if it can't. The first result that is not None is
    used. Since 1.0.
    """
    raise AssertionError


@hookspec(firstresult=True)
def modelplug_plan_conversion(request: ConvertRequest) -> ConversionPlan | None:
    """Say what a conversion would come to, without doing it.

    Called before a conversion, and when it is asked whether a model can be converted. Reads configuration and
    headers only, and writes nothing. None says that the plugin does not convert such models;
    `ConversionRefusedError` that it does, but not this one, and why. The first result that is not None is
    used. Since 1.2.
    """
    raise AssertionError


@hookspec(firstresult=True)
def modelplug_convert_model(request: ConvertRequest) -> Path | None:
    """Convert a model to another format.

    Called with a request that the same plugin has planned (`modelplug_plan_conversion`). Writes to
    `request.output` only, a file that does not exist yet and is not the final place: the core verifies the
    result and moves it there, or removes it. Before it returns that path, the plugin has read every tensor it
    wrote back from the file and compared it with the source. Raises `ConversionError` if it can't go on. The
    first result that is not None is used; plugins are asked since 1.2. Since 1.0.
    """
    raise AssertionError


@hookspec
def modelplug_bundled_models() -> dict[str, Path]:
    """Give the models that come with this plugin, file or directory by name.

    Called when models are listed, and when a model is named and the name could be one of these: it consists
    of small letters, digits, hyphens and underscores, and begins with a letter or digit. Must say where the
    models are, and not read them. Such a name means the bundled model even where a file has it too, which is
    reached as `./name`; a name that the user gave a model of their own stays theirs. Results of all plugins
    are joined; a name that is taken is reported against the plugin and left out. Since 1.1.
    """
    raise AssertionError


# Migrating ----------------------------------------------------------------------------------------------


@hookspec
def modelplug_migrations() -> Iterable[Family | type[Migration]]:
    """Give the migration families and steps this plugin brings.

    Called when migrations are planned, applied or explained. Results of all plugins are joined into one
    graph per family: a plugin may bring steps for a family that another one brings. What makes no sense, such
    as steps that lead in a circle, is reported against the plugin and left out. Since 1.0.
    """
    raise AssertionError


# Benchmarking -------------------------------------------------------------------------------------------


@hookspec
def modelplug_benchmarks() -> Iterable[Any]:
    """Give the benchmark workloads this plugin brings.

    Called when benchmarks are listed or run. Results of all plugins are joined. Since 1.0.
    """
    raise AssertionError


# The command line ---------------------------------------------------------------------------------------


@hookspec
def modelplug_commands() -> Iterable[click.Command]:
    """Give commands that join the `modelplug` program.

    Called when a command is named that the core does not have, and when help is shown. A command whose name
    is taken is reported against the plugin and left out. Results of all plugins are joined. Since 1.0.
    """
    raise AssertionError
