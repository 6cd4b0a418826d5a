"""What the tree has to ask a format: which values it can hold, and which edits it forbids."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from modelplug.documents.errors import TreeError

if TYPE_CHECKING:
    from modelplug.documents.nodes import Entry, Node, Path

__all__ = ["Dialect"]


class Dialect:
    """The rules of a format, as far as the tree has to obey them; this base forbids what none can hold.

    Attributes:
        name: What the format is called in messages.
        scalars: The types of scalars it has, besides text, whole numbers, decimal numbers and truth values.
        not_finite: Whether it can hold infinity and not-a-number.
        other_keys: Whether keys may be something else than text.
        half_pairs: Whether text may hold half of a surrogate pair.
    """

    name: str = ""
    scalars: tuple[type, ...] = ()
    not_finite: bool = False
    other_keys: bool = False
    half_pairs: bool = False

    def normal(self, value: Any, path: Path) -> Any:
        """The value in the types the tree holds: exactly `dict`, `list`, `str`, `bool`, `int`, `float`, ...

        Raises:
            TreeError: The format can't hold it.
        """
        if isinstance(value, dict):
            return {self.normal_key(key, path): self.normal(item, path) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.normal(item, path) for item in value]
        if value is True or value is False:
            return value
        if isinstance(value, str):
            return self._unicode(value, path)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            if not self.not_finite and not math.isfinite(value):
                reason = f"{self.name} can't hold {value!r}"
                raise TreeError(reason, path)
            return float(value)
        if isinstance(value, self.scalars):
            return value
        what = "None" if value is None else f"a value of type {type(value).__name__}"
        reason = f"{self.name} can't hold {what}"
        raise TreeError(reason, path)

    def normal_key(self, key: Any, path: Path) -> Any:
        """The key in the types the tree holds.

        Raises:
            TreeError: The format can't hold it.
        """
        if isinstance(key, str):
            return self._unicode(key, path)
        if self.other_keys and (key is None or isinstance(key, (bool, int, float, *self.scalars))):
            return key
        reason = f"{self.name} can't hold the key {key!r}"
        raise TreeError(reason, path)

    def _unicode(self, text: str, path: Path) -> str:
        """The text as nothing more than text."""
        if not self.half_pairs and any("\ud800" <= character <= "\udfff" for character in text):
            reason = f"{self.name} can't hold the text {text!r}, which is not Unicode"
            raise TreeError(reason, path)
        return str.__str__(text)  # of an enumeration, `str` would give its name

    def name_of(self, key: Any) -> str:
        """The name under which the tree lists a key."""
        return str(key)

    def allow_change(self, node: Node, path: Path) -> None:
        """Raise TreeError if what `node` holds must stay as it is: its entries, or the scalar itself."""

    def allow_rename(self, entry: Entry, path: Path) -> None:
        """Raise TreeError if the key of the entry must stay as it is."""

    def allow_departure(self, entry: Entry, path: Path) -> None:
        """Raise TreeError if the entry must stay in the document."""

    def allow_move(self, entry: Entry, to: Node, path: Path) -> None:
        """Raise TreeError if the entry must not go to the end of the mapping `to`."""
