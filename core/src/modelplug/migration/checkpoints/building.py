"""Carries a build out: aside, in a folder of its own, so that the result appears complete or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import stat
import uuid
from typing import TYPE_CHECKING

import attrs

from modelplug.errors import MigrationError, StaleFileError
from modelplug.formats.fingerprint import FingerprintBuilder
from modelplug.formats.source import ByteSource
from modelplug.migration.checkpoints.build import BuildPlan, Receipt, SourceState
from modelplug.migration.checkpoints.writing import NotWrittenError, write_build
from modelplug.migration.transactions import Move

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from modelplug.migration.checkpoints.build import Build
    from modelplug.migration.checkpoints.editor import CheckpointEditor

__all__ = ["Building", "plan_build", "refuse_changed"]

_STAGING = ".modelplug-building-"
_OPEN_TO_OTHERS = 0o077
# Headers, JSON files and the like, whose sizes are not known before.
_SLACK = 64 << 20


def plan_build(build: Build, sources: Iterable[Path]) -> BuildPlan:
    """A build as a plan shows and saves it.

    Args:
        build: The build.
        sources: The files it is made from.

    Raises:
        MigrationError: There is something already where it is to be put.
        OSError: A file can't be looked at.
    """
    if os.path.lexists(build.path) and build.path not in build.replaces:
        raise MigrationError(
            f"there is already a {build.path.name} in {build.path.parent}",
            why="the migrated checkpoint would get that name, and nothing is ever overwritten",
            advice=f"Rename {build.path}, or move the checkpoint to another folder.",
        )
    return BuildPlan(
        path=build.path,
        is_file=build.is_file,
        replaces=build.replaces,
        files={file.name: file.size for file in build.files},
        sources=tuple(_state_of(path) for path in sources),
    )


def _state_of(path: Path) -> SourceState:
    status = path.stat()
    with ByteSource(path) as source:
        builder = FingerprintBuilder()
        builder.add(source, 0)
    return SourceState(
        path=path, size=status.st_size, mtime_ns=status.st_mtime_ns, fingerprint=builder.result()
    )


def refuse_changed(plan: BuildPlan) -> None:
    """Make sure that the files a build is made from are those it was planned for.

    Args:
        plan: The build.

    Raises:
        StaleFileError: One has changed, or is gone.
    """
    for known in plan.sources:
        try:
            now: SourceState | None = _state_of(known.path)
        except (OSError, MigrationError):
            now = None
        if now == known:
            continue
        raise StaleFileError(
            f"{known.path} {'is gone' if now is None else 'has changed since the plan was made'}",
            stale={known.path: (None, None)},
            why="its size, its time or its content is another; nothing was touched",
            advice="plan again, and apply the new plan",
        )


@attrs.define
class Building:
    """A result in the making; leaving the context removes it unless it was put in place.

    Args:
        plan: What is made.

    Attributes:
        plan: What is made.
        receipt: The hashes of all that was read and written; None before.
    """

    plan: BuildPlan
    receipt: Receipt | None = None
    _staging: Path | None = attrs.field(init=False, default=None)

    def __enter__(self) -> Building:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)

    @property
    def result(self) -> Path:
        """The result, under its final name, in the folder where it is made."""
        assert self._staging is not None
        return self._staging / self.plan.path.name

    def write(self, editor: CheckpointEditor, *, each_tensor: bool) -> Receipt:
        """Write the result aside, and read it again.

        Args:
            editor: What the steps made of the checkpoint.
            each_tensor: Whether every tensor is hashed, not only the files.

        Raises:
            MigrationError: It can't be written, or does not read back.
            OSError: The source can't be read.
        """
        assert editor.build is not None
        parent = self.plan.path.parent
        _remove_leftovers(parent)
        self._refuse_full_disk(editor.build.size)
        self._staging = parent / f"{_STAGING}{_host()}-{os.getpid()}-{uuid.uuid4().hex}"
        is_private = not any(_mode_of(path) & _OPEN_TO_OTHERS for path in self.plan.replaces)
        mode = 0o600 if is_private else 0o666
        folder = self._staging if self.plan.is_file else self.result
        try:
            self._staging.mkdir(0o700)
            if not self.plan.is_file:
                folder.mkdir(0o700 if is_private else 0o777)
            self.receipt = write_build(
                editor.build, editor.fates, editor.source, folder, mode, each_tensor=each_tensor
            )
            _sync_folders(self._staging)
        except OSError as error:
            raise MigrationError(
                f"{self.plan.path.name} could not be written",
                why=f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""),
                advice="Check the disk that holds the checkpoint"
                + ("." if isinstance(error, NotWrittenError) else ", and its free space."),
            ) from error
        return self.receipt

    def _refuse_full_disk(self, needed: int) -> None:
        free = shutil.disk_usage(self.plan.path.parent).free
        if free < needed + _SLACK:
            raise MigrationError(
                f"there is no room for {self.plan.path.name}",
                why=f"it takes {(needed + _SLACK) / 1e9:.1f} GB beside the old checkpoint, and there are "
                f"{free / 1e9:.1f} GB",
                advice="Free some space, or move the checkpoint to a larger disk.",
            )

    def moves(self) -> list[Move]:
        """What puts the result in place, and away what it takes the place of."""
        assert self.receipt is not None
        known = self.receipt.sources
        away = [
            Move(path, sha256=known[path].sha256 if path in known else None) for path in self.plan.replaces
        ]
        place = Move(self.result, self.plan.path)
        return [*away, place] if self.plan.path in self.plan.replaces else [place, *away]


def _mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _remove_leftovers(parent: Path) -> None:
    """Remove what processes of this machine that are no more had begun to write here."""
    import psutil

    for entry in parent.glob(f"{_STAGING}{_host()}-*"):
        found = re.fullmatch(r".*-(\d+)-[0-9a-f]{32}", entry.name)
        if found is not None and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(entry, ignore_errors=True)


def _sync_folders(top: Path) -> None:
    """Make the names in a folder, and in those in it, survive a power cut, where folders can be opened."""
    if os.name == "nt":
        return
    for folder, _, _ in os.walk(top, topdown=False):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            # Some network file systems refuse this; the content itself is safe by then.
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
