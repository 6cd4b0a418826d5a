"""A checkpoint as migration steps see it: they say what becomes of every tensor and value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelplug.migration.account import Account, Fate, Finding, KeyFate, Severity
from modelplug.migration.checkpoints.ledger import TensorFate, key_fate
from modelplug.migration.editing import UnaccountedKeysError

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.migration.checkpoints.build import Build
    from modelplug.migration.checkpoints.source import CheckpointSource, TensorData

__all__ = ["CheckpointEditor"]


class CheckpointEditor:
    """Takes a checkpoint through as many steps as it takes, and keeps the account.

    Every tensor and value of the source must get one fate, and no name in the result is given twice.

    Args:
        path: The file or folder that is migrated.
        source: What it holds.

    Attributes:
        path: The file or folder that is migrated.
        source: What it holds.
        build: What is to be written; a step says so.
    """

    def __init__(self, path: Path, source: CheckpointSource) -> None:
        self.path = path
        self.source = source
        self.build: Build | None = None
        self._chain: list[str] = []
        self._findings: list[Finding] = []
        self._tensors: dict[str, TensorFate] = {}
        self._added: list[TensorFate] = []
        self._values: dict[str, KeyFate] = {}
        self._added_values: list[str] = []
        self._targets: set[str] = set()

    @property
    def content(self) -> Any:
        """What the checkpoint holds, in the family's own terms."""
        return self.source.content

    # Tensors ------------------------------------------------------------------------------------------

    def move(self, origin: str, target: str, *, why: str = "") -> TensorData:
        """Let a tensor keep its values under a name.

        Args:
            origin: Its name in the source.
            target: Its name in the result.
            why: The reason, for the account.

        Returns:
            The tensor.
        """
        tensor = self.source.tensors[origin]
        self._fate(TensorFate(kind="moved", origin=origin, target=target, why=why, tensor=tensor))
        return tensor

    def transform(self, origin: str, target: str, tensor: TensorData, *, how: str) -> None:
        """Let another tensor take the place of one.

        Args:
            origin: Its name in the source.
            target: The other one's name in the result.
            tensor: The other one.
            how: How it comes of it.
        """
        self._fate(TensorFate(kind="transformed", origin=origin, target=target, why=how, tensor=tensor))

    def inline(self, origin: str, target: str, *, how: str) -> None:
        """Let the values of a small tensor stand in a text of the result.

        Args:
            origin: Its name in the source.
            target: The place in the text.
            how: How they are written there.
        """
        self._fate(TensorFate(kind="inlined", origin=origin, target=target, why=how))

    def drop(self, origin: str, *, why: str) -> None:
        """Leave a tensor out.

        Args:
            origin: Its name in the source.
            why: The reason.
        """
        self._fate(TensorFate(kind="dropped", origin=origin, why=why))

    def add(self, target: str, tensor: TensorData, *, why: str) -> None:
        """Add a tensor that there was not.

        Args:
            target: Its name in the result.
            tensor: The tensor.
            why: What it is for.
        """
        self._claim(target)
        self._added.append(TensorFate(kind="added", target=target, why=why, tensor=tensor))

    def _fate(self, fate: TensorFate) -> None:
        if fate.origin not in self.source.tensors or fate.origin in self._tensors:
            raise ValueError(f"{fate.origin} is no tensor of the source, or has its fate already")
        if not fate.why and fate.kind != "moved":
            raise ValueError(f"nothing says why {fate.origin} is {fate.kind}")
        if fate.tensor is not None:
            self._claim(fate.target)
        self._tensors[fate.origin] = fate

    def _claim(self, target: str) -> None:
        if target in self._targets:
            raise ValueError(f"two tensors would be called {target}")
        self._targets.add(target)

    @property
    def fates(self) -> tuple[TensorFate, ...]:
        """What becomes of every tensor, in the order of the source, and those that are added."""
        known = [self._tensors[origin] for origin in self.source.tensors if origin in self._tensors]
        return (*known, *self._added)

    # Values -------------------------------------------------------------------------------------------

    def carry(self, origin: str, target: str, *, why: str = "", extra: bool = False) -> None:
        """Say where a value is now.

        Args:
            origin: Its name in the source.
            target: Where it is in the result.
            why: The reason, for the account.
            extra: Whether it is only kept there, and nothing uses it.
        """
        fate = Fate.EXTRAS if extra else Fate.KEPT if origin == target and not why else Fate.MAPPED
        self._values[origin] = KeyFate(key=origin, fate=fate, target=target, why=why)

    def leave_out(self, origin: str, *, why: str) -> None:
        """Say that a value is gone, and why."""
        self._values[origin] = KeyFate(key=origin, fate=Fate.DROPPED, why=why)

    def introduce(self, target: str) -> None:
        """Say that there is a value now that there was not."""
        self._added_values.append(target)

    # Telling ------------------------------------------------------------------------------------------

    def begin_step(self, name: str) -> None:
        """Say which step the following changes belong to."""
        self._chain.append(name)

    @property
    def chain(self) -> tuple[str, ...]:
        """The steps it has gone through, the present one included."""
        return tuple(self._chain)

    def error(self, message: str, key: str = "") -> None:
        """Say what makes it impossible to migrate this checkpoint; nothing will be written."""
        self._find(Severity.ERROR, message, key)

    def warn(self, message: str, key: str = "") -> None:
        """Say what is probably not as its owner thinks."""
        self._find(Severity.WARNING, message, key)

    def todo(self, message: str, key: str = "") -> None:
        """Say what a person must still do."""
        self._find(Severity.TODO, message, key)

    def note(self, message: str, key: str = "") -> None:
        """Say what is worth knowing."""
        self._find(Severity.NOTE, message, key)

    def _find(self, severity: Severity, message: str, key: str) -> None:
        step = self._chain[-1] if self._chain else ""
        finding = Finding(severity=severity, message=message, key=key, step=step)
        if finding not in self._findings:
            self._findings.append(finding)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was told, in order."""
        return tuple(self._findings)

    @property
    def is_refused(self) -> bool:
        """Whether an error was told."""
        return any(finding.severity is Severity.ERROR for finding in self._findings)

    def account(self) -> Account:
        """What becomes of every tensor and value.

        Raises:
            UnaccountedKeysError: A step said nothing of some.
        """
        missing = [name for name in self.source.tensors if name not in self._tensors]
        missing += [name for name in self.source.values if name not in self._values]
        if missing:
            raise UnaccountedKeysError(tuple(missing))
        keys = [key_fate(self._tensors[name]) for name in self.source.tensors]
        keys += [self._values[name] for name in self.source.values]
        added = [fate.target for fate in self._added]
        return Account(keys=tuple(keys), added=(*added, *self._added_values))
