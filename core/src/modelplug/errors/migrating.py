"""Errors of migrations and of the transactions under them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelplug.errors.base import EXIT_INTERRUPTED, EXIT_USAGE, ModelplugError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "AmbiguousKindError",
    "BackupDamagedError",
    "FutureVersionError",
    "LockedError",
    "MigrationError",
    "MigrationLoopError",
    "NoMigrationPathError",
    "RecoveryConflictError",
    "RecoveryNeededError",
    "StaleFileError",
    "StepFailedError",
    "TransactionError",
    "TransactionInterruptedError",
    "UnknownArtifactError",
    "UnknownFamilyError",
]


class MigrationError(ModelplugError):
    """A migration can't be planned, applied or undone."""


class UnknownFamilyError(MigrationError):
    """A migration family was named that no installed plugin brings.

    Attributes:
        family: The name given.
        known: The names there are.
    """

    exit_code = EXIT_USAGE

    def __init__(
        self, what: str, *, family: str, known: Iterable[str] = (), near: Iterable[str] = ()
    ) -> None:
        self.family = family
        self.known = tuple(known)
        nearest = next(iter(near), "")
        why = f"there are {', '.join(self.known)}" if self.known else "no installed plugin brings any"
        advice = f"Name {nearest}." if nearest else "`modelplug migrate status` lists the families."
        if not self.known:
            advice = "Install a plugin that does: `pip install modelplug-migrators`."
        super().__init__(what, why=why, advice=advice, family=family, known=self.known)


class NoMigrationPathError(MigrationError):
    """No steps lead from one version to another.

    Attributes:
        family: The family.
        kind: What was to be migrated.
        source: The version there is.
        target: The version wanted.
    """

    def __init__(self, what: str, *, family: str, kind: str, source: str, target: str, why: str) -> None:
        self.family = family
        self.kind = kind
        self.source = source
        self.target = target
        super().__init__(
            what,
            why=why,
            advice=f"`modelplug migrate explain {family}` shows every step there is.",
            family=family,
            kind=kind,
            source=source,
            target=target,
        )


class FutureVersionError(MigrationError):
    """Something was written by a later program than this one knows.

    Attributes:
        family: The family.
        version: The version found.
        newest: The newest version known.
    """

    def __init__(self, what: str, *, family: str, version: str, newest: str) -> None:
        self.family = family
        self.version = version
        self.newest = newest
        super().__init__(
            what,
            why=f"the newest known is {newest}, and reading a later one by its rules could lose something",
            advice="Upgrade modelplug and its plugins, then try again.",
            family=family,
            version=version,
            newest=newest,
        )


class MigrationLoopError(MigrationError):
    """The steps of a family lead in a circle: a fault of the plugin that brings them.

    Attributes:
        family: The family.
        kind: The kind of artifact.
        versions: The versions on the circle, the first one again at the end.
    """

    def __init__(self, what: str, *, family: str, kind: str, versions: Iterable[str]) -> None:
        self.family = family
        self.kind = kind
        self.versions = tuple(versions)
        super().__init__(
            what,
            why=" -> ".join(self.versions),
            advice="Report it to the authors of the plugin (`modelplug plugins list`).",
            family=family,
            kind=kind,
            versions=self.versions,
        )


class AmbiguousKindError(MigrationError):
    """It is not clear what something is; more than one reading is equally good.

    Attributes:
        family: The family; empty if that is what is not clear.
        kinds: The readings, in words.
    """

    def __init__(
        self, what: str, *, family: str = "", kinds: Iterable[str] = (), why: str = "", advice: str = ""
    ) -> None:
        self.family = family
        self.kinds = tuple(kinds)
        super().__init__(
            what,
            why=why,
            advice=advice or "Say which with --kind (and --family, --from).",
            family=family,
            kinds=self.kinds,
        )


class UnknownArtifactError(MigrationError):
    """A file or folder belongs to no known family.

    Attributes:
        path: What was looked at.
    """

    def __init__(self, what: str, *, path: Path, why: str = "", advice: str = "") -> None:
        self.path = path
        super().__init__(what, why=why, advice=advice, path=path)


class StepFailedError(MigrationError):
    """A step failed on a file, or left a key without saying what became of it.

    Attributes:
        path: The file.
        step: The step, as `family source -> target`.
        plugin: The module that brings it.
    """

    def __init__(
        self, what: str, *, path: Path, step: str, plugin: str = "", why: str = "", advice: str = ""
    ) -> None:
        self.path = path
        self.step = step
        self.plugin = plugin
        super().__init__(what, why=why, advice=advice, path=path, step=step, plugin=plugin)


class TransactionError(MigrationError):
    """A change to several files could not be made; unless the text says otherwise, all are as they were.

    Attributes:
        transaction_id: The transaction; empty if none was begun.
        path: The file at fault, where it is one.
    """

    def __init__(
        self,
        what: str,
        *,
        transaction_id: str = "",
        path: Path | None = None,
        why: str = "",
        advice: str = "",
        **data: object,
    ) -> None:
        self.transaction_id = transaction_id
        self.path = path
        super().__init__(what, why=why, advice=advice, transaction_id=transaction_id, path=path, **data)


class TransactionInterruptedError(TransactionError):
    """A person stopped a transaction; what it had done was undone."""

    exit_code = EXIT_INTERRUPTED


class StaleFileError(TransactionError):
    """A file is not what it was when the change was planned, or applied.

    Attributes:
        stale: File -> the SHA-256 expected and the one found, in hexadecimal; None stands for "no file".
    """

    def __init__(
        self,
        what: str,
        *,
        stale: Mapping[Path, tuple[str | None, str | None]],
        transaction_id: str = "",
        why: str = "",
        advice: str = "",
    ) -> None:
        self.stale = dict(stale)
        super().__init__(
            what,
            transaction_id=transaction_id,
            path=next(iter(self.stale), None),
            why=why,
            advice=advice,
            stale=self.stale,
        )


class BackupDamagedError(TransactionError):
    """A backup set can't be trusted: something in it is missing, unreadable or not what was stored.

    Attributes:
        damage: What is wrong, one sentence for each item.
    """

    def __init__(self, what: str, *, damage: Iterable[str] = (), **rest: Any) -> None:
        self.damage = tuple(damage)
        super().__init__(what, damage=self.damage, **rest)


class RecoveryNeededError(TransactionError):
    """A transaction was begun and never ended; it must be finished or undone before anything else.

    Attributes:
        transaction_ids: The unfinished transactions, newest first.
    """

    def __init__(self, what: str, *, transaction_ids: Iterable[str], **rest: Any) -> None:
        self.transaction_ids = tuple(transaction_ids)
        super().__init__(what, transaction_ids=self.transaction_ids, **rest)


class RecoveryConflictError(TransactionError):
    """Files of an unfinished transaction were edited since, and are neither the old nor the new version.

    Attributes:
        conflicts: Those files.
    """

    def __init__(self, what: str, *, conflicts: Iterable[Path], **rest: Any) -> None:
        self.conflicts = tuple(conflicts)
        super().__init__(what, conflicts=self.conflicts, **rest)


class LockedError(TransactionError):
    """Another process is in the middle of a transaction.

    Attributes:
        holder: Its process id; None if unknown.
        seconds: How long was waited.
    """

    def __init__(self, what: str, *, holder: int | None, seconds: float, **rest: Any) -> None:
        self.holder = holder
        self.seconds = seconds
        super().__init__(what, holder=holder, seconds=seconds, **rest)
