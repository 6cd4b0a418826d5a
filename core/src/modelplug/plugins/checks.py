"""What each hook must return, checked deeply enough that nothing of a wrong type travels on."""

from __future__ import annotations

import itertools
import re
import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CHECKS", "MODEL_NAME", "WrongTypeError", "check_result"]

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""What a bundled model can be called: nothing with a dot, as names of files with an ending have."""

# An iterable hook result longer than this is a fault, most likely an endless generator.
MAX_ITEMS = 10_000
_BACKEND_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


class WrongTypeError(Exception):
    """A hook returned something else than its specification says."""

    def __init__(self, expected: str, value: object, where: str = "") -> None:
        kind = type(value)
        name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        at = f"{where} is" if where else "returned"
        super().__init__(f"{at} {name} ({reprlib.repr(value)}), expected {expected}")


def check_result(
    hook: str, value: object, checks: Mapping[str, Callable[[object], Any]] | None = None
) -> Any:
    """The hook's result, with iterables turned into tuples.

    Args:
        hook: The hook's name; one without a check passes.
        value: What an implementation returned, None excepted.
        checks: The checks; those of modelplug's own hooks if None.

    Raises:
        WrongTypeError: It is not what the specification says.
    """
    check = (CHECKS if checks is None else checks).get(hook)
    return value if check is None else check(value)


def _reports(value: object) -> Any:
    from modelplug.backends.types import BackendReport

    if isinstance(value, BackendReport):
        return _report(value, "")
    if not isinstance(value, (list, tuple)):
        raise WrongTypeError("a BackendReport or a list of them", value)
    return [_report(item, f"item {number}") for number, item in enumerate(value)]


def _report(report: object, where: str) -> Any:
    from modelplug.backends.types import BackendReport, BackendState

    if not isinstance(report, BackendReport):
        raise WrongTypeError("a BackendReport", report, where)
    prefix = f"{where}." if where else "the report's "
    # The record does not check its fields, so a plugin can have put anything into them.
    name: object = report.name
    if not isinstance(name, str) or not _BACKEND_NAME.fullmatch(name):
        raise WrongTypeError("a name of small letters, digits, '-', '_' or '.'", name, f"{prefix}name")
    if not isinstance(report.state, BackendState):
        raise WrongTypeError("a BackendState", report.state, f"{prefix}state")
    for field in ("engine", "version", "cause", "install", "gpu_offload", "deep_probe"):
        if not isinstance(getattr(report, field), str):
            raise WrongTypeError("text", getattr(report, field), f"{prefix}{field}")
    for field in ("formats", "devices", "settings"):
        _texts(getattr(report, field), f"{prefix}{field}", tuple, "a tuple of text")
    for field in ("architectures", "tensor_types", "capabilities"):
        names = getattr(report, field)
        if names is not None or field == "capabilities":
            _texts(names, f"{prefix}{field}", (frozenset, set), "a frozenset of text")
    return report


def _texts(value: object, where: str, kind: type | tuple[type, ...], expected: str) -> None:
    if not isinstance(value, kind) or not all(isinstance(item, str) for item in value):  # type: ignore[attr-defined]
        raise WrongTypeError(expected, value, where)


def _settings(value: object) -> Any:
    import attrs

    from modelplug.backends.types import BackendSettings

    if not isinstance(value, dict):
        raise WrongTypeError("a dict of backend names to classes of settings", value)
    for name, kind in value.items():
        if not isinstance(name, str) or not _BACKEND_NAME.fullmatch(name):
            raise WrongTypeError("a backend's name", name, "a key")
        if not isinstance(kind, type) or not issubclass(kind, BackendSettings) or not attrs.has(kind):
            raise WrongTypeError(
                "an attrs class derived from BackendSettings", kind, f"the value of {name!r}"
            )
    return value


def _models(value: object) -> Any:
    if not isinstance(value, dict):
        raise WrongTypeError("a dict of names of models to paths", value)
    for name, path in value.items():
        if not isinstance(name, str) or not MODEL_NAME.fullmatch(name):
            raise WrongTypeError("a name of small letters, digits, '-' or '_'", name, "a key")
        if not isinstance(path, Path) or not path.is_absolute():
            raise WrongTypeError("an absolute Path", path, f"the value of {name!r}")
    return value


def _instance(module: str, name: str, article: str = "a") -> Callable[[object], Any]:
    """A check for one type, which is imported when the check is first used."""

    def check(value: object) -> Any:
        import importlib

        if not isinstance(value, getattr(importlib.import_module(module), name)):
            raise WrongTypeError(f"{article} {name}", value)
        return value

    return check


def _path(value: object) -> Any:
    if not isinstance(value, Path):
        raise WrongTypeError("a Path", value)
    if not value.exists():
        raise WrongTypeError("the Path of a file that exists", value)
    return value


def _items(what: str, is_item: Callable[[object], bool]) -> Callable[[object], Any]:
    """A check for an iterable, which is consumed here so that a generator's faults count as the hook's."""

    def check(value: object) -> Any:
        try:
            # Iterating text or a mapping would give letters or keys, never what was meant.
            iterator = None if isinstance(value, (str, bytes, dict)) else iter(value)  # type: ignore[call-overload]
        except TypeError:
            iterator = None
        if iterator is None:
            raise WrongTypeError(f"an iterable of {what}", value)
        items = tuple(itertools.islice(iterator, MAX_ITEMS + 1))
        if len(items) > MAX_ITEMS:
            raise WrongTypeError(f"an iterable of at most {MAX_ITEMS} {what}", value)
        for number, item in enumerate(items):
            if not is_item(item):
                raise WrongTypeError(what, item, f"item {number}")
        return items

    return check


def _is_command(value: object) -> bool:
    import click

    return isinstance(value, click.Command) and bool(value.name)


def _is_something(value: object) -> bool:
    # The rooms that use these hooks know the types; here it is enough that the item is no primitive.
    return not isinstance(value, (type(None), bool, int, float, str, bytes, dict, list, tuple, set))


CHECKS: dict[str, Callable[[object], Any]] = {
    "modelplug_detect_backends": _reports,
    "modelplug_backend_settings": _settings,
    "modelplug_inspect_model": _instance("modelplug.formats.model_info", "ModelInfo"),
    "modelplug_load_model": _instance("modelplug.backends.model", "Model"),
    "modelplug_plan_conversion": _instance("modelplug.backends.types", "ConversionPlan"),
    "modelplug_convert_model": _path,
    "modelplug_bundled_models": _models,
    "modelplug_migrations": _items("migrations", _is_something),
    "modelplug_benchmarks": _items("benchmarks", _is_something),
    "modelplug_commands": _items("click commands with a name", _is_command),
}
