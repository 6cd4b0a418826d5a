"""Inspection of a model together with the verdict of every backend on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug.backends.compatibility import incompatibility

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.formats.model_info import ModelInfo
    from modelplug.runtime import Runtime

__all__ = ["ModelInspector", "inspected"]


class ModelInspector:
    """Says what a model file is, and which backends can run it.

    Args:
        runtime: Plugins and system to use; None makes a runtime of its own.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime as NewRuntime

            runtime = NewRuntime()
        self._runtime = runtime

    def inspect_model(self, path: str | Path) -> ModelInfo:
        """Inspect a model from its files alone, and name the backends that can run it.

        A backend counts as compatible if it works on this machine and loads this format, architecture and
        these tensor types. Whether the model fits into memory now is another question: see `recommend`.

        Args:
            path: A path (`~` is expanded), `demo`, or a registered name.

        Raises:
            ModelFileError: There is no such model, or it can't be used; says what is wrong at which offset.
        """
        return with_backends(inspected(path, self._runtime), self._runtime)


def inspected(model: str | Path, runtime: Runtime) -> ModelInfo:
    """What the files of a model say, formats of plugins included.

    Args:
        model: A path (`~` is expanded), `demo`, or a registered name.
        runtime: Its plugins are asked about formats that the core does not know.

    Raises:
        ModelFileError: There is no such model, or it can't be used.
    """
    from modelplug.backends.resolve import resolve_model
    from modelplug.formats import inspect

    def ask_plugins(path: Path) -> ModelInfo | None:
        result = runtime.plugins.call_first("modelplug_inspect_model", path=path)
        found: ModelInfo | None = result.value if result is not None else None
        return found

    return inspect(resolve_model(model, runtime), extra=ask_plugins)


def with_backends(info: ModelInfo, runtime: Runtime) -> ModelInfo:
    """The same record with the backends that can run the model, and why the others can't.

    Args:
        info: What inspection returned.
        runtime: Its backends are judged.
    """
    verdicts = {name: incompatibility(report, info) for name, report in runtime.backends.reports().items()}
    return attrs.evolve(
        info,
        compatible_backends=tuple(name for name, against in verdicts.items() if not against),
        incompatible_backends={name: against for name, against in verdicts.items() if against},
    )
