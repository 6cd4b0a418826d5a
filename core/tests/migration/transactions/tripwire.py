"""A file system in which a chosen call goes wrong."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Any

from modelplug.migration.transactions import FileSystem

CALLS = sorted(name for name in vars(FileSystem) if not name.startswith("_"))
# These say something about names only, and can't fail in the ways that are tried here.
HARMLESS = frozenset({"resolve"})
CHANGING = frozenset(CALLS) - {"status", "resolve", "read_link", "list", "open_read", "read", "seek", "close"}
SYNCS = frozenset({"fsync", "sync_file", "sync_directory"})

Trip = Callable[[str, Callable[[], Any], tuple[Any, ...]], Any]


class Tripwire(FileSystem):
    """Counts calls, and lets `trip` do what it likes with those that `chosen` picks.

    Args:
        chosen: Whether the call of this number and name goes wrong.
        trip: What happens then; it gets the call's name, the call itself, and its arguments.
    """

    def __init__(self, chosen: Callable[[int, str], bool], trip: Trip) -> None:
        self.names: list[str] = []
        self._chosen = chosen
        self._trip = trip

    def through(self, name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Make a call, or let it go wrong."""
        self.names.append(name)
        if self._chosen(len(self.names), name):
            return self._trip(name, lambda: call(self, *arguments), arguments)
        # A kill takes nothing from the kernel, so waiting for the disk would only make this slower.
        return None if name in SYNCS else call(self, *arguments)


def _wrapped(name: str) -> Callable[..., Any]:
    original = getattr(FileSystem, name)

    def method(self: Tripwire, *arguments: Any) -> Any:
        return self.through(name, original, arguments)

    return method


for _name in CALLS:
    setattr(Tripwire, _name, _wrapped(_name))


def counting() -> Tripwire:
    """A file system in which nothing goes wrong, and every call is noted."""
    return Tripwire(lambda *_: False, lambda *_: None)


def at(number: int, trip: Trip) -> Tripwire:
    """A file system in which one call goes wrong."""
    return Tripwire(lambda count, _: count == number, trip)


def from_then_on(number: int, trip: Trip) -> Tripwire:
    """A file system in which every changing call goes wrong from a moment on."""
    return Tripwire(lambda count, name: count >= number and name in CHANGING, trip)


def crashing(number: int) -> Tripwire:
    """A file system that is gone from this call on: what is there then is what a kill would leave."""
    return Tripwire(lambda count, _: count >= number, failing(errno.EIO))


def kill_before(name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
    """Nothing of the call is done."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_after(name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
    """All of it is done."""
    try:
        call()
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def kill_in_the_middle(name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
    """Half of the bytes of a write arrive."""
    descriptor, data = arguments
    os.write(descriptor, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)


def failing(number: int) -> Trip:
    """The call fails, and does nothing."""

    def fail(name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        if name == "close":
            # The system closes a descriptor even if it reports an error.
            call()
        raise OSError(number, os.strerror(number))

    return fail


def failing_late(number: int) -> Trip:
    """The call does its work, or half of it for a write, and then fails."""

    def fail(name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
        if name == "write":
            os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
        elif name not in ("open_read", "open_new", "open_append"):
            # A descriptor that nobody gets could never be closed.
            call()
        raise OSError(number, os.strerror(number))

    return fail


def interrupted(name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
    """Somebody presses Ctrl-C."""
    if name == "close":
        call()
    raise KeyboardInterrupt


def short(name: str, call: Callable[[], Any], arguments: tuple[Any, ...]) -> Any:
    """A write takes fewer bytes than it was given; other calls do as always."""
    if name != "write":
        return call()
    descriptor, data = arguments
    return os.write(descriptor, data[: max(1, len(data) // 2)])


# What can go wrong with calls that only look.
LOOKING_FAULTS = frozenset({"EIO", "Ctrl-C"})
FAULTS: dict[str, Trip] = {
    **{name: failing(getattr(errno, name)) for name in ("ENOSPC", "EACCES", "EROFS", "EIO")},
    "EIO late": failing_late(errno.EIO),
    "short": short,
    "Ctrl-C": interrupted,
}
