"""Imports a plugin here, with a deadline, and keeps whatever goes wrong from spreading."""

from __future__ import annotations

import sys
import threading
import time
import traceback
import warnings
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ImportOutcome", "import_guarded"]


@attrs.frozen(kw_only=True)
class ImportOutcome:
    """How an import went.

    Attributes:
        value: The imported object; None unless it succeeded.
        error: What it raised.
        hung: Whether the deadline passed.
        stack: The stack it hung in, outermost first; empty unless it hung.
        warnings: Warnings shown to users by default that were raised meanwhile, as `Category: text`.
        seconds: How long it took.
    """

    value: object = None
    error: BaseException | None = None
    hung: bool = False
    stack: tuple[traceback.FrameSummary, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        """Whether there is a value to use."""
        return self.error is None and not self.hung


def import_guarded(load: Callable[[], object], *, name: str, deadline: float) -> ImportOutcome:
    """The result of `load()`, waiting no longer than the deadline.

    It runs in a daemon thread: one that hangs is left behind, holds nothing but the import lock of its own
    module, and does not keep the program from ending. The wait is in the caller's thread, so that Ctrl-C
    reaches the caller and not the plugin.

    Args:
        load: Imports the plugin.
        name: The plugin's name, for the thread.
        deadline: Seconds; 0 calls `load` in this thread without any deadline.

    Raises:
        KeyboardInterrupt: The user interrupted the wait.
    """
    outcome: list[ImportOutcome] = []
    started = time.perf_counter()

    def work() -> None:
        try:
            value = load()
        except KeyboardInterrupt as error:
            # The user's own is delivered to the main thread only; anywhere else the plugin raised it.
            if threading.current_thread() is threading.main_thread():
                raise
            outcome.append(ImportOutcome(error=error))
        except BaseException as error:  # noqa: BLE001  SystemExit of a plugin must not end the program either
            outcome.append(ImportOutcome(error=error))
        else:
            outcome.append(ImportOutcome(value=value))

    # The filters are changed here and not in the thread: this thread is sure to change them back.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if deadline <= 0:
            work()
        else:
            thread = threading.Thread(target=work, name=f"modelplug-import-{name}", daemon=True)
            thread.start()
            thread.join(deadline)
    seconds = time.perf_counter() - started
    if not outcome:
        return ImportOutcome(hung=True, stack=_stack_of(thread), seconds=seconds)
    return attrs.evolve(outcome[0], warnings=_noteworthy(caught), seconds=seconds)


def _stack_of(thread: threading.Thread) -> tuple[traceback.FrameSummary, ...]:
    frame = sys._current_frames().get(thread.ident or 0)
    return tuple(traceback.extract_stack(frame)) if frame else ()


# Meant for developers, and hidden by Python unless asked for.
_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)


def _noteworthy(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    return tuple(
        f"{item.category.__name__}: {item.message}"
        for item in caught
        if not issubclass(item.category, _FOR_DEVELOPERS)
    )
