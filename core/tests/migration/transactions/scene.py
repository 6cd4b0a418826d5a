"""A small tree with one file of every sort, a transaction on it, and what it looks like before and after."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from modelplug.errors import RecoveryNeededError, TransactionError
from modelplug.migration.transactions import (
    Effect,
    EffectHandler,
    FileChange,
    FileSystem,
    Move,
    TransactionStore,
)

Snapshot = dict[str, tuple[str, int, str]]

OLD_TIME = 1_000_000_000_123_456_789


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class Unsynced(FileSystem):
    """The real file system, without the waiting for the disk: nothing here cuts the power."""

    def fsync(self, descriptor: int) -> None:
        """Do not wait."""

    def sync_file(self, path: Path) -> None:
        """Do not wait."""

    def sync_directory(self, path: Path) -> None:
        """Do not wait."""


class Marker:
    """An effect: a file with the payload in it. Both ways can be repeated."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "effect.txt"

    def apply(self, payload: Any, transaction_id: str) -> None:
        """Write the file."""
        self.path.write_text(payload)
        self.path.chmod(0o644)

    def undo(self, payload: Any, transaction_id: str) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


class Refusal:
    """An effect that never can be made."""

    REASON = "refused on purpose"

    def apply(self, payload: Any, transaction_id: str) -> None:
        """Refuse."""
        raise RuntimeError(self.REASON)

    def undo(self, payload: Any, transaction_id: str) -> None:
        """Nothing was made."""


class Scene:
    """A folder with a tree and a store.

    Three files are replaced (one private, one old, one through a link), two are made in new folders (one of
    them empty), one is deleted, and an effect is made. If asked for, folders take the places of a large file
    and of another folder.

    Attributes:
        before: What the tree looked like when it was built.
        times_before: When its files had been changed then.
        after: What it looks like with the transaction applied, where a test has noted that.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tree = folder / "tree"
        self.staging = folder / "staging"
        self.root = folder / "migrations"
        self.effects: list[Effect] = []
        self.moves: list[Move] = []
        self.before: Snapshot = {}
        self.times_before: dict[str, int] = {}
        self.after: Snapshot = {}

    def build(self, *, effects: bool = True, moves: bool = False) -> None:
        """Make the tree anew, and remove what was there.

        Args:
            effects: Whether the transaction will have its effect.
            moves: Whether there are a large file and the folder that will take its place.
        """
        self.effects = [Effect("mark", "made")] if effects else []
        shutil.rmtree(self.folder, ignore_errors=True)
        self.tree.mkdir(parents=True)
        for name, content, mode in (
            ("config.json", b'{"version": 1}\n', 0o644),
            ("secret.json", b'{"token": "t"}\n', 0o600),
            ("old.json", b"[]\n", 0o640),
            ("gone.txt", b"farewell\n", 0o444),
            ("bystander.txt", b"not asked\n", 0o644),
            ("model.gguf", b"G" * 5000, 0o644),
        ):
            path = self.tree / name
            path.write_bytes(content)
            path.chmod(mode)
            os.utime(path, ns=(OLD_TIME, OLD_TIME))
        (self.tree / "alias.json").symlink_to("config.json")
        (self.tree / "logs").mkdir(0o755)
        (self.tree / "logs" / "app.log").write_bytes(b"a line\n")
        self.moves = self._build_moves() if moves else []

        self.before = self.snapshot()
        self.times_before = self.times()

    def _build_moves(self) -> list[Move]:
        (self.staging / "made" / "deep").mkdir(parents=True)
        (self.staging / "made" / "deep" / "large.bin").write_bytes(b"B" * 5000)
        (self.tree / "large.pt").write_bytes(b"P" * 5000)
        for folder in (self.tree / "weights", self.staging / "weights"):
            folder.mkdir()
            (folder / "config.json").write_text(str(folder.parent))
        return [
            Move(self.staging / "made", self.tree / "large"),
            Move(self.tree / "large.pt", sha256=sha256(b"P" * 5000)),
            Move(self.tree / "weights"),
            Move(self.staging / "weights", self.tree / "weights"),
        ]

    def times(self) -> dict[str, int]:
        """When each file of the tree was changed last, in nanoseconds since 1970."""
        return {
            str(path.relative_to(self.tree)): path.lstat().st_mtime_ns
            for path in self.tree.rglob("*")
            if path.is_file()
        }

    def store(self, filesystem: FileSystem | None = None) -> TransactionStore:
        """The store, with handlers for the effects."""
        handlers: dict[str, EffectHandler] = {"mark": Marker(self.tree), "refuse": Refusal()}
        return TransactionStore(self.root, filesystem=filesystem or Unsynced(), handlers=handlers)

    def changes(self) -> list[FileChange]:
        """What the transaction changes."""
        tree = self.tree
        return [
            FileChange(tree / "alias.json", sha256(b'{"version": 1}\n'), b'{"version": 2, "new": true}\n'),
            FileChange(tree / "secret.json", sha256(b'{"token": "t"}\n'), b'{"secret": "t"}\n'),
            FileChange(tree / "old.json", sha256(b"[]\n"), b"[1]\n", 0o600),
            FileChange(tree / "new" / "one.json", None, b"1\n", 0o640),
            FileChange(tree / "new" / "deep" / "empty.json", None, b""),
            FileChange(tree / "gone.txt", sha256(b"farewell\n"), None),
        ]

    def apply(self, filesystem: FileSystem | None = None) -> None:
        """Carry the transaction out."""
        self.store(filesystem).apply(
            self.changes(),
            moves=self.moves,
            references=[self.tree / "model.gguf"],
            copies=[self.tree / "logs"],
            notes={"report.txt": b"what was decided"},
            effects=self.effects,
            meta={"title": "a test"},
            lock_seconds=0,
        )

    def abort(self, filesystem: FileSystem | None = None) -> None:
        """Let it fail after everything was done, so that everything is undone."""
        effects = self.effects
        self.effects = [*effects, Effect("refuse")]
        try:
            self.apply(filesystem)
        except TransactionError as error:
            if isinstance(error, RecoveryNeededError) or Refusal.REASON not in error.why:
                raise
        finally:
            self.effects = effects

    def rollback(self, filesystem: FileSystem | None = None) -> None:
        """Take it back."""
        self.store(filesystem).rollback(lock_seconds=0)

    def snapshot(self) -> Snapshot:
        """What the tree looks like."""
        return snapshot(self.tree)


def snapshot(folder: Path) -> Snapshot:
    """Every name in a folder, with its kind, its permissions and its content."""
    found: Snapshot = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            entry = ("link", 0, str(path.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            entry = ("folder", stat.S_IMODE(status.st_mode), "")
        else:
            entry = ("file", stat.S_IMODE(status.st_mode), sha256(path.read_bytes()))
        found[os.fsdecode(os.fsencode(path.relative_to(folder)))] = entry
    return found


def differences(found: Snapshot, wanted: Snapshot) -> list[str]:
    """The names that are not the same in two snapshots."""
    return sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
