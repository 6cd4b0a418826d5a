"""A configuration as migration steps see it: every change goes on record, so that no key goes missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.documents import TreeError
from modelplug.documents.nodes import MAPPING
from modelplug.migration.account import Account, Fate, Finding, KeyFate, Severity, spell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.documents import Document
    from modelplug.migration.steps import KeyPath

__all__ = ["ConfigEditor", "UnaccountedKeysError"]


class UnaccountedKeysError(Exception):
    """Keys of the source are gone and nobody said why.

    Attributes:
        keys: The keys, as `spell` writes them.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        self.keys = keys
        super().__init__(f"nothing says what became of {', '.join(keys)}")


class ConfigEditor:
    """Changes one configuration, through as many steps as it takes, and keeps the account.

    Paths are tuples of names, or one name; names are literal, also where they hold dots.

    Args:
        document: The configuration.
        extras: Where that is kept which nothing uses any more.

    Attributes:
        document: The configuration, with all changes so far.
    """

    def __init__(self, document: Document, *, extras: KeyPath = ("extras",)) -> None:
        self.document = document
        self._tree = document.tree
        self._extras = extras
        self._source_keys = {path for path, _ in self._tree.source_leaves()}
        self._step = ""
        self._findings: list[Finding] = []
        self._reasons: dict[KeyPath, str] = {}
        self._shelved: set[KeyPath] = set()
        self._dropped: dict[KeyPath, KeyPath | None] = {}
        # Keys whose entries say what dropped ones said: they may move on.
        self._heirs: dict[KeyPath, KeyPath] = {}
        for path, message in _duplicate_messages(document):
            self.warn(message, path)

    # Reading ------------------------------------------------------------------------------------------

    def get(self, path: KeyPath | str, default: Any = None) -> Any:
        """The value at `path`, as plain data."""
        return self._tree.get(_path(path), default)

    def has(self, path: KeyPath | str) -> bool:
        """Whether there is an entry at `path`."""
        return self._tree.has(_path(path))

    def names(self, path: KeyPath | str = ()) -> tuple[str, ...]:
        """The names of the object at `path`, in order; none if there is no object."""
        return self._tree.names(_path(path)) if self.is_mapping(path) else ()

    def is_mapping(self, path: KeyPath | str = ()) -> bool:
        """Whether an object stands at `path`."""
        return self._tree.is_mapping(_path(path))

    @property
    def value(self) -> dict[str, Any]:
        """The whole configuration as it is now, as plain data."""
        value: dict[str, Any] = self.document.value
        return value

    @property
    def extras(self) -> KeyPath:
        """Where that is kept which nothing uses any more."""
        return self._extras

    # Changing -----------------------------------------------------------------------------------------

    def rename(self, path: KeyPath | str, name: str, *, why: str = "") -> None:
        """Give an entry another name in its place.

        Args:
            path: The entry.
            name: Its new name; must be free.
            why: The reason, for the account.
        """
        path = _path(path)
        self._note(path, why)
        self._unshelve(path)
        self._tree.rename(path, name)

    def move(self, path: KeyPath | str, to: KeyPath | str, *, why: str = "") -> None:
        """Move an entry, with its bytes and comments; within its object it keeps its place.

        Args:
            path: The entry.
            to: Where it goes; must be free. Objects on the way are made.
            why: The reason, for the account.
        """
        path, to = _path(path), _path(to)
        if path == to:
            return
        self._note(path, why)
        self._unshelve(path)
        if path[:-1] == to[:-1]:
            self._tree.rename(path, str(to[-1]))
        else:
            self._tree.move(path, to)

    def set(self, path: KeyPath | str, value: Any, *, why: str = "") -> None:
        """Give an entry another value, or add a new entry.

        Args:
            path: The entry.
            value: Its value; what it held before is replaced.
            why: The reason, for the account.
        """
        path = _path(path)
        if self._tree.has(path) and self._is_object(path) != isinstance(value, dict):
            # The keys inside go with it, and the account has to say so.
            self.drop(path, why=why or "replaced as a whole", into=path)
        self._note(path, why)
        self._tree.set(path, value)

    def add(self, path: KeyPath | str, value: Any, *, first: bool = False) -> None:
        """Add an entry that must not be there yet.

        Args:
            path: The entry. Objects on the way are made.
            value: Its value.
            first: Whether it goes to the front of its object, instead of to the end.
        """
        self._tree.insert(_path(path), value, first=first)

    def respell(self, path: KeyPath | str, *, why: str) -> None:
        """Write a scalar as new ones are written, because others read its spelling otherwise.

        Args:
            path: The entry, or an item of a list.
            why: The reason.
        """
        path = _path(path)
        self._note(path[:-1] if path and isinstance(path[-1], int) else path, why)
        self._tree.respell(path)

    def drop(self, path: KeyPath | str, *, why: str, into: KeyPath | str | None = None) -> None:
        """Take an entry out.

        Args:
            path: The entry.
            why: The reason; what nothing can use belongs into the extras instead.
            into: The key that says the same now, if there is one: then the entry counts as mapped.
        """
        path = _path(path)
        if not why:
            msg = f"{spell(path)} can't be dropped without a reason"
            raise TreeError(msg, path)
        heir = None if into is None else next(iter(self._origins(_path(into))), None)
        for origin in self._origins(path):
            self._reasons[origin] = why
            self._dropped[origin] = None if into is None else _path(into)
            if heir is not None and heir != origin:
                self._heirs[origin] = heir
        self._tree.remove(path)

    def to_extras(self, path: KeyPath | str, *, why: str, under: KeyPath | str = ()) -> None:
        """Keep an entry that nothing uses any more among the extras.

        Args:
            path: The entry.
            why: Why nothing uses it.
            under: The section of the extras it goes to.
        """
        path = _path(path)
        origins = self._origins(path)
        to = (*self._extras, *_path(under), path[-1])
        self._note(path, why)
        self._tree.move(path, to)
        self._shelved.update(origins)

    def prune(self, path: KeyPath | str) -> None:
        """Take an object out if nothing is left in it."""
        path = _path(path)
        if self.is_mapping(path) and not self.names(path) and not self._origins(path):
            self._tree.remove(path)

    # Telling ------------------------------------------------------------------------------------------

    def error(
        self, message: str, path: KeyPath | str = (), *, line: int | None = None, advice: str = ""
    ) -> None:
        """Say what makes it impossible to migrate this file; nothing will be written.

        Args:
            message: One sentence.
            path: The entry it is about.
            line: The line, where it is about no entry.
            advice: What to do about it.
        """
        self._find(Severity.ERROR, message, path, line=line, advice=advice)

    def warn(self, message: str, path: KeyPath | str = (), *, nearest: str = "", advice: str = "") -> None:
        """Say what is probably not as its owner thinks.

        Args:
            message: One sentence.
            path: The entry it is about.
            nearest: The nearest valid name or value.
            advice: What to do about it.
        """
        self._find(Severity.WARNING, message, path, nearest=nearest, advice=advice)

    def todo(self, message: str, path: KeyPath | str = ()) -> None:
        """Say what a person must still do."""
        self._find(Severity.TODO, message, path)

    def note(self, message: str, path: KeyPath | str = ()) -> None:
        """Say what is worth knowing."""
        self._find(Severity.NOTE, message, path)

    def _find(
        self, severity: Severity, message: str, path: KeyPath | str, *, line: int | None = None, **more: str
    ) -> None:
        path = _path(path)
        finding = Finding(
            severity=severity,
            message=message,
            key=spell(path),
            line=line or self._line(path),
            step=self._step,
            **more,
        )
        if finding not in self._findings:
            self._findings.append(finding)

    # The account --------------------------------------------------------------------------------------

    def begin_step(self, name: str) -> None:
        """Say which step the following changes belong to."""
        self._step = name

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was told, in order."""
        return tuple(self._findings)

    def account(self) -> Account:
        """What became of every key so far.

        Raises:
            UnaccountedKeysError: Something is gone and nobody said why.
        """
        leaves = self._tree.leaves()
        now = {leaf.origin: leaf for leaf in leaves if leaf.origin is not None}
        # An empty object is a key of the source; with something in it, it is a leaf no more.
        filled = dict(_objects(self._tree.root))
        keys: list[KeyFate] = []
        lost: list[str] = []
        for origin, _ in self._tree.source_leaves():
            leaf = now.get(origin)
            if leaf is None and origin in filled:
                fate: Fate | None = Fate.KEPT if filled[origin] == origin else Fate.MAPPED
                target = spell(filled[origin])
            else:
                fate, target = self._fate(origin, leaf)
                heir = now.get(self._heirs[origin]) if leaf is None and origin in self._heirs else None
                target = spell(heir.path) if heir is not None else target
            if fate is None:
                lost.append(spell(origin))
                continue
            reason = "" if fate is Fate.KEPT else self._reasons.get(origin, "")
            line = self.document.line_of(origin)
            keys.append(KeyFate(key=spell(origin), fate=fate, target=target, why=reason, line=line))
        if lost:
            raise UnaccountedKeysError(tuple(lost))
        added = tuple(spell(leaf.path) for leaf in leaves if leaf.origin is None)
        return Account(keys=tuple(keys), added=added)

    def _fate(self, origin: KeyPath, leaf: Any) -> tuple[Fate | None, str]:
        if leaf is None:
            if origin not in self._dropped:
                return None, ""
            into = self._dropped[origin]
            return (Fate.DROPPED, "") if into is None else (Fate.MAPPED, spell(into))
        if origin in self._shelved:
            return Fate.EXTRAS, spell(leaf.path)
        if leaf.path == origin and not leaf.changed:
            return Fate.KEPT, spell(leaf.path)
        return Fate.MAPPED, spell(leaf.path)

    def _origins(self, path: KeyPath) -> list[KeyPath]:
        """The keys of the source that are at `path` or below it now."""
        # An object whose keys have all gone elsewhere is a leaf now, but was no key of the source.
        return [leaf.origin for leaf in self._below(path) if leaf.origin in self._source_keys]

    def _below(self, path: KeyPath) -> Iterator[Any]:
        return (leaf for leaf in self._tree.leaves() if leaf.path[: len(path)] == path)

    def _note(self, path: KeyPath, why: str) -> None:
        if why:
            for origin in self._origins(path):
                self._reasons[origin] = why

    def _unshelve(self, path: KeyPath) -> None:
        if self._shelved:
            self._shelved.difference_update(self._origins(path))

    def _is_object(self, path: KeyPath) -> bool:
        return self._tree.is_mapping(path) and bool(self._tree.names(path))

    def _line(self, path: KeyPath) -> int | None:
        origin = next(iter(self._origins(path)), None) if path else None
        return self.document.line_of(origin) if origin is not None else None


def _objects(node: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, KeyPath]]:
    """The original and the present path of every object of the source that holds something now."""
    for entry in node.entries:
        if entry.value.kind == MAPPING and entry.value.entries:
            here = (*path, entry.name)
            if entry.origin is not None:
                yield entry.origin, here
            yield from _objects(entry.value, here)


def _path(path: KeyPath | str) -> KeyPath:
    return (path,) if isinstance(path, str) else tuple(path)


def _duplicate_messages(document: Document) -> Iterator[tuple[KeyPath, str]]:
    for path in document.duplicates:
        yield path, f"{spell(path)} stands here more than once, and only the last one counts"
