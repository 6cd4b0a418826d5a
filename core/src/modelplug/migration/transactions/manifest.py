"""The list of everything a backup set holds, written once and never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import attrs

from modelplug.errors import BackupDamagedError
from modelplug.migration.transactions.files import PRIVATE_FILE, Files, FileState, sha256
from modelplug.migration.transactions.journal import FORMAT
from modelplug.migration.transactions.operations import converter
from modelplug.migration.transactions.reports import ItemReport

__all__ = ["MANIFEST_NAME", "BackupItem", "Manifest", "load_manifest", "verify_items", "write_manifest"]

MANIFEST_NAME = "manifest.json"


@attrs.frozen(kw_only=True)
class BackupItem:
    """One thing in a backup set.

    Attributes:
        path: The file or folder; for a note, its name.
        kind: `file` (its bytes are in the set), `reference` (only its state is), `note` (further content that
            the caller gave), `moved` (it was renamed, and is its own backup), `absent` (there was no such
            file), `folder`, `link`, or `skipped` (a pipe or a device).
        role: `changed` if the transaction changes it, `copied` if it was only asked to be kept.
        stored: Where its bytes lie, relative to the set.
        moved_to: The name it was given when it was put away.
        sha256: The SHA-256 of its content, in hexadecimal.
        size: Its size in bytes.
        mode: Its permission bits.
        mtime_ns: The time of its last change, in nanoseconds since 1970.
        owner: Its user and group.
        link: The text of a symbolic link.
    """

    path: Path
    kind: Literal["file", "reference", "note", "moved", "absent", "folder", "link", "skipped"]
    role: Literal["changed", "copied"] = "copied"
    stored: str | None = None
    moved_to: Path | None = None
    sha256: str | None = None
    size: int | None = None
    mode: int | None = None
    mtime_ns: int | None = None
    owner: tuple[int, int] | None = None
    link: str | None = None

    @classmethod
    def of_file(
        cls,
        path: Path,
        kind: Literal["file", "reference"],
        state: FileState,
        *,
        role: Literal["changed", "copied"] = "copied",
        stored: str | None = None,
    ) -> BackupItem:
        """The item for a regular file.

        Args:
            path: The file.
            kind: Whether its bytes are stored.
            state: Its state.
            role: Why it is in the set.
            stored: Where its bytes lie.
        """
        return cls(
            path=path,
            kind=kind,
            role=role,
            stored=stored,
            sha256=state.sha256,
            size=state.size,
            mode=state.mode,
            mtime_ns=state.mtime_ns,
            owner=state.owner,
        )

    @property
    def state(self) -> FileState | None:
        """The state of the file, to restore it in; None if there is no content."""
        if self.sha256 is None or self.size is None:
            return None
        return FileState(
            sha256=self.sha256, size=self.size, mode=self.mode, mtime_ns=self.mtime_ns, owner=self.owner
        )


@attrs.frozen(kw_only=True)
class Manifest:
    """What a backup set holds.

    Attributes:
        id: The transaction.
        created: When, in ISO 8601 (UTC).
        meta: What the caller said about the transaction.
        items: Everything in the set.
        format: The version of the layout.
    """

    id: str
    created: str
    meta: Mapping[str, Any]
    items: tuple[BackupItem, ...]
    format: int = FORMAT


def write_manifest(files: Files, folder: Path, manifest: Manifest) -> str:
    """Write the manifest of a set, which had none.

    Args:
        files: How to write.
        folder: The set.
        manifest: What it holds.

    Returns:
        The SHA-256 of the file, for the journal.
    """
    plain = {"format": manifest.format, **converter().unstructure(manifest)}
    # Escapes for everything beyond ASCII: file names need not be valid UTF-8.
    data = json.dumps(plain, indent=1, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"
    digest = sha256(data)
    like = FileState(sha256=digest, size=len(data), mode=PRIVATE_FILE)
    files.write_new(folder / MANIFEST_NAME, [data], like)
    files.sync_files([folder / MANIFEST_NAME])
    return digest


def load_manifest(files: Files, folder: Path, digest: str) -> Manifest:
    """The manifest of a set.

    Args:
        files: How to read.
        folder: The set.
        digest: The SHA-256 that the journal says it has.

    Raises:
        BackupDamagedError: It is missing, unreadable, not what was written, or of a later version.
    """
    path = folder / MANIFEST_NAME
    try:
        data = files.read(path)
    except OSError as error:
        raise _damaged(path, f"{path} can't be read: {error.strerror or error}") from error
    if sha256(data) != digest:
        raise _damaged(path, f"{path} is not what was written: its SHA-256 should begin with {digest[:12]}")
    plain = json.loads(data)
    if plain["format"] != FORMAT:
        raise _damaged(path, f"{path} is of format {plain['format']}, and this program knows {FORMAT}")
    return converter().structure(plain, Manifest)


def verify_items(
    files: Files, folder: Path, manifest: Manifest, *, references: bool = True, in_force: bool = True
) -> list[ItemReport]:
    """Read everything in a set and compare it with what was stored.

    Args:
        files: How to read.
        folder: The set.
        manifest: What it should hold.
        references: Whether to read files that are not copied as well, which can be very large; otherwise only
            their size and time are compared.
        in_force: Whether the transaction was not rolled back: then what it moved is where it was put.
    """

    def verify(item: BackupItem) -> ItemReport:
        if item.kind == "moved":
            return _verify_moved(files, item, read=references, in_force=in_force)
        if item.kind == "reference":
            return _verify_reference(files, item, read=references)
        return _verify_stored(files, folder, item)

    return [verify(item) for item in manifest.items]


def _verify_stored(files: Files, folder: Path, item: BackupItem) -> ItemReport:
    if item.stored is None:
        return ItemReport(path=item.path, kind=item.kind, state="intact")
    stored = folder.joinpath(*PurePosixPath(item.stored).parts)
    try:
        found = files.state(stored)
    except OSError as error:
        problem = f"the copy {stored} can't be read: {error.strerror or error}"
        return ItemReport(path=item.path, kind=item.kind, state="damaged", problem=problem)
    if found is None:
        return ItemReport(
            path=item.path, kind=item.kind, state="missing", problem=f"the copy {stored} is missing"
        )
    if found.sha256 != item.sha256:
        problem = (
            f"the copy {stored} is not what was stored: its SHA-256 is {found.sha256}, not {item.sha256}"
        )
        return ItemReport(path=item.path, kind=item.kind, state="damaged", problem=problem)
    return ItemReport(path=item.path, kind=item.kind, state="intact")


def _verify_reference(files: Files, item: BackupItem, *, read: bool) -> ItemReport:
    status = files.status(item.path)
    if status is None:
        problem = f"{item.path}, which the set only refers to, is gone"
        return ItemReport(path=item.path, kind=item.kind, state="gone", problem=problem)
    same = status.st_size == item.size
    if same and (read or status.st_mtime_ns != item.mtime_ns):
        same = files.digest(item.path)[0] == item.sha256 if read else False
    if not same:
        problem = f"{item.path}, which the set only refers to, has changed since"
        return ItemReport(path=item.path, kind=item.kind, state="changed", problem=problem)
    return ItemReport(path=item.path, kind=item.kind, state="intact")


def _verify_moved(files: Files, item: BackupItem, *, read: bool, in_force: bool) -> ItemReport:
    """A file or folder that was put away is where it was put, or back where it came from."""
    assert item.moved_to is not None
    problem = ""
    place = item.moved_to if files.status(item.moved_to) is not None else item.path
    status = files.status(place)
    if status is None:
        state: Literal["intact", "missing", "damaged", "gone"] = "missing" if in_force else "gone"
        problem = f"{item.path}, which was moved to {item.moved_to}, is missing there"
    elif item.size is not None and place == item.moved_to and not _is_same(files, place, item, read=read):
        state, problem = "damaged", f"{place} is not what was put there"
    else:
        state = "intact"
    return ItemReport(path=item.path, kind=item.kind, state=state, problem=problem)


def _is_same(files: Files, place: Path, item: BackupItem, *, read: bool) -> bool:
    if files.calls.status(place).st_size != item.size:
        return False
    return not read or item.sha256 is None or files.digest(place)[0] == item.sha256


def _damaged(path: Path, problem: str) -> BackupDamagedError:
    return BackupDamagedError(
        "the backup set can't be trusted",
        path=path,
        damage=[problem],
        why=problem,
        advice=f"look at {path.parent} and restore by hand what you need from it",
    )
