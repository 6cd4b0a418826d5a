"""What the death of an engine's process means."""

from __future__ import annotations

import signal
import sys

import attrs

__all__ = ["ExitMeaning", "explain_exit"]


@attrs.frozen
class ExitMeaning:
    """An exit status in words.

    Attributes:
        signal_name: For example `SIGSEGV`; None if the process exited by itself.
        cause: `crash`, `illegal-instruction`, `out-of-memory`, `killed` or `exit`.
        what: What happened, to be put after the engine's name.
        advice: What to do about it.
    """

    signal_name: str | None
    cause: str
    what: str
    advice: str


_SIGNALS = {
    "SIGSEGV": (
        "crash",
        "crashed on an invalid memory access (SIGSEGV)",
        "Check the file with `modelplug inspect`, and try another backend with --backend.",
    ),
    "SIGBUS": (
        "crash",
        "crashed reading memory that is not there (SIGBUS), as when a file shrinks while it is mapped",
        "Make sure the model file is complete and not being written, then try again.",
    ),
    "SIGABRT": (
        "crash",
        "gave up on an internal check (SIGABRT)",
        "Its last words say which check; try another backend with --backend, or fewer --gpu-layers.",
    ),
    "SIGFPE": ("crash", "crashed on an arithmetic fault (SIGFPE)", "Try another backend with --backend."),
    "SIGILL": (
        "illegal-instruction",
        "used an instruction this processor does not have (SIGILL)",
        "The prebuilt library is for a newer processor: try another backend, or build the engine here.",
    ),
    "SIGKILL": (
        "out-of-memory",
        "was killed (SIGKILL), which the system does when memory runs out",
        "Use a smaller --context-size, a smaller or more strongly quantised model, or free memory.",
    ),
    "SIGTERM": ("killed", "was told to end by another program (SIGTERM)", "Try again."),
}

# Windows reports the same faults as exit codes of NTSTATUS.
_NTSTATUS = {
    0xC0000005: "SIGSEGV",
    0xC000001D: "SIGILL",
    0xC0000094: "SIGFPE",
    0xC0000409: "SIGABRT",
    0xC0000017: "SIGKILL",
}


def explain_exit(status: int | None) -> ExitMeaning:
    """What an exit status says of how a process ended.

    Args:
        status: As `subprocess` reports it: the exit code, or minus the signal number; None if unknown.
    """
    if status is None:
        return ExitMeaning(None, "crash", "stopped answering", "Try again, or try another backend.")
    name = _signal_name(status)
    if name in _SIGNALS:
        return ExitMeaning(name, *_SIGNALS[name])
    if name is not None:
        return ExitMeaning(name, "crash", f"was ended by {name}", "Try another backend with --backend.")
    return ExitMeaning(
        None,
        "exit",
        f"ended by itself with exit status {status}",
        "Its last words may say why; try another backend with --backend.",
    )


def _signal_name(status: int) -> str | None:
    if sys.platform == "win32":
        return _NTSTATUS.get(status & 0xFFFFFFFF)
    # A shell in between reports a signal as 128 plus its number.
    number = -status if status < 0 else status - 128 if 128 < status < 160 else 0
    try:
        return signal.Signals(number).name if number else None
    except ValueError:
        return f"signal {number}"
