"""Keeps automatic selection from starting again and again an engine that keeps dying on a model."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

__all__ = ["Cooldown"]

CRASHES: Final = 3
MEMORY_SECONDS: Final = 3600.0
FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 300.0


class Cooldown:
    """Remembers when an engine's process died on which model, across runs of the program.

    After three deaths within an hour the pair is left alone for ten seconds, and for twice as long after
    each further one, up to five minutes. A request that succeeds wipes the slate.

    Args:
        path: A JSON file in the cache directory. If it can't be read or written, nothing is remembered.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def remaining(self, backend: str, fingerprint: str, *, now: float | None = None) -> float:
        """Seconds until the backend may be tried on the model again; 0 if it may be now."""
        moment = time.time() if now is None else now
        crashes = self._recent(self._read(), backend, fingerprint, moment)
        if len(crashes) < CRASHES:
            return 0.0
        pause = min(FIRST_PAUSE * 2.0 ** (len(crashes) - CRASHES), LONGEST_PAUSE)
        return max(0.0, crashes[-1] + pause - moment)

    def crashed(self, backend: str, fingerprint: str, *, now: float | None = None) -> None:
        """Remember that the backend's process died on the model."""
        moment = time.time() if now is None else now
        table = self._read()
        crashes = [*self._recent(table, backend, fingerprint, moment), moment]
        table[_key(backend, fingerprint)] = crashes[-16:]
        self._write({key: times for key, times in table.items() if times[-1] > moment - MEMORY_SECONDS})

    def worked(self, backend: str, fingerprint: str) -> None:
        """Forget the pair's deaths, because it has just worked."""
        table = self._read()
        if table.pop(_key(backend, fingerprint), None) is not None:
            self._write(table)

    def _recent(
        self, table: dict[str, list[float]], backend: str, fingerprint: str, now: float
    ) -> list[float]:
        return [t for t in table.get(_key(backend, fingerprint), []) if now - MEMORY_SECONDS < t <= now]

    def _read(self) -> dict[str, list[float]]:
        try:
            table: Any = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(table, dict):
            return {}
        return {key: times for key, times in table.items() if _is_times(times)}

    def _write(self, table: dict[str, list[float]]) -> None:
        from modelplug.atomic import write_atomically

        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, json.dumps(table))
        except OSError:
            # A cache that can't be written costs a few needless attempts and nothing else.
            return


def _key(backend: str, fingerprint: str) -> str:
    return f"{backend} {fingerprint}"


def _is_times(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(t, (int, float)) for t in value)
