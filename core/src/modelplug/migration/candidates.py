"""What may be migrated: files and folders, each real one once, read no sooner and no further than needed."""

from __future__ import annotations

import contextlib
import json
import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.documents import DocumentSyntaxError, format_of, read_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modelplug.documents import Document

__all__ = ["CHECKPOINT_ENDINGS", "SOURCE_ENDINGS", "Candidate", "Found", "collect"]

OWN_PREFIX = ".modelplug-"
"""How names begin that this program gives to what it has not put in place yet."""

MAX_TEXT = 16 * 1024 * 1024
"""Larger files are no configuration or source text that a person wrote."""

SOURCE_ENDINGS = frozenset({".py", ".pyi", ".ipynb", ".md", ".markdown"})
"""How names of programs end, and of texts that programs stand in."""

CHECKPOINT_ENDINGS = frozenset({".pt", ".pth", ".bin", ".ckpt", ".safetensors"})
"""How names of checkpoints end."""

# Strings are matched too, so that what looks like a comment in them is left alone.
_COMMENTS = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\r\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMAS = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)
# Folders that hold what programs made, where nothing of a person's is to be found.
_SKIPPED_FOLDERS = frozenset(
    {".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox", "site-packages"}
)


class Candidate:
    """One file or folder that may be migrated; its content is read when first asked for.

    Args:
        path: Where it is, links resolved.
        given_as: How the user named it.
    """

    def __init__(self, path: Path, *, given_as: Path | None = None) -> None:
        self.path = path
        self.given_as = given_as or path

    def __repr__(self) -> str:
        return f"Candidate({str(self.path)!r})"

    @cached_property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.name

    @property
    def suffix(self) -> str:
        """The ending of its name, in lower case, with the dot."""
        return self.path.suffix.lower()

    @cached_property
    def size(self) -> int:
        """Bytes; 0 for a folder."""
        return 0 if self.is_folder else self.path.stat().st_size

    @cached_property
    def data(self) -> bytes:
        """All bytes of a file no larger than a text can be; nothing of others.

        Raises:
            OSError: It can't be read.
        """
        return b"" if self.is_folder or self.size > MAX_TEXT else self.path.read_bytes()

    def head(self, count: int) -> bytes:
        """The first bytes of a file, however large it is."""
        if self.is_folder:
            return b""
        with self.path.open("rb") as stream:
            return stream.read(count)

    @property
    def format(self) -> str | None:
        """`json`, `yaml` or `toml`, by its name; None for anything else."""
        return None if self.is_folder else format_of(self.path)

    @cached_property
    def document(self) -> Document:
        """The text with the place of everything.

        Raises:
            DocumentSyntaxError: It can't be understood.
        """
        if self.format is None:
            msg = f"{self.path.name} is no JSON, YAML or TOML file"
            raise DocumentSyntaxError(msg, line=1, column=1)
        return read_document(self.data, self.format, name=str(self.path))

    @cached_property
    def value(self) -> Any:
        """What a configuration holds, as plain data; None for what is none, or can't be understood."""
        if self.format is None or self.size > MAX_TEXT:
            return None
        if self.format == "json":
            # To see what a file is, its values are enough: keeping places takes fifty times as long.
            with contextlib.suppress(ValueError, RecursionError):
                return json.loads(_without_comments(self.data), parse_constant=_refuse)
        try:
            return self.document.value
        except DocumentSyntaxError:
            return None

    @property
    def mapping(self) -> dict[str, Any]:
        """What a configuration holds if that is an object; nothing otherwise."""
        return self.value if isinstance(self.value, dict) else {}


def _refuse(word: str) -> Any:
    raise ValueError(word)


def _without_comments(data: bytes) -> str:
    """A JSON text as the standard library takes it: comments and trailing commas replaced by nothing."""
    text = data.decode("utf-8-sig")
    if "//" in text or "/*" in text:
        text = _COMMENTS.sub(_kept, text)
    return _TRAILING_COMMAS.sub(_kept, text)


def _kept(found: re.Match[str]) -> str:
    return found[1] or " "


