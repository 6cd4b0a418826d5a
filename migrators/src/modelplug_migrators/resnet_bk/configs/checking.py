"""Finds what is wrong with a configuration of 1.0."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelplug.config.structure import find_problems, nearest, shorten
from modelplug.documents import DocumentSyntaxError, format_of, read_document
from modelplug.migration.account import Finding, Severity, spell
from modelplug_migrators.resnet_bk.configs.bases import Layers
from modelplug_migrators.resnet_bk.configs.damage import swallowed_settings, tags_of_code
from modelplug_migrators.resnet_bk.configs.detection import is_model_file
from modelplug_migrators.resnet_bk.configs.numbers import misread_numbers
from modelplug_migrators.resnet_bk.configs.places import root_of, value_at
from modelplug_migrators.resnet_bk.configs.reasons import reason_for
from modelplug_migrators.resnet_bk.configs.relations import contradictions, idle_settings
from modelplug_migrators.resnet_bk.configs.schema import BASE, EXTRAS, MARK, SECTIONS
from modelplug_migrators.resnet_bk.configs.settings import BY_NAME, field_names

if TYPE_CHECKING:
    from modelplug.config.structure import Problem
    from modelplug.documents import Document
    from modelplug.migration.candidates import Candidate
    from modelplug.migration.steps import KeyPath

__all__ = ["check"]


def check(candidate: Candidate) -> Iterator[Finding]:
    """What is wrong with a configuration of 1.0, in the order of the file.

    Args:
        candidate: The file.
    """
    found = list(_Checker(candidate).findings())
    yield from sorted(found, key=lambda finding: finding.line or 0)


class _Checker:
    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.document: Document = candidate.document
        self.root = root_of(candidate.mapping)
        self.values: Mapping[str, Any] = value_at(candidate.mapping, self.root)

    def findings(self) -> Iterator[Finding]:
        """Everything there is to say."""
        yield from self._damage()
        if is_model_file(self.values):
            yield from self._model_file()
            return
        for name, value in self.values.items():
            if name in SECTIONS:
                yield from self._section(name, value)
            elif name not in (MARK, EXTRAS) and not (name == BASE and not self.root):
                yield self._unknown((name,), value, [*SECTIONS, MARK, EXTRAS])
        yield from self._base()
        yield from self._model()

    def _finding(self, severity: Severity, message: str, path: KeyPath = (), **more: Any) -> Finding:
        line = self.document.line_of((*self.root, *path)) if path else None
        return Finding(
            severity=severity, message=message, key=spell((*self.root, *path)), **{"line": line, **more}
        )

    def _damage(self) -> Iterator[Finding]:
        for line, tag in tags_of_code(self.document):
            yield self._finding(
                Severity.ERROR, f"the tag {tag} asks for a Python object to be made", line=line
            )
        for line, name in swallowed_settings(self.document):
            message = f"{name} stands in a comment behind garbled text, and does not count"
            yield self._finding(Severity.ERROR, message, line=line)
        for path, written in misread_numbers(self.document):
            yield Finding(
                severity=Severity.WARNING,
                message=f"{spell(path)} = {written} is text for programs that read YAML 1.1",
                key=spell(path),
                line=self.document.line_of(path),
                advice="Write it with a point, and a sign in the exponent: 1.0e+6, 1.0e-4.",
            )
        for path in self.document.duplicates:
            yield Finding(
                severity=Severity.WARNING,
                message=f"{spell(path)} stands here more than once, and only the last one counts",
                key=spell(path),
                line=self.document.line_of(path),
            )

    def _section(self, section: str, value: Any) -> Iterator[Finding]:
        if not isinstance(value, Mapping):
            message = f"{section} = {shorten(value)}: a section belongs here, names and values"
            yield self._finding(Severity.ERROR, message, (section,))
            return
        for problem in find_problems(value, SECTIONS[section], prefix=section):
            path = tuple(problem.key.split("."))
            if problem.kind == "unknown":
                yield self._unknown(path, problem.value, self._names_in(path))
            else:
                yield self._invalid(path, problem)

    def _names_in(self, path: KeyPath) -> list[str]:
        """The names there are where a name is unknown."""
        known = list(field_names(str(path[0])))
        if len(path) > 2:
            from modelplug_migrators.resnet_bk.configs.schema import RecoverySection

            known = list(RecoverySection.__annotations__)
        return known

    def _unknown(self, path: KeyPath, value: Any, names: list[str]) -> Finding:
        """A name that is none of 1.0: one of an earlier version, or of none."""
        name, near = str(path[-1]), nearest(str(path[-1]), names, cutoff=0.75)
        setting, reason = BY_NAME.get(name), reason_for(name)
        if setting is not None and setting.place != path:
            near = ".".join(setting.place)
            advice = f"It is called {near} in 1.0."
        elif near:
            advice = f"Did you mean {near}?"
        elif reason is not None:
            advice = f"Take it out, or keep it under {EXTRAS}: {reason.why}."
        else:
            advice = f"Take it out, or keep it under {EXTRAS}."
        message = f"{spell((*self.root, *path))} = {shorten(value)}: there is no such setting"
        return self._finding(Severity.ERROR, message, path, nearest=near, advice=advice)

    def _invalid(self, path: KeyPath, problem: Problem) -> Finding:
        message = f"{spell((*self.root, *path))} = {shorten(problem.value)}: must be {problem.allowed}"
        advice = f"Did you mean {problem.nearest}?" if problem.nearest else ""
        return self._finding(Severity.ERROR, message, path, nearest=problem.nearest, advice=advice)

    def _model(self) -> Iterator[Finding]:
        """Settings that do not go together, and those that change nothing."""
        model: dict[str, Any] = {}
        for layer in reversed(Layers.of(self.values, self._read, counted_whole=True).values):
            section = layer.get("model")
            model.update(section if isinstance(section, Mapping) else {})
        for name, message in contradictions(model):
            yield self._finding(Severity.ERROR, message, ("model", name))
        own = self.values.get("model")
        for name in idle_settings(own if isinstance(own, Mapping) else {}):
            message = (
                f"{spell((*self.root, 'model', name))} is kept from earlier versions, and changes nothing"
            )
            yield self._finding(Severity.NOTE, message, ("model", name))

    def _base(self) -> Iterator[Finding]:
        name = self.values.get(BASE)
        if name is None or self.root:
            return
        found = self._read(name) if isinstance(name, str) else None
        if not isinstance(found, Mapping):
            message = f"{BASE} = {shorten(name)}: there is no such configuration"
            yield self._finding(Severity.ERROR, message, (BASE,), advice="Give its path from this file.")
        elif MARK not in found:
            message = f"{BASE} = {shorten(name)} is of an earlier version"
            advice = f"`modelplug migrate plan {shlex.quote(str(self.candidate.path.parent / name))}`"
            yield self._finding(Severity.ERROR, message, (BASE,), advice=advice)

    def _read(self, name: str) -> Any:
        path = self.candidate.path.parent / name
        kind = format_of(path)
        if kind is None or not path.is_file():
            return None
        try:
            return read_document(path.read_bytes(), kind).value
        except (OSError, DocumentSyntaxError):
            return None

    def _model_file(self) -> Iterator[Finding]:
        """`config.json` of a model, where transformers adds names of its own."""
        known = field_names("model")
        given = {name: value for name, value in self.values.items() if name in known}
        for problem in find_problems(given, SECTIONS["model"]):
            yield self._invalid((problem.key,), problem)
        for name, message in contradictions(given):
            yield self._finding(Severity.ERROR, message, (name,))
