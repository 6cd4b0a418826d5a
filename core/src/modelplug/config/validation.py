"""Checks a settings file: everything that is wrong with it, where, and what was probably meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug import jsonspans
from modelplug.config import store
from modelplug.config.document import Document, dotted
from modelplug.config.legacy import legacy_evidence
from modelplug.config.presets import PRESETS
from modelplug.config.schema import VERSION, Settings
from modelplug.config.structure import Problem, find_problems, nearest, shorten
from modelplug.errors import ConfigError
from modelplug.paths import Paths

if TYPE_CHECKING:
    import os

    from modelplug.config.checking import SettingsClasses
    from modelplug.plugins import PluginManager

__all__ = ["ConfigValidator", "Issue", "ValidationResult", "installed_settings_classes"]

_FAMILIAR = frozenset(name for preset in PRESETS.values() for name in preset.settings["backends"])


@attrs.frozen(kw_only=True)
class Issue:
    """One thing to know of a settings file; prints as one line.

    Attributes:
        message: The whole sentence: key, value, what is allowed, the nearest valid name.
        severity: `error` makes the file invalid, `warning` probably has no or an unwanted effect, `note` is
            in order.
        key: The dotted key; empty if it is about the file as a whole.
        value: The value found.
        allowed: What is allowed there, in words.
        nearest: The nearest valid name or value; empty if nothing is near.
        line: The line in the file, from 1; None if it has none.
    """

    message: str
    severity: str = "error"
    key: str = ""
    value: Any = None
    allowed: str = ""
    nearest: str = ""
    line: int | None = None

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}" if self.line else self.message


@attrs.frozen(kw_only=True)
class ValidationResult:
    """What checking a settings file found.

    Attributes:
        path: The file.
        issues: Errors and warnings, in the order of the file.
        notes: What is in order, but worth knowing.
    """

    path: Path
    issues: tuple[Issue, ...] = ()
    notes: tuple[Issue, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether there is no error."""
        return not any(issue.severity == "error" for issue in self.issues)


class ConfigValidator:
    """Checks settings files against the schema and the installed plugins.

    Args:
        settings_classes: The settings class of each installed backend, by name, or something to call for it;
            None asks the installed plugins.

    Example:
        >>> result = ConfigValidator().validate_config("~/.gguf-loader/config.json")
        >>> result.valid
    """

    def __init__(
        self, settings_classes: SettingsClasses | Callable[[], SettingsClasses] | None = None
    ) -> None:
        self._given = settings_classes

    def validate_config(self, path: str | os.PathLike[str] | None = None) -> ValidationResult:
        """Check one file; nothing is changed.

        Args:
            path: The file, `~` is expanded; None checks the user's own settings.

        Returns:
            The result; a file that is missing or can't be read is a result too.
        """
        file = Paths.from_environment().config_file if path is None else Path(path).expanduser()
        try:
            document = store.read(file)
        except ConfigError as error:
            return ValidationResult(path=file, issues=(Issue(message=f"{error}; {error.advice}"),))
        if document is None:
            missing = Issue(message=f"there is no file {file}", severity="note" if path is None else "error")
            is_note = missing.severity == "note"
            return ValidationResult(
                path=file, issues=() if is_note else (missing,), notes=(missing,) if is_note else ()
            )
        return self.validate_document(document)

    def validate_document(self, document: Document) -> ValidationResult:
        """Check a text that was read already.

        Args:
            document: The text.
        """
        evidence = legacy_evidence(document.value)
        if evidence:
            message = (
                f"{document.path} is an old configuration: {evidence}; modelplug leaves it as it is. "
                f"`modelplug migrate plan {document.path}` shows what would become of it"
            )
            return ValidationResult(path=document.path, issues=(Issue(message=message),))
        found = [
            *_duplicates(document),
            *_version(document),
            *_top_level(document),
            *self._sections(document),
            *self._names(document),
            *_contradictions(document),
        ]
        found.sort(key=lambda issue: issue.line or 0)
        return ValidationResult(
            path=document.path,
            issues=tuple(issue for issue in found if issue.severity != "note"),
            # A backend that is not installed may be named in several places; once is enough.
            notes=tuple({str(i.value): i for i in reversed(found) if i.severity == "note"}.values())[::-1],
        )

    @property
    def settings_classes(self) -> SettingsClasses:
        """The settings class of each installed backend, by name."""
        if self._given is None:
            self._given = installed_settings_classes()
        return self._given() if callable(self._given) else self._given

    def _sections(self, document: Document) -> Iterator[Issue]:
        sections = document.value.get("backends")
        if not isinstance(sections, Mapping):
            return
        classes = self.settings_classes
        for name, section in sections.items():
            kind = classes.get(name)
            if kind is not None and isinstance(section, Mapping):
                for problem in find_problems(section, kind, prefix=f"backends.{name}"):
                    yield _issue(document, problem, ("backends", name))
            elif kind is None:
                yield self._uninstalled(document, name, ("backends", name))

    def _uninstalled(self, document: Document, name: str, path: tuple[str, ...]) -> Issue:
        """A note on a backend that no installed plugin brings; an error if it is a near miss."""
        known = self.settings_classes
        # A backend that is merely not installed here is no misspelling of one that is.
        near = "" if name in _FAMILIAR else nearest(name, [*known, *_FAMILIAR], cutoff=0.75)
        what = f"{dotted(path)}: no installed plugin brings a backend {name!r}"
        if near:
            message = f"{what}; did you mean {near!r}?"
        else:
            have = f"installed: {', '.join(sorted(known))}" if known else "none is installed"
            message = f"{what} ({have}); the setting is kept for when one does"
        severity = "error" if near else "note"
        allowed = ", ".join(sorted(known))
        return Issue(
            message=message,
            severity=severity,
            key=dotted(path),
            value=name,
            allowed=allowed,
            nearest=near,
            line=document.line_of(path),
        )

    def _names(self, document: Document) -> Iterator[Issue]:
        """Backends named outside their sections."""
        values = document.value
        preferred = values.get("preferred_backend")
        if isinstance(preferred, str) and preferred not in self.settings_classes:
            yield self._uninstalled(document, preferred, ("preferred_backend",))
        by_format = values.get("fallback_order_by_format")
        orders: list[tuple[tuple[str, ...], Any]] = [(("fallback_order",), values.get("fallback_order"))]
        if isinstance(by_format, Mapping):
            orders += [(("fallback_order_by_format", str(k)), order) for k, order in by_format.items()]
        for path, order in orders:
            names = [name for name in order if isinstance(name, str)] if isinstance(order, list) else []
            for name in dict.fromkeys(names):
                if name not in self.settings_classes:
                    yield self._uninstalled(document, name, path)
                if names.count(name) > 1:
                    message = f"{dotted(path)} names {name!r} more than once; only the first place counts"
                    yield _warning(document, message, path)