@attrs.frozen(kw_only=True)
class Found:
    """What was found under the paths a user named.

    Attributes:
        candidates: What may be migrated, each real file once, in order.
        aliases: Further names of a candidate -> the candidate: links, and files named twice.
        missing: Paths that do not exist.
        unreadable: Path -> why it can't be looked at.
    """

    candidates: tuple[Candidate, ...]
    aliases: dict[Path, Path]
    missing: tuple[Path, ...]
    unreadable: dict[Path, str]


class _Collector:
    def __init__(self, own: Iterable[Path], is_whole: Callable[[Candidate], bool]) -> None:
        self.own = tuple(Path(os.path.realpath(path)) for path in own)
        self.is_whole = is_whole
        self.by_identity: dict[tuple[int, int], Candidate] = {}
        self.candidates: list[Candidate] = []
        self.aliases: dict[Path, Path] = {}
        self.missing: list[Path] = []
        self.unreadable: dict[Path, str] = {}

    def add_given(self, given: Path) -> None:
        path = Path(os.path.realpath(given.expanduser()))
        if not path.exists():
            self.missing.append(given)
            return
        if not path.is_dir() or self.is_whole(Candidate(path, given_as=given)):
            self._add(path, given)
        else:
            for inner in self._walk(path):
                self._add(inner, inner)

    def _add(self, path: Path, given: Path) -> None:
        real = Path(os.path.realpath(path))
        try:
            status = real.stat()
        except OSError as error:
            self.unreadable[given] = error.strerror or str(error)
            return
        identity = (status.st_dev, status.st_ino)
        known = self.by_identity.get(identity)
        if known is not None:
            if given not in (known.given_as, known.path):
                self.aliases[given] = known.path
            return
        candidate = Candidate(real, given_as=given)
        self.by_identity[identity] = candidate
        self.candidates.append(candidate)
        if str(real) != os.path.abspath(given.expanduser()):  # noqa: PTH100  `..` names no other file
            self.aliases[given] = real

    def _walk(self, folder: Path) -> Iterator[Path]:
        def report(error: OSError) -> None:
            self.unreadable[Path(error.filename or folder)] = error.strerror or str(error)

        for root, folders, files in os.walk(folder, onerror=report):
            if root != str(folder) and _may_be_whole(files) and self.is_whole(Candidate(Path(root))):
                folders.clear()
                yield Path(root)
                continue
            folders[:] = sorted(name for name in folders if not self._is_skipped(Path(root, name)))
            for name in sorted(files):
                if _may_be_migrated(name) and not name.startswith(OWN_PREFIX):
                    yield Path(root, name)

    def _is_skipped(self, folder: Path) -> bool:
        return (
            folder.name in _SKIPPED_FOLDERS
            or folder.name.startswith(OWN_PREFIX)
            or any(folder == own or own in folder.parents for own in self.own)
        )


def _may_be_whole(names: Iterable[str]) -> bool:
    """Whether a folder with these files may be a checkpoint: weights, and a text that says what they are."""
    endings = {os.path.splitext(name)[1].lower() for name in names}  # noqa: PTH122  as below
    return ".json" in endings and not endings.isdisjoint(CHECKPOINT_ENDINGS)


def _may_be_migrated(name: str) -> bool:
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122  a Path per file would double the walk's cost
    return format_of(name) is not None or suffix in SOURCE_ENDINGS or suffix in CHECKPOINT_ENDINGS


def collect(
    paths: Iterable[Path],
    *,
    own: Iterable[Path] = (),
    is_whole: Callable[[Candidate], bool] = lambda _folder: False,
) -> Found:
    """What may be migrated under the paths: files as they are, folders and everything in them.

    Links are followed once, and a file that has several names is one candidate. Below a folder, only files
    whose names end as those of configurations, checkpoints and source do are looked at.

    Args:
        paths: What the user named.
        own: Folders of this program's own output, which is never a source.
        is_whole: Whether a folder is migrated as a whole: then its files are no candidates of their own.
    """
    collector = _Collector(own, is_whole)
    for path in paths:
        collector.add_given(path)
    return Found(
        candidates=tuple(collector.candidates),
        aliases=collector.aliases,
        missing=tuple(collector.missing),
        unreadable=collector.unreadable,
    )
