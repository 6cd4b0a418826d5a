"""Keeps a log of what happened, as JSON lines in a file, and tells people of warnings on standard error.

Nothing is set up before the first event: a program that logs nothing pays nothing. Every event passes the
same redaction that bug reports do.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelplug.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from pathlib import Path

__all__ = ["LOG_NAME", "MIGRATION_LOG_NAME", "Logger", "get_logger"]

LOG_NAME = "modelplug.log"
MIGRATION_LOG_NAME = "migration.log"
MAX_BYTES = 1_000_000
KEPT_FILES = 3


def get_logger(name: str, *, paths: Paths | None = None, quiet: bool = False, file: str = LOG_NAME) -> Logger:
    """A logger whose events carry `name`; costs nothing until it is used.

    Args:
        name: The part of the program that speaks, for example `config`.
        paths: Where the log is kept; None asks the environment at the first event.
        quiet: Whether warnings go to the file only, and not to standard error too.
        file: The name of the log file.
    """
    return Logger(name, paths=paths, quiet=quiet, file=file)


class Logger:
    """Writes events to the log file, and those of level warning and error to standard error as well.

    An event is a sentence and any number of fields: `log.warning("the worker was stopped", seconds=5)`.
    Logging never fails: where no file can be written, that is said once, on standard error.
    """

    def __init__(
        self, name: str, *, paths: Paths | None = None, quiet: bool = False, file: str = LOG_NAME
    ) -> None:
        self._name = name
        self._paths = paths
        self._quiet = quiet
        self._file = file

    def debug(self, event: str, **fields: object) -> None:
        """Record a detail."""
        self._logger.debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        """Record something that happened as it should."""
        self._logger.info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        """Record something a person should know, and tell them."""
        self._logger.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        """Record a failure, and tell the person."""
        self._logger.error(event, **fields)

    @cached_property
    def _logger(self) -> Any:
        # structlog brings rich and asyncio along: it is imported by the first event.
        import structlog

        paths = self._paths or Paths.from_environment()
        sink = _Sink(paths.logs / self._file, quiet=self._quiet)
        wrapped = structlog.wrap_logger(
            sink,
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                _redacted,
                _as_one_argument,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(0),
            context_class=dict,
        )
        return wrapped.bind(logger=self._name, process=os.getpid())


def _redacted(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    from modelplug.system.redact import redact

    safe = redact(dict(event))
    return safe if isinstance(safe, dict) else event


def _as_one_argument(
    _logger: object, _method: str, event: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (dict(event),), {}


class _Sink:
    """The end of the line: one file, and standard error."""

    complained: set[str] = set()  # noqa: RUF012  once per process and file is enough

    def __init__(self, path: Path, *, quiet: bool) -> None:
        self._path = path
        self._quiet = quiet

    def debug(self, event: dict[str, Any]) -> None:
        self._write(event)

    def info(self, event: dict[str, Any]) -> None:
        self._write(event)

    def warning(self, event: dict[str, Any]) -> None:
        self._write(event)
        self._tell(event)

    def error(self, event: dict[str, Any]) -> None:
        self._write(event)
        self._tell(event)

    def _tell(self, event: dict[str, Any]) -> None:
        if self._quiet:
            return
        hidden = ("event", "level", "timestamp", "logger", "process")
        fields = ", ".join(f"{key}={value}" for key, value in event.items() if key not in hidden)
        _say(f"{event['level']}: {event['event']}" + (f" ({fields})" if fields else ""))

    def _write(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, ensure_ascii=False, default=str) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._rotate()
            # One write to a file opened for appending: lines of several processes do not mix.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line.encode("utf-8", "backslashreplace"))
            finally:
                os.close(descriptor)
        except OSError as error:
            if str(self._path) not in self.complained:
                self.complained.add(str(self._path))
                _say(f"warning: no log is kept in {self._path}: {error.strerror or error}")

    def _rotate(self) -> None:
        if not self._full():
            return
        import filelock

        # Whoever finds the lock taken leaves the work to its holder; the file grows by a line or two.
        lock = filelock.FileLock(f"{self._path}.lock", blocking=False)
        with contextlib.suppress(filelock.Timeout), lock:
            if self._full():
                for number in range(KEPT_FILES - 1, 0, -1):
                    older = self._path.with_name(f"{self._path.name}.{number}")
                    ending = f".{number - 1}" if number > 1 else ""
                    newer = self._path.with_name(self._path.name + ending)
                    if newer.exists():
                        newer.replace(older)

    def _full(self) -> bool:
        try:
            return self._path.stat().st_size >= MAX_BYTES
        except FileNotFoundError:
            return False


def _say(text: str) -> None:
    # Standard error may be closed, or a pipe whose reader has gone: a message that nobody reads is no fault.
    with contextlib.suppress(OSError, ValueError):
        print(f"modelplug: {text}", file=sys.stderr)
