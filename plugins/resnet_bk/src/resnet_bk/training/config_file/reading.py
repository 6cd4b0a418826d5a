"""Reads a configuration file with those it takes over from, and refuses what it does not know."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from modelplug.config.structure import Problem, nearest, shorten
from modelplug.documents import Document, format_of, read_document
from resnet_bk.training.config_file.sections import SECTIONS
from resnet_bk.training.errors import ConfigFileError

__all__ = ["ConfigFile", "read_config_file"]

_MARK: Final = "resnet_bk"
_VERSION: Final = "1.0"
_BASE: Final = "_base_"
_EXTRAS: Final = "extras"
# Under these keys, logs hold the configuration they were made with.
_HOLDERS: Final = ("config", "model_config")
_DEEPEST: Final = 10


@attrs.frozen(kw_only=True)
class ConfigFile:
    """What a configuration file says, together with those it takes over from.

    Attributes:
        model: Entries of the model's configuration.
        training: Settings of the training, for `TrainingConfig.from_dict`.
        data: What to train on: entries of the section `data` that the program follows.
        output: The folder of the run; None if the file does not say.
    """

    model: dict[str, Any]
    training: dict[str, Any]
    data: dict[str, Any]
    output: Path | None = None


def read_config_file(path: Path) -> ConfigFile:
    """What a configuration of version 1.0 says: a file with sections, in YAML, JSON or TOML.

    A file that names another one under `_base_`, by its path from there, takes over what it does not say
    itself. What is kept under `extras` is passed over, and so are the names in `data` and `monitoring` that
    are there for people.

    Args:
        path: The file.

    Raises:
        ConfigFileError: It can't be read, is of another version, or says something that is unknown or wrong.
        DocumentSyntaxError: It is no YAML, JSON or TOML.
    """
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for layer in reversed(list(_layers(path))):
        for name in SECTIONS:
            _merge(sections[name], layer.get(name, {}))
    data = {name: value for name, value in sections["data"].items() if name not in ("dataset", "data_dir")}
    folder = sections["checkpoint"].get("save_dir")
    return ConfigFile(
        model=sections["model"],
        training=sections["training"],
        data=data,
        output=None if folder is None else Path(folder),
    )


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value


def _layers(path: Path) -> Iterator[Mapping[str, Any]]:
    """What the file says, then what each of those says that it takes over from."""
    seen = [path.absolute()]
    while True:
        values = _read(path)
        yield values
        base = values.get(_BASE)
        if base is None:
            return
        line = f"{path}: {_BASE} = {shorten(base)}"
        path = path.parent / base
        if path.absolute() in seen or len(seen) > _DEEPEST:
            raise ConfigFileError(
                f"{line}: configurations take over from each other in a circle",
                path=path,
                advice="Take one of these lines out.",
            )
        seen.append(path.absolute())


def _read(path: Path) -> Mapping[str, Any]:
    """One file, checked."""
    kind = format_of(path)
    if kind is None:
        raise ConfigFileError(
            f"{path} is no configuration",
            path=path,
            why="its name ends in none of .yaml, .yml, .json, .toml",
            advice="Give a configuration of version 1.0.",
        )
    try:
        document = read_document(path.read_bytes(), kind, name=str(path))
    except OSError as error:
        raise ConfigFileError(
            f"{path} can't be read", path=path, why=error.strerror or str(error), advice="Correct the path."
        ) from error
    root, values = _configuration(path, document)
    problems = list(_problems(values, root))
    if problems:
        raise _refusal(path, document, root, problems)
    return values


def _configuration(path: Path, document: Document) -> tuple[tuple[str, ...], Mapping[str, Any]]:
    """The configuration in a file, and where in it that begins."""
    top = document.value if isinstance(document.value, Mapping) else {}
    places: list[tuple[str, ...]] = [(), *((name,) for name in _HOLDERS)]
    for root in places:
        values = top.get(root[0]) if root else top
        if isinstance(values, Mapping) and _MARK in values:
            if str(values[_MARK]) in (_VERSION, f"{_VERSION}.0"):
                return root, values
            raise ConfigFileError(
                f"{path} is of version {values[_MARK]}, and {_VERSION} is read here",
                path=path,
                advice=f"`modelplug migrate plan {shlex.quote(str(path))}`",
            )
    if top.get("model_type") == "resnet_bk" and {"mixer", "state_bytes"} & top.keys():
        raise ConfigFileError(
            f"{path} is the configuration of a model, and says nothing of a training",
            path=path,
            advice=f"`--model {shlex.quote(str(path))}` takes it.",
        )
    raise ConfigFileError(
        f"{path} is no configuration of version {_VERSION}",
        path=path,
        why=f"it does not say `{_MARK}: '{_VERSION}'`, and those of earlier versions do not",
        advice=f"`modelplug migrate plan {shlex.quote(str(path))}` says what it is, and brings what is older "
        f"to {_VERSION}.",
    )


def _problems(values: Mapping[str, Any], root: tuple[str, ...]) -> Iterator[Problem]:
    names = [*SECTIONS, _MARK, _EXTRAS, *(() if root else (_BASE,))]
    for name, value in values.items():
        if name not in names:
            yield Problem(
                key=name, value=value, allowed=", ".join(names), nearest=nearest(name, names), kind="unknown"
            )
        elif name == _BASE and not isinstance(value, str):
            yield Problem(key=name, value=value, allowed="the path of another configuration")
        elif name in SECTIONS and not isinstance(value, Mapping):
            yield Problem(key=name, value=value, allowed="a section, names and values")
        elif name in SECTIONS:
            yield from SECTIONS[name](value)


def _refusal(
    path: Path, document: Document, root: tuple[str, ...], problems: list[Problem]
) -> ConfigFileError:
    lines = [document.line_of((*root, *problem.key.split("."))) for problem in problems]
    words = [
        f"line {line}: {_words(problem)}" if line else _words(problem)
        for line, problem in zip(lines, problems, strict=True)
    ]
    return ConfigFileError(
        f"{path} can't be used",
        path=path,
        problems=tuple(
            {"line": line, **attrs.asdict(problem)} for line, problem in zip(lines, problems, strict=True)
        ),
        why="; ".join(words),
        advice=f"Correct it, or keep what is for other programs under {_EXTRAS}; "
        f"`modelplug migrate check-config {shlex.quote(str(path))}` tells more.",
    )


def _words(problem: Problem) -> str:
    hint = f"; did you mean {problem.nearest}?" if problem.nearest else ""
    wrong = "there is no such setting" if problem.kind == "unknown" else f"must be {problem.allowed}"
    return f"{problem.key} = {shorten(problem.value)}: {wrong}{hint}"
