"""What a llamafile program understands, as its own `--help` says; remembered per file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import BackendError
from modelplug_llamafile.find import command_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.system.child import ChildResult

__all__ = ["Abilities", "flags_in", "probe_abilities", "recall_abilities", "version_in"]

NAME = "llamafile"
HELP_SECONDS = 30.0
DESCRIPTION_COLUMN = 10
# Raise when the meaning of what is remembered changes.
_CACHE_FORMAT = 1


@attrs.frozen(kw_only=True)
class Abilities:
    """What one program understands.

    Attributes:
        version: As it gives it itself; empty if it does not.
        flags: Every command-line flag it lists, for its first server or for all its modes.
        flags_v2: Those its second server (`--server --v2`) lists; empty if it has none.
        environment: Names of environment variables its help mentions.
    """

    version: str = ""
    flags: frozenset[str] = frozenset()
    flags_v2: frozenset[str] = frozenset()
    environment: frozenset[str] = frozenset()

    def first(self, *names: str) -> str | None:
        """The first of several spellings of a flag that the program knows."""
        return next((name for name in names if name in self.flags), None)


def probe_abilities(program: Path, cache: Path, *, deadline: float | None = None) -> Abilities:
    """Ask a program what it understands, or recall its answer.

    Args:
        program: The executable.
        cache: A directory where answers are kept; one that can't be written is done without.
        deadline: Seconds the program may take for each answer.

    Raises:
        BackendError: It gives no usable answer; carries what it said.
    """
    remembered = recall_abilities(program, cache)
    if remembered is not None:
        return remembered
    abilities = _ask(program, min(deadline or HELP_SECONDS, HELP_SECONDS))
    _remember(_entry(program, cache), abilities)
    return abilities


def recall_abilities(program: Path, cache: Path) -> Abilities | None:
    """What the program answered before, or None; runs nothing.

    Args:
        program: The executable.
        cache: The directory where answers are kept.
    """
    try:
        found: dict[str, Any] = json.loads(_entry(program, cache).read_text("utf-8"))
        return Abilities(
            version=str(found["version"]),
            flags=frozenset(map(str, found["flags"])),
            flags_v2=frozenset(map(str, found["flags_v2"])),
            environment=frozenset(map(str, found["environment"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        # Not there, or not what we wrote: the program must be asked.
        return None


def flags_in(text: str) -> frozenset[str]:
    """The flags that a help text lists, wherever a line begins with one.

    A flag that is only mentioned in a sentence does not count: that sentence may say that it is gone.
    """
    found: set[str] = set()
    for line in _plain(text).splitlines():
        # Further in than this, a line belongs to a description.
        words = line.split() if len(line) - len(line.lstrip()) < DESCRIPTION_COLUMN else []
        while words and re.fullmatch(r"--?[A-Za-z][\w-]*,?", words[0].partition("=")[0]):
            word = words.pop(0)
            found.add(word.partition("=")[0].rstrip(","))
            if not word.endswith(",") and words and words[0].endswith(","):
                # `-m FNAME, --model FNAME`: step over the name of the value.
                words.pop(0)
    return frozenset(found)


def version_in(text: str) -> str:
    """The version number in the answer to `--version`; empty if there is none."""
    match = re.search(r"\bv?(\d+\.\d+(?:\.\d+)*)", _plain(text))
    return match.group(1) if match else ""


def _plain(text: str) -> str:
    # Manual pages print bold as a letter, a backspace and the letter again; terminals get colour codes.
    return re.sub(r"\x1b\[[0-9;]*m", "", re.sub(r".\x08", "", text))


def _ask(program: Path, deadline: float) -> Abilities:
    from modelplug.system.child import run_child

    command = command_of(program)
    mode = run_child([*command, "--server", "--help"], deadline=deadline)
    general = run_child([*command, "--help"], deadline=deadline)
    text = f"{mode.stdout}\n{mode.stderr}\n{general.stdout}\n{general.stderr}"
    flags = flags_in(text)
    if not flags & {"-m", "--model"}:
        raise _useless_answer(program, (mode, general))
    version = run_child([*command, "--version"], deadline=deadline)
    flags_v2: frozenset[str] = frozenset()
    if "--v2" in flags or re.search(r"--v2\b", _plain(text)):
        second = run_child([*command, "--server", "--v2", "--help"], deadline=deadline)
        flags_v2 = flags_in(second.stdout + "\n" + second.stderr)
    return Abilities(
        version=version_in(version.stdout) or version_in(version.stderr),
        flags=flags,
        # The second server listens where `-l` says; without it, this was the first server's help again.
        flags_v2=flags_v2 if flags_v2 & {"-l", "--listen"} and "--port" not in flags_v2 else frozenset(),
        environment=frozenset(re.findall(r"\b(?:LLAMA|HF)_[A-Z0-9_]+\b", text)),
    )


def _useless_answer(program: Path, answers: Sequence[ChildResult]) -> BackendError:
    said = "\n".join(part for answer in answers for part in (answer.stdout, answer.stderr) if part)
    failure = next((answer.failure for answer in answers if answer.failure), "")
    foreign = "interpreter" in said or "exec format" in f"{said}{failure}".lower()
    return BackendError(
        f"{program} does not answer --help like a llamafile",
        backend=NAME,
        phase="start",
        cause="timeout" if any(a.state == "timeout" for a in answers) else "start-failed",
        stderr_tail="\n".join(said.splitlines()[-20:]),
        why=failure or "it lists no flag to name a model with",
        advice=(
            "This system does not run its format: see the plugin's README, under `exec format error`."
            if foreign
            else f"Try `{program} --help` yourself, or name another program in the setting "
            "backends.llamafile.executable."
        ),
    )


def _entry(program: Path, cache: Path) -> Path:
    """Where the answer of exactly this file is kept."""
    status = program.stat()
    facts = (_CACHE_FORMAT, str(program.resolve()), status.st_size, status.st_mtime_ns, status.st_ino)
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
    return cache / "llamafile-help" / f"{digest}.json"


def _remember(entry: Path, abilities: Abilities) -> None:
    content = {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in attrs.asdict(abilities, recurse=False).items()
    }
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=entry.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
        Path(name).replace(entry)
    except OSError:
        return  # a home that can't be written costs a question to the program each time, no more
