"""Puts what went wrong in a plugin into words: what was raised, where, and what to do about it."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from modelplug.errors import BackendError, PluginError
from modelplug.plugins.checks import WrongTypeError
from modelplug.plugins.installs import upgrade_command
from modelplug.plugins.records import PluginState
from modelplug.plugins.verdicts import module_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from modelplug.plugins.records import PluginRecord

__all__ = [
    "as_error",
    "function_place",
    "load_failed",
    "place_in",
    "raised",
    "raised_in_result",
    "remedy",
    "traceback_text",
]


def raised(error: BaseException, module: str) -> str:
    """`ValueError: the text (file.py:12)`, with the place in the plugin's own code if there is one."""
    name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception as fault:  # noqa: BLE001  a plugin's exception class is a plugin's code too
        text = f"<its message raised {type(fault).__name__}>"
    if isinstance(error, SystemExit):
        text = f"it tried to end the program with {error.code!r}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{name}: {error.msg} ({error.filename}:{error.lineno})"
    said = f"{name}: {text[:500]}" if text else name
    return said + place_in(traceback.extract_tb(error.__traceback__), module)


def place_in(frames: Iterable[traceback.FrameSummary], module: str) -> str:
    """` (file:line)` of the innermost frame in the plugin's own code; empty if there is none.

    Args:
        frames: Outermost first.
        module: What the plugin's entry point names.
    """
    root = _root(module)
    for frame in reversed(list(frames)):
        if root is not None and Path(frame.filename).is_relative_to(root):
            return f" ({frame.filename}:{frame.lineno})"
    return ""


def _root(module: str) -> Path | None:
    """The package directory, or for a single module its file."""
    name = module.partition(":")[0].strip()
    top = module_file(name.partition(".")[0])
    if top is None:
        file = module_file(name)
        return file.parent if file else None
    return top.parent if top.name == "__init__.py" else top


def function_place(function: Callable[..., object]) -> str:
    """` (file:line)` of a function; empty if it has no source."""
    code = getattr(function, "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code else ""


def traceback_text(error: BaseException) -> str:
    """The whole traceback, as Python would print it."""
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception as fault:  # noqa: BLE001  a plugin's exception class is a plugin's code too
        return f"{type(error).__name__}; its traceback can't be formatted: {type(fault).__name__}\n"


def remedy(record: PluginRecord, error: BaseException | None = None) -> str:
    """What the user can do about a plugin that failed."""
    what = record.distribution or record.name
    upgrade = upgrade_command(what, record.source)
    disable = f"modelplug plugins disable {record.name}"
    own = record.module.partition(":")[0].partition(".")[0].strip()
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != own:
        return f"Reinstall it with what it needs: {upgrade}; or leave it out: {disable}"
    if isinstance(error, SyntaxError):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"Install a version of {what} for Python {version}: {upgrade}; or leave it out: {disable}"
    return f"Upgrade it: {upgrade}; or leave it out: {disable}"


def raised_in_result(error: BaseException, module: str) -> str:
    """What was wrong with a result: the check's own words, or what the result raised when looked at."""
    if isinstance(error, WrongTypeError):
        return str(error)
    return f"looking at its result raised {raised(error, module)}"


def as_error(record: PluginRecord) -> PluginError:
    """The error that a strict manager raises for a plugin."""
    status = "has a problem" if record.state is PluginState.READY else record.status
    return PluginError(
        f"plugin {record.name!r} ({record.origin}) {status}",
        plugin=record.name,
        distribution=record.distribution or None,
        why=record.cause,
        advice=record.remedy,
    )


def load_failed(record: PluginRecord, arguments: Mapping[str, object], error: Exception) -> BackendError:
    """The error that the contract makes of whatever `modelplug_load_model` raised."""
    backend = str(getattr(arguments.get("request"), "backend", record.name))
    return BackendError(
        f"{backend} could not load the model",
        backend=backend,
        phase="load",
        cause="out-of-memory" if isinstance(error, MemoryError) else "exception",
        why=raised(error, record.module),
        advice="Run again with `modelplug --debug` to see the engine's own messages.",
    )
