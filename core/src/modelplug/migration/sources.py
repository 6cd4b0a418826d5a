"""A source file as migration steps see it: text, with its encoding, byte-order mark and line ends kept."""

from __future__ import annotations

import io
import tokenize

from modelplug.errors import MigrationError
from modelplug.migration.account import Finding, Severity

__all__ = ["SourceEditor"]


class SourceEditor:
    """Changes one source file, through as many steps as it takes.

    Args:
        data: The bytes of the file.

    Raises:
        MigrationError: They are no text in the encoding the file declares.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        try:
            self._encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
            self.text = data.decode(self._encoding)
        except (SyntaxError, UnicodeDecodeError) as error:
            raise MigrationError(
                "the file is no source text",
                why=str(error),
                advice="Save it as UTF-8, or declare its encoding in the first line.",
            ) from error
        self._original = self.text
        self._step = ""
        self._findings: list[Finding] = []

    def begin_step(self, name: str) -> None:
        """Say which step the following findings belong to."""
        self._step = name

    def warn(self, message: str, line: int | None = None) -> None:
        """Say what is probably not as its owner thinks."""
        self._find(Severity.WARNING, message, line)

    def todo(self, message: str, line: int | None = None) -> None:
        """Say what a person must still do; the place was left as it was."""
        self._find(Severity.TODO, message, line)

    def note(self, message: str, line: int | None = None) -> None:
        """Say what is worth knowing."""
        self._find(Severity.NOTE, message, line)

    def _find(self, severity: Severity, message: str, line: int | None) -> None:
        self._findings.append(Finding(severity=severity, message=message, line=line, step=self._step))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was told, in order."""
        return tuple(self._findings)

    def render(self) -> bytes:
        """The bytes to write; the same ones if nothing changed."""
        return self._data if self.text == self._original else self.text.encode(self._encoding)
