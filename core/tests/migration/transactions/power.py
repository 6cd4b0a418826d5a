"""A model of a disk whose power fails: what was synced is there, and of the rest anything or nothing.

`Recorder` is a file system that notes every change it makes. `Disk` replays such notes and keeps two versions
of every file and folder: what programs see, and what is sure to survive. `Disk.lay_out` builds one of the
trees that a power cut could leave.
"""

from __future__ import annotations

import random
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from modelplug.migration.transactions import FileSystem

Note = tuple[str, tuple[Any, ...], Any]
NOTED = (
    "open_new",
    "open_append",
    "write",
    "seek",
    "truncate",
    "fsync",
    "sync_file",
    "sync_directory",
    "link",
    "replace",
    "unlink",
    "mkdir",
    "rmdir",
    "chmod",
)


class Recorder(FileSystem):
    """The real file system; every call that changes or syncs something is noted, with its result."""

    def __init__(self) -> None:
        self.notes: list[Note] = []


def _noted(name: str) -> Callable[..., Any]:
    original = getattr(FileSystem, name)
    waits = name in ("fsync", "sync_file", "sync_directory")

    def method(self: Recorder, *arguments: Any) -> Any:
        result = None if waits else original(self, *arguments)
        kept = tuple(bytes(each) if isinstance(each, memoryview) else each for each in arguments)
        if name in ("open_new", "mkdir"):
            # The umask has had its say.
            kept = (arguments[0], stat.S_IMODE(arguments[0].lstat().st_mode))
        self.notes.append((name, kept, result))
        return result

    return method


for _name in NOTED:
    setattr(Recorder, _name, _noted(_name))


class Node:
    """A file, a folder or a link, as it is seen and as it is sure to survive."""

    def __init__(self, kind: str, mode: int) -> None:
        self.kind = kind
        self.mode = self.sure_mode = mode
        self.data = self.sure_data = b""
        self.names: dict[str, Node] = {}
        self.sure_names: dict[str, Node] = {}

    @classmethod
    def of(cls, path: Path) -> Node:
        """What lies on the real disk, all of it sure to survive."""
        status = path.lstat()
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            node = cls("link", mode)
            node.data = node.sure_data = str(path.readlink()).encode()
        elif stat.S_ISDIR(status.st_mode):
            node = cls("folder", mode)
            node.names = {child.name: cls.of(child) for child in path.iterdir()}
            node.sure_names = dict(node.names)
        else:
            node = cls("file", mode)
            node.data = node.sure_data = path.read_bytes()
        return node


class Disk:
    """A disk in the state that a folder is in now.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Node.of(folder)
        self._open: dict[int, tuple[Node, list[int], bool]] = {}

    def node(self, path: Path) -> Node:
        """What is seen under a path."""
        node = self.root
        for name in path.relative_to(self.folder).parts:
            node = node.names[name]
        return node

    def replay(self, name: str, arguments: tuple[Any, ...], result: Any) -> None:
        """Let what was noted happen here."""
        getattr(self, f"_{name}")(*arguments, *([result] if name.startswith("open") else []))

    def _open_new(self, path: Path, mode: int, descriptor: int) -> None:
        node = self.node(path.parent).names[path.name] = Node("file", mode)
        self._open[descriptor] = (node, [0], False)

    def _open_append(self, path: Path, descriptor: int) -> None:
        self._open[descriptor] = (self.node(path), [0], True)

    def _write(self, descriptor: int, data: bytes) -> None:
        node, position, appends = self._open[descriptor]
        start = len(node.data) if appends else position[0]
        node.data = node.data[:start] + data + node.data[start + len(data) :]
        position[0] = start + len(data)

    def _seek(self, descriptor: int, position: int) -> None:
        # Files that are only read are not followed.
        if descriptor in self._open:
            self._open[descriptor][1][0] = position

    def _truncate(self, descriptor: int, size: int) -> None:
        node = self._open[descriptor][0]
        node.data = node.data[:size]

    def _fsync(self, descriptor: int) -> None:
        self._sync(self._open[descriptor][0])

    def _sync_file(self, path: Path) -> None:
        self._sync(self.node(path))

    def _sync(self, node: Node) -> None:
        node.sure_data, node.sure_mode = node.data, node.mode

    def _sync_directory(self, path: Path) -> None:
        if path.is_relative_to(self.folder):
            node = self.node(path)
            node.sure_names, node.sure_mode = dict(node.names), node.mode

    def _link(self, existing: Path, new: Path) -> None:
        self.node(new.parent).names[new.name] = self.node(existing)

    def _replace(self, source: Path, target: Path) -> None:
        self.node(target.parent).names[target.name] = self.node(source.parent).names.pop(source.name)

    def _unlink(self, path: Path) -> None:
        del self.node(path.parent).names[path.name]

    def _mkdir(self, path: Path, mode: int) -> None:
        self.node(path.parent).names[path.name] = Node("folder", mode)

    def _rmdir(self, path: Path) -> None:
        self._unlink(path)

    def _chmod(self, path: Path, mode: int) -> None:
        self.node(path).mode = mode

    def lay_out(self, chance: Callable[[Sequence[Any]], Any]) -> None:
        """Build a tree that a power cut could leave now, in a folder that does not exist.

        Args:
            chance: Chooses between what is sure, which comes first, what is seen, which comes last, and what
                lies between.
        """
        self._lay_out(self.root, self.folder, chance, {})

    def _lay_out(
        self, node: Node, path: Path, chance: Callable[[Sequence[Any]], Any], placed: dict[Node, Path]
    ) -> None:
        if node.kind == "link":
            path.symlink_to(node.data.decode())
        elif node.kind == "folder":
            path.mkdir()
            for name in sorted({*node.names, *node.sure_names}):
                child = chance([node.sure_names.get(name), node.names.get(name)])
                if child is not None:
                    self._lay_out(child, path / name, chance, placed)
            path.chmod(chance([node.sure_mode, node.mode]))
        elif node in placed:
            path.hardlink_to(placed[node])
        else:
            placed[node] = path
            path.write_bytes(self._content(node, chance))
            path.chmod(chance([node.sure_mode, node.mode]))

    def _content(self, node: Node, chance: Callable[[Sequence[Any]], Any]) -> bytes:
        sure, seen = node.sure_data, node.data
        if sure == seen:
            return seen
        half = (len(sure) + len(seen)) // 2
        zeros = seen[: len(sure)] + bytes(max(0, len(seen) - len(sure)))
        content: bytes = chance([sure, seen[:half], zeros, seen])
        return content


def worst(choices: Sequence[Any]) -> Any:
    """Only what was synced survives."""
    return choices[0]


def best(choices: Sequence[Any]) -> Any:
    """Everything survives, as after a kill."""
    return choices[-1]


def chances(seed: int) -> Callable[[Sequence[Any]], Any]:
    """Anything may survive, the same for the same seed."""
    return random.Random(seed).choice
