"""Makes a backup set: byte copies, references and notes, each read again and compared."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import attrs

from modelplug.errors import BackupDamagedError, TransactionError
from modelplug.migration.transactions import refusals
from modelplug.migration.transactions.files import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    Files,
    FileState,
    sha256,
)
from modelplug.migration.transactions.manifest import BackupItem, Manifest, verify_items
from modelplug.migration.transactions.operations import MoveStep, Operation

__all__ = ["BackupSet", "check_note_names", "place_in_set"]

FILES = "files"
NOTES = "notes"
# Where systems may refuse a longer path, a copy gets a number for its name.
_LONGEST_PATH = 240 if os.name == "nt" else 3800
# Copies of what lies in such folders are for their owner's eyes, whatever the original's permissions.
_PRIVATE_NAMES = frozenset({".gnupg", ".ssh", "credentials", "secret", "secrets", "secure"})
_OPEN_TO_ALL = 0o777


class BackupSet:
    """A backup set in the making.

    Args:
        files: How to read and write.
        folder: The set; it exists and holds none of the copies yet.
        transaction_id: Its transaction.
        left_out: A folder that is never copied, wherever it lies: the one with all the sets.
    """

    def __init__(self, files: Files, folder: Path, transaction_id: str, left_out: Path) -> None:
        self._files = files
        self._folder = folder
        self._id = transaction_id
        self._left_out = left_out
        self._known: set[Path] = set()
        self._folders: set[Path] = set()
        self._numbered = 0
        self.items: list[BackupItem] = []

    def keep_changed(self, operations: Iterable[Operation]) -> tuple[Operation, ...]:
        """Copy the files that are going to be changed.

        Args:
            operations: What will be done.

        Returns:
            The same operations, which now know where their former content lies.

        Raises:
            StaleFileError: A file is no longer what it was when it was checked.
            OSError: Something can't be read or written.
        """
        placed = [
            operation
            if operation.before is None
            else attrs.evolve(operation, stored=self._place(operation.target))
            for operation in operations
        ]
        self._known.update(operation.target for operation in placed)
        self.items += [self._keep_changed(operation) for operation in placed]
        return tuple(placed)

    def keep_copies(self, paths: Iterable[Path], references: Iterable[Path]) -> None:
        """Copy further files and folders, with all they hold.

        Args:
            paths: The files and folders; one that is not there is recorded as absent.
            references: Files that are not copied even if they lie in such a folder.

        Raises:
            OSError: Something can't be read or written.
        """
        self._known.update(self._files.calls.resolve(path) for path in references)
        found: list[BackupItem] = []
        for path in paths:
            self._collect(self._files.calls.resolve(path), found)
        placed = [
            attrs.evolve(item, stored=self._place(item.path)) if item.kind == "file" else item
            for item in found
        ]
        self.items += [self._keep_copy(item) for item in placed]

    def keep_references(self, paths: Iterable[Path]) -> None:
        """Record the state of large files without copying them.

        Args:
            paths: The files, and folders of which every file is meant; what is not there is recorded as
                absent.

        Raises:
            OSError: One can't be read.
        """
        found: dict[Path, None] = {}
        for path in paths:
            self._collect_references(self._files.calls.resolve(path), found)
        for path in found:
            state = self._files.state(path)
            if state is None:
                self.items.append(BackupItem(path=path, kind="absent"))
            else:
                self.items.append(BackupItem.of_file(path, "reference", state))

    def _collect_references(self, path: Path, found: dict[Path, None]) -> None:
        status = self._files.status(path)
        if status is None or stat.S_ISREG(status.st_mode):
            found[path] = None
        elif stat.S_ISDIR(status.st_mode):
            for name in self._files.calls.list(path):
                self._collect_references(path / name, found)
        elif stat.S_ISLNK(status.st_mode):
            # Caches of models are full of links to files; one to a folder may lead round in a circle.
            target = self._files.calls.resolve(path)
            status = self._files.status(target)
            if status is not None and stat.S_ISREG(status.st_mode):
                found[target] = None

    def record_moves(self, steps: Iterable[MoveStep]) -> None:
        """Record what is put away, and will be the backup of itself.

        Args:
            steps: What is renamed.

        Raises:
            OSError: It can't be looked at.
        """
        for step in steps:
            if not step.away:
                continue
            status = self._files.calls.status(step.source)
            is_file = stat.S_ISREG(status.st_mode)
            self.items.append(
                BackupItem(
                    path=step.source,
                    kind="moved",
                    moved_to=step.target,
                    sha256=step.sha256,
                    size=status.st_size if is_file else None,
                    mode=stat.S_IMODE(status.st_mode),
                    mtime_ns=status.st_mtime_ns,
                    owner=(status.st_uid, status.st_gid),
                )
            )

    def keep_notes(self, notes: Mapping[str, bytes]) -> None:
        """Store further content.

        Args:
            notes: Name -> content; a name may have slashes.

        Raises:
            OSError: One can't be written.
        """
        for name, data in notes.items():
            stored = PurePosixPath(NOTES, name)
            path = self._made_way(str(stored))
            like = FileState(sha256=sha256(data), size=len(data), mode=PRIVATE_FILE)
            self._files.write_new(path, [data], like)
            self.items.append(
                BackupItem(
                    path=Path(name),
                    kind="note",
                    stored=str(stored),
                    sha256=like.sha256,
                    size=like.size,
                    mode=like.mode,
                )
            )

    def close(self, manifest: Manifest) -> None:
        """Bring all copies to the disk, read every one again and compare it.

        Args:
            manifest: What the set should hold.

        Raises:
            BackupDamagedError: A copy is not what was written.
            OSError: Something can't be brought to the disk.
        """
        self._files.sync_files(
            [self._within(item.stored) for item in manifest.items if item.stored is not None]
        )
        self._files.sync_folders(self._folders)
        stored = attrs.evolve(
            manifest, items=tuple(item for item in manifest.items if item.stored is not None)
        )
        reports = verify_items(self._files, self._folder, stored)
        damage = [report.problem for report in reports if report.state != "intact"]
        if damage:
            raise BackupDamagedError(
                "the backup could not be made",
                transaction_id=self._id,
                damage=damage,
                why=f"what was written does not read back: {damage[0]}",
                advice="check the disk that holds the backups, or choose another with MODELPLUG_HOME",
            )

    # One by one ---------------------------------------------------------------------------------------

    def _keep_changed(self, operation: Operation) -> BackupItem:
        if operation.before is None or operation.stored is None:
            return BackupItem(path=operation.target, kind="absent", role="changed")
        item = BackupItem.of_file(
            operation.target, "file", operation.before, role="changed", stored=operation.stored
        )
        digest, _size = self._copy(item)
        if digest != operation.before.sha256:
            digests = (operation.before.sha256, digest)
            raise refusals.changed_meanwhile(self._id, operation.path, digests)
        return item

    def _keep_copy(self, item: BackupItem) -> BackupItem:
        if item.stored is None:
            return item
        try:
            digest, size = self._copy(item)
        except FileNotFoundError:
            # A log may be rotated away while others are copied.
            return BackupItem(path=item.path, kind="absent")
        return attrs.evolve(item, sha256=digest, size=size)

    def _copy(self, item: BackupItem) -> tuple[str, int]:
        assert item.stored is not None
        assert item.mode is not None
        mode = item.mode & _OPEN_TO_ALL
        if is_private(item.path):
            mode = PRIVATE_FILE
        like = FileState(sha256="", size=0, mode=mode, mtime_ns=item.mtime_ns)
        return self._files.copy_new(item.path, self._within(item.stored), like)

    def _collect(self, path: Path, found: list[BackupItem]) -> None:
        """Add a file, or a folder and all it holds, as items without content."""
        if path in self._known or path == self._left_out:
            return
        self._known.add(path)
        status = self._files.status(path)
        if status is None:
            found.append(BackupItem(path=path, kind="absent"))
            return
        kind = status.st_mode
        item = BackupItem(
            path=path,
            kind="skipped",
            mode=stat.S_IMODE(kind),
            mtime_ns=status.st_mtime_ns,
            owner=(status.st_uid, status.st_gid),
        )
        if stat.S_ISREG(kind):
            found.append(attrs.evolve(item, kind="file"))
        elif stat.S_ISLNK(kind):
            found.append(attrs.evolve(item, kind="link", link=self._files.calls.read_link(path)))
        elif stat.S_ISDIR(kind):
            found.append(attrs.evolve(item, kind="folder"))
            for name in self._files.calls.list(path):
                self._collect(path / name, found)
        else:
            found.append(item)

    # Places -------------------------------------------------------------------------------------------

    def _place(self, path: Path) -> str:
        """Choose where the copy of a file lies, and make the folders for it."""
        place = place_in_set(path)
        if len(str(self._within(str(place)))) > _LONGEST_PATH:
            place = PurePosixPath("long", str(self._numbered))
            self._numbered += 1
        self._made_way(str(place))
        return str(place)

    def _within(self, stored: str) -> Path:
        return self._folder.joinpath(*PurePosixPath(stored).parts)

    def _made_way(self, stored: str) -> Path:
        path = self._within(stored)
        folder = path.parent
        if folder not in self._folders:
            made = self._files.make_folders(folder, PRIVATE_FOLDER)
            self._folders.update(made, (new.parent for new in made), [folder])
        return path


def place_in_set(path: Path) -> PurePosixPath:
    """Where the copy of a file lies in a set: as in the whole file system, so that people find it.

    Args:
        path: The file, absolute.
    """
    drive = [part for part in path.drive.replace(":", "").replace("\\", "/").split("/") if part]
    return PurePosixPath(FILES, *drive, *path.parts[1:])


def is_private(path: Path) -> bool:
    """Whether a file lies in a folder that is named as one for secrets.

    Args:
        path: The file.
    """
    return not _PRIVATE_NAMES.isdisjoint(part.lower() for part in path.parts)


def check_note_names(names: Sequence[str]) -> None:
    """Make sure that notes stay inside their set.

    Args:
        names: Their names.

    Raises:
        TransactionError: One would not, or would hide another.
    """
    for name in names:
        place = PurePosixPath(name)
        inside = name and str(place) == name and not place.is_absolute() and ".." not in place.parts
        if not inside or "\\" in name or "\0" in name or any(Path(name).drive):
            raise TransactionError(
                f"a note can't be stored under the name {name!r}",
                why="the name must be a relative path with single slashes",
                advice="choose another name for the note",
            )
