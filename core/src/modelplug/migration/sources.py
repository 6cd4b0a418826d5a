"""A source file as migration steps see it: text, with its encoding, byte-order mark and line ends kept."""

from __future__ import annotations

import codecs
import io
import tokenize

from modelplug.migration.account import Finding, Severity

__all__ = ["SourceEditor"]


class SourceEditor:
    """Changes one source file, through as many steps as it takes.

    A file that is no text in the encoding it should have is told, and stays as it is: its `text` is empty.

    Args:
        data: The bytes of the file.
        declared: Whether the first lines may declare an encoding, as those of Python files do; any other text
            is UTF-8.

    Attributes:
        text: The text, which steps change.
    """

    def __init__(self, data: bytes, *, declared: bool = True) -> None:
        self._data = data
        self._step = ""
        self._findings: list[Finding] = []
        self._encoding = "utf-8"
        self._readable = True
        self.text = ""
        try:
            self._encoding = _encoding_of(data, declared=declared)
            self.text = data.decode(self._encoding)
        except (SyntaxError, UnicodeDecodeError) as error:
            self._readable = False
            reason, line = _reason(data, error)
            self.todo(f"this is no source text, and stays as it is: {reason}", line)
        self._original = self.text

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
        if not self._readable or self.text == self._original:
            return self._data
        return self.text.encode(self._encoding)


def _encoding_of(data: bytes, *, declared: bool) -> str:
    if declared:
        return tokenize.detect_encoding(io.BytesIO(data).readline)[0]
    return "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-8"


def _reason(data: bytes, error: SyntaxError | UnicodeDecodeError) -> tuple[str, int]:
    """Why bytes are no text of the encoding they should have, and the line that says so."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "it is UTF-16; save it as UTF-8", 1
    if isinstance(error, SyntaxError):
        try:
            data.decode()
        except UnicodeDecodeError as found:
            error = found
    if isinstance(error, UnicodeDecodeError):
        line = data.count(b"\n", 0, error.start) + 1
        return f"byte {error.start} belongs to no {error.encoding.upper()} character", line
    return str(error), 1
