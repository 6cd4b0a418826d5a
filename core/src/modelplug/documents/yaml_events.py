"""What a YAML text is made of, in order, as the library `ruamel.yaml` finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.documents.errors import DocumentSyntaxError
from modelplug.documents.splices import line_start
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ALIAS",
    "DOCUMENT",
    "DOCUMENT_END",
    "LIST_END",
    "LIST_START",
    "MAPPING_END",
    "MAPPING_START",
    "TEXT_SCALAR",
    "Event",
    "fault",
    "library_events",
    "yaml_library",
]

DOCUMENT, DOCUMENT_END = "document", "end of document"
MAPPING_START, MAPPING_END = "mapping", "end of mapping"
LIST_START, LIST_END = "list", "end of list"
TEXT_SCALAR, ALIAS = "scalar", "alias"
_KINDS = {
    "DocumentStartEvent": DOCUMENT,
    "DocumentEndEvent": DOCUMENT_END,
    "MappingStartEvent": MAPPING_START,
    "MappingEndEvent": MAPPING_END,
    "SequenceStartEvent": LIST_START,
    "SequenceEndEvent": LIST_END,
    "ScalarEvent": TEXT_SCALAR,
    "AliasEvent": ALIAS,
}
_TAG = "tag:yaml.org,2002:"


@attrs.define
class Event:
    """One part of a text: a scalar, or where something begins or ends.

    Attributes:
        kind: What it is.
        start: Where it begins, its anchor and tag included.
        end: Just past it.
        meaning: The Python value of a scalar.
        style: The quotation mark of a scalar, `|` or `>`; empty for others.
        anchor: The name of its anchor, or of the anchor an alias refers to.
        tagged: Whether it has a tag.
        flow: Whether it stands in brackets, or in a list in brackets.
        explicit: Whether a document begins with the mark `---`.
    """

    kind: str
    start: int = 0
    end: int = 0
    meaning: Any = None
    style: str = ""
    anchor: str = ""
    tagged: bool = False
    flow: bool = False
    explicit: bool = False


def fault(text: str, reason: str, offset: int) -> DocumentSyntaxError:
    """The error that says what is wrong where."""
    before = text[:offset].replace("\r\n", "\n").replace("\r", "\n")
    column = offset - line_start(text, offset) + 1
    return DocumentSyntaxError(reason, line=before.count("\n") + 1, column=column)


def yaml_library() -> Any:
    """The library that reads YAML.

    Raises:
        ModelplugError: It is not installed.
    """
    try:
        import ruamel.yaml
    except ImportError as error:
        raise ModelplugError(
            "YAML files can't be read here",
            why="the library ruamel.yaml is not installed",
            advice="install it with: pip install 'modelplug[yaml]'",
        ) from error
    return ruamel.yaml


def library_events(text: str) -> Iterator[Event]:
    """The parts of a text of any kind.

    Raises:
        DocumentSyntaxError: It is not YAML.
    """
    library = yaml_library()
    yaml = library.YAML(typ="safe", pure=True)
    yaml.doc_infos.append(library.docinfo.DocInfo())
    yaml.tags = {}
    try:
        constructor, parser = yaml.get_constructor_parser(text)
        while parser.check_event():
            event = parser.get_event()
            kind = _KINDS.get(type(event).__name__)
            if kind is not None:
                yield _event(text, event, kind, library, yaml.resolver, constructor)
    except library.error.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        raise DocumentSyntaxError(reason, line=mark.line + 1, column=mark.column + 1) from error
    except library.reader.ReaderError as error:
        reason = f"the character U+{error.character:04X} is not allowed"
        raise fault(text, reason, error.position) from error


def _event(text: str, event: Any, kind: str, library: Any, resolver: Any, constructor: Any) -> Event:
    found = Event(kind, event.start_mark.index, event.end_mark.index)
    if kind == TEXT_SCALAR:
        found.meaning = _meaning(text, event, library, resolver, constructor)
        found.style = event.style or ""
    elif kind == DOCUMENT:
        found.explicit = event.explicit
    elif kind in (MAPPING_START, LIST_START):
        found.flow = event.flow_style
    found.anchor = str(getattr(event, "anchor", None) or "")
    found.tagged = getattr(event, "tag", None) is not None
    return found


def _meaning(text: str, event: Any, library: Any, resolver: Any, constructor: Any) -> Any:
    """The Python value of a scalar; its text if its tag is unknown here."""
    tag = event.tag
    if tag is None or tag == "!":
        if tag is None and not event.implicit[0]:
            return event.value
        tag = str(resolver.resolve(library.nodes.ScalarNode, event.value, event.implicit))
    as_text = (f"{_TAG}str", f"{_TAG}merge", f"{_TAG}value")
    if tag in as_text or tag not in constructor.yaml_constructors:
        return event.value
    node = library.nodes.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
    try:
        return constructor.construct_object(node, deep=True)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        reason = f"{event.value!r} can't be read as {tag.removeprefix(_TAG)}: {error}"
        raise fault(text, reason, event.start_mark.index) from error
