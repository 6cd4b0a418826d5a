"""Renames files and folders as part of a transaction: forward, back, and from wherever a crash left them.

A rename keeps a thing's number on its device, so its state is told by where that number is found, and nothing
need be read, however large it is.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from modelplug.errors import TransactionError
from modelplug.migration.transactions import refusals
from modelplug.migration.transactions.changes import Move
from modelplug.migration.transactions.files import NO_LINKS, PRIVATE_FOLDER, Files
from modelplug.migration.transactions.operations import MoveStep, Now

__all__ = ["Mover", "choose_places", "identity_of", "prepare_moves"]

_FOLDER = "moved"


def identity_of(files: Files, path: Path) -> tuple[int, int] | None:
    """By what a file or folder is known again under another name; None if there is none.

    Args:
        files: How to look.
        path: The file or folder.
    """
    status = files.status(path)
    return None if status is None else (status.st_dev, status.st_ino)


def prepare_moves(files: Files, moves: Sequence[Move]) -> tuple[MoveStep, ...]:
    """Look at everything that is to be renamed.

    Args:
        files: How to look.
        moves: What to rename.

    Raises:
        StaleFileError: Something is gone, or a name is taken.
        TransactionError: Something asked for can't be done.
    """
    steps = []
    freed: set[Path] = set()
    for number, move in enumerate(moves):
        steps.append(_prepare(files, number, move, freed))
        freed.add(move.source.absolute())
    return tuple(steps)


def _prepare(files: Files, number: int, move: Move, freed: set[Path]) -> MoveStep:
    source = move.source.absolute()
    status = files.status(source)
    if status is None:
        raise refusals.gone(source)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise TransactionError(
            f"{source} can't be moved",
            path=source,
            why="it is neither a file nor a folder",
            advice="name what a link leads to",
        )
    target = None if move.target is None else move.target.absolute()
    if target is not None:
        if target not in freed and files.status(target) is not None:
            raise refusals.taken(target)
        parent = files.status(target.parent)
        if parent is None or parent.st_dev != status.st_dev:
            raise TransactionError(
                f"{source} can't be moved to {target}",
                path=target,
                why="that is no folder on the same file system",
                advice="name a place beside it",
            )
    return MoveStep(
        number=number,
        source=source,
        target=target,
        identity=(status.st_dev, status.st_ino),
        away=target is None,
        sha256=move.sha256,
    )


def choose_places(files: Files, folder: Path, steps: Iterable[MoveStep]) -> tuple[MoveStep, ...]:
    """Give everything that is put away a place, and make the folders for it.

    Args:
        files: How to make them.
        folder: The backup set.
        steps: What is renamed.

    Raises:
        OSError: A folder can't be made.
    """
    return tuple(step if step.target else _placed(files, folder, step) for step in steps)


def _placed(files: Files, folder: Path, step: MoveStep) -> MoveStep:
    if files.calls.status(folder).st_dev == step.identity[0]:
        place = folder / _FOLDER / str(step.number) / step.source.name
        files.sync_folders(new.parent for new in files.make_folders(place.parent, PRIVATE_FOLDER))
    else:
        place = step.source.with_name(f".modelplug-{folder.name}-{step.number}.away")
    return attrs.evolve(step, target=place)


class Mover:
    """The renames of one transaction, in either direction; each may be repeated after a crash.

    Args:
        files: How to rename.
        transaction_id: The transaction.
        steps: What is renamed.
    """

    def __init__(self, files: Files, transaction_id: str, steps: Sequence[MoveStep]) -> None:
        self._files = files
        self._id = transaction_id
        self.steps = steps

    def now(self, step: MoveStep) -> Now:
        """Whether a thing has its old name (perhaps besides the new one), its new one, or neither."""
        if self._is_at(step, step.source):
            return Now.OLD
        return Now.NEW if self._is_at(step, _target(step)) else Now.OTHER

    def _is_at(self, step: MoveStep, path: Path) -> bool:
        return identity_of(self._files, path) == step.identity

    def conflicts(self) -> list[Path]:
        """What is gone from both of its names."""
        return [step.path for step in self.steps if self.now(step) is Now.OTHER]

    def can_finish(self) -> bool:
        """Whether everything has its new name, or can get it."""
        freed: set[Path] = set()
        for step in self.steps:
            target = _target(step)
            is_free = target in freed or identity_of(self._files, target) in (None, step.identity)
            if self.now(step) is Now.OTHER or not is_free:
                return False
            freed.add(step.source)
        return True

    def forward(self) -> None:
        """Give everything its new name that has not got it yet.

        Raises:
            StaleFileError: Something is gone, or a name is taken by now.
            OSError: Something can't be renamed.
        """
        for step in self.steps:
            now = self.now(step)
            if now is Now.OTHER:
                raise refusals.gone(step.source, self._id)
            if now is Now.OLD and not self._rename(step, step.source, _target(step)):
                raise refusals.taken(_target(step), self._id)

    def back(self) -> list[Path]:
        """Give everything its old name that has not got it yet.

        Returns:
            What is gone from both of its names, or whose old name is taken.

        Raises:
            OSError: Something can't be renamed.
        """
        conflicts = []
        for step in reversed(self.steps):
            if self._is_at(step, _target(step)):
                if not self._rename(step, _target(step), step.source):
                    conflicts.append(step.path)
            elif not self._is_at(step, step.source):
                conflicts.append(step.path)
        return conflicts

    def _rename(self, step: MoveStep, source: Path, target: Path) -> bool:
        """Rename a thing so that a power cut leaves it with a name; says whether the new one was free."""
        if stat.S_ISREG(self._files.calls.status(source).st_mode):
            if not self._link(step, source, target):
                return False
        elif self._files.status(target) is None:
            self._files.calls.replace(source, target)
        else:
            return False
        self._files.sync_folders({source.parent, target.parent})
        return True

    def _link(self, step: MoveStep, source: Path, target: Path) -> bool:
        """Rename a file by way of having both names."""
        if not self._is_at(step, target):
            try:
                self._files.calls.link(source, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                if self._files.status(target) is not None:
                    return False
                self._files.calls.replace(source, target)
                return True
            self._files.sync_folders([target.parent])
        self._files.calls.unlink(source)
        return True

    def folders(self) -> set[Path]:
        """The folders in which names change."""
        return {path.parent for step in self.steps for path in (step.source, _target(step))}


def _target(step: MoveStep) -> Path:
    assert step.target is not None
    return step.target
