"""Finds out, in a child process, whether importing a plugin is safe at all, and remembers the answer.

A `try` around an import contains an exception; it contains neither a hang nor a crash of native code. So the
first contact with a plugin takes place in a child process with a deadline. That costs a tenth of a second,
which is why the answer is kept: as long as the plugin's distribution, version, file and the environment
around it are unchanged, it is imported here directly. `guard.py` still watches that import, for a plugin that
hangs only sometimes.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.plugins.files import read_object, write_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modelplug.plugins.discovery import Candidate

__all__ = ["Verdict", "VerdictCache", "module_file", "probe"]

SAFE, HUNG, CRASHED = "safe", "hung", "crashed"
# An unsafe plugin may hang for a reason outside itself, so it gets another chance after a day.
UNSAFE_LASTS = 24 * 3600.0
MAX_REMEMBERED = 500


@attrs.frozen(kw_only=True)
class Verdict:
    """Whether a plugin can be imported without hanging or crashing.

    Attributes:
        outcome: `safe` (it may still raise), `hung` or `crashed`.
        cause: What happened; empty if it is safe.
        traceback: Where it was at that moment; empty if it is safe.
    """

    outcome: str = SAFE
    cause: str = ""
    traceback: str = ""

    @property
    def safe(self) -> bool:
        """Whether it may be imported in this process."""
        return self.outcome == SAFE


def module_file(module: str) -> Path | None:
    """The file a module would be loaded from, found without importing it or its packages; None if unclear."""
    top, *rest = module.partition(":")[0].strip().split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin and spec.has_location else None
    for location in spec.submodule_search_locations or ():
        base = Path(location, *rest)
        for file in (base.parent / f"{base.name}.py", base / "__init__.py"):
            if file.is_file():
                return file
    return None


def _stamp(path: str | Path | None) -> list[int]:
    if not path:
        return []
    try:
        status = Path(path).stat()
    except OSError:
        return []
    return [status.st_mtime_ns, status.st_size]


def fingerprint(candidate: Candidate) -> list[Any]:
    """Changes whenever the plugin, the interpreter, or what is installed beside the plugin changes."""
    record = candidate.record
    file = module_file(record.module)
    return [
        sys.version,
        record.distribution,
        record.version,
        record.module,
        str(file or ""),
        _stamp(file),
        # Installing or removing anything touches the directory: a dependency may have changed.
        _stamp(candidate.directory)[:1],
    ]


class VerdictCache:
    """The verdicts of earlier runs.

    Args:
        path: The file they are kept in.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._verdicts: dict[str, dict[str, Any]] | None = None

    def get(self, candidate: Candidate) -> Verdict | None:
        """The verdict on this very plugin in this very environment, if there is one that still holds."""
        entry = self._load().get(_key(candidate))
        if entry is None or entry.get("fingerprint") != fingerprint(candidate):
            return None
        outcome = entry.get("outcome")
        checked = entry.get("checked")
        if outcome == SAFE:
            return Verdict()
        if outcome not in (HUNG, CRASHED) or not isinstance(checked, (int, float)):
            return None
        if not 0 <= time.time() - checked < UNSAFE_LASTS:
            return None
        return Verdict(
            outcome=outcome, cause=str(entry.get("cause", "")), traceback=str(entry.get("traceback", ""))
        )

    def put(self, verdicts: Iterable[tuple[Candidate, Verdict]]) -> None:
        """Remember verdicts. Without a writable cache they are found out each time, which only costs time."""
        self._verdicts = None
        known = self._load()
        for candidate, verdict in verdicts:
            entry = attrs.asdict(verdict)
            entry.update(fingerprint=fingerprint(candidate), checked=time.time())
            known[_key(candidate)] = entry
        self._store(known)

    def forget(self, candidate: Candidate) -> None:
        """Find out anew at the next opportunity."""
        known = self._load()
        if known.pop(_key(candidate), None) is not None:
            self._store(known)

    def _load(self) -> dict[str, dict[str, Any]]:
        if self._verdicts is None:
            stored = read_object(self._path)[0].get("verdicts")
            entries = stored if isinstance(stored, dict) else {}
            self._verdicts = {key: entry for key, entry in entries.items() if isinstance(entry, dict)}
        return self._verdicts

    def _store(self, known: dict[str, dict[str, Any]]) -> None:
        newest = sorted(known.items(), key=lambda item: str(item[1].get("checked", "")))[-MAX_REMEMBERED:]
        self._verdicts = dict(newest)
        try:
            write_object(self._path, {"version": 1, "verdicts": self._verdicts})
        except OSError:
            # A read-only or full disk is no reason not to run; see `put`.
            return


def _key(candidate: Candidate) -> str:
    return f"{sys.prefix}|{candidate.record.name}"


def probe(
    candidates: Iterable[Candidate], *, deadline: float, environ: Mapping[str, str] | None = None
) -> dict[str, Verdict]:
    """Import plugins in a child process: name -> verdict.

    A plugin that hangs or crashes ends the child; a new one goes on with the plugins after it. A plugin is
    missing in the result if no child could be started.

    Args:
        candidates: The plugins.
        deadline: Seconds each import may take.
        environ: The child's environment; this process's own if None.
    """
    waiting = {candidate.record.name: _module(candidate) for candidate in candidates}
    verdicts: dict[str, Verdict] = {}
    while waiting:
        ended, culprit = _probe_some(waiting, deadline, environ)
        verdicts.update((name, Verdict()) for name in ended)
        verdicts.update(culprit)
        if not ended and not culprit:
            break
        waiting = {name: module for name, module in waiting.items() if name not in verdicts}
    return verdicts


def _module(candidate: Candidate) -> str:
    return candidate.record.module.partition(":")[0].strip()


def _probe_some(
    waiting: Mapping[str, str], deadline: float, environ: Mapping[str, str] | None
) -> tuple[list[str], dict[str, Verdict]]:
    from modelplug.system.child import run_child

    task = {"path": sys.path, "deadline": deadline, "plugins": list(waiting.items())}
    script = Path(__file__).with_name("probe.py")
    # The child's own timer is the deadline that counts; this one is for a child that can't even run that.
    limit = deadline * len(waiting) + 30
    result = run_child([sys.executable, str(script), json.dumps(task)], deadline=limit, environ=environ)
    begun, ended = _said(result.stdout, "begin"), _said(result.stdout, "end")
    culprits = [name for name in begun if name not in ended]
    if not culprits:
        return ended, {}
    stack = result.stderr.strip()[-8000:]
    hung = result.state == "timeout" or "Timeout (" in result.stderr
    if hung:
        cause = f"importing it did not end within {deadline:g} s"
    else:
        cause = f"importing it ended the process: {result.failure or 'it exited with status 0'}"
    where = _where(stack, module_file(waiting[culprits[0]]))
    verdict = Verdict(outcome=HUNG if hung else CRASHED, cause=f"{cause}{where}", traceback=stack)
    return ended, {culprits[0]: verdict}


def _said(output: str, word: str) -> list[str]:
    return [line[len(word) + 1 :] for line in output.splitlines() if line.startswith(f"{word} ")]


_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


def _where(stack: str, file: Path | None) -> str:
    """The place in the plugin's own files where a stack of `faulthandler` (innermost first) stands."""
    frames = [match.groupdict() for match in _FRAME.finditer(stack)]
    own = [frame for frame in frames if file is not None and frame["file"].startswith(str(file.parent))]
    for frame in own[:1]:
        return f" (at {frame['file']}:{frame['line']})"
    return ""