def _duplicates(document: Document) -> Iterator[Issue]:
    for path, member in document.root.duplicates():
        key = ".".join(map(str, path))
        line = jsonspans.line_and_column(document.text, member.start)[0]
        value = shorten(member.value.value)
        message = f"{key} = {value}: the name stands here more than once, and only the last one counts"
        yield Issue(message=message, key=key, value=member.value.value, allowed="once", line=line)


def _version(document: Document) -> Iterator[Issue]:
    version = document.value.get("version")
    if type(version) is int and version > VERSION:
        message = f"version = {version}: this program knows versions up to {VERSION}; upgrade modelplug"
        yield Issue(
            message=message,
            key="version",
            value=version,
            allowed=f"1 to {VERSION}",
            line=document.line_of(("version",)),
        )


def _top_level(document: Document) -> Iterator[Issue]:
    values = dict(document.value)
    if type(values.get("version")) is int and values["version"] > VERSION:
        del values["version"]
    for problem in find_problems(values, Settings):
        yield _issue(document, problem, ())


def _contradictions(document: Document) -> Iterator[Issue]:
    values = document.value
    if values.get("fallback_enabled") is False and values.get("fallback") in ("ask", "auto"):
        message = f"fallback = {values['fallback']!r} has no effect, because fallback_enabled is false"
        yield _warning(document, message, ("fallback",))
    preferred, sections = values.get("preferred_backend"), values.get("backends")
    section = sections.get(preferred) if isinstance(sections, Mapping) else None
    if isinstance(section, Mapping) and section.get("enabled") is False:
        message = f"preferred_backend = {preferred!r}: this backend's own section says enabled: false"
        yield _warning(document, message, ("preferred_backend",))
    model = values.get("model_path")
    if isinstance(model, str) and ("/" in model or "\\" in model) and not Path(model).expanduser().exists():
        yield _warning(document, f"model_path = {model!r}: there is no such file", ("model_path",))


def _warning(document: Document, message: str, path: tuple[str, ...]) -> Issue:
    return Issue(message=message, severity="warning", key=dotted(path), line=document.line_of(path))


def _issue(document: Document, problem: Problem, prefix: tuple[str, ...]) -> Issue:
    """The issue for a problem; an unknown name that resembles none is kept, and only a warning."""
    below = problem.key[len(dotted(prefix)) + 1 :] if prefix else problem.key
    harmless = problem.kind == "unknown" and not problem.nearest
    steps = below.split(".")
    # A name may itself hold dots, as some older programs' names do.
    places = ((below,), tuple(steps), tuple(steps[:1]))
    line = next(filter(None, (document.line_of((*prefix, *place)) for place in places)), None)
    return Issue(
        message=str(problem),
        severity="warning" if harmless else "error",
        key=problem.key,
        value=problem.value,
        allowed=problem.allowed,
        nearest=problem.nearest,
        line=line,
    )


def installed_settings_classes(plugins: PluginManager | None = None) -> SettingsClasses:
    """The settings class of each backend that an installed plugin brings, by name.

    Args:
        plugins: Whom to ask; None makes a manager of its own.
    """
    if plugins is None:
        from modelplug.plugins import PluginManager

        plugins = PluginManager(paths=Paths.from_environment())
    classes: dict[str, type[Any]] = {}
    for result in plugins.call("modelplug_backend_settings"):
        for name, kind in result.value.items():
            classes.setdefault(name, kind)
    return classes
