"""Runs several probes at the same time and turns whatever happens into an outcome."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import attrs

from modelplug.system.info import Device, ProbeOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Found", "ProbeResult", "absent", "failed", "found", "run_probes"]

# A probe ends its own children at the deadline; this much more is for stopping them and reading the rest.
SLACK = 1.5


@attrs.frozen(kw_only=True)
class Found:
    """What a probe returns: devices, and how it went.

    Attributes:
        state: `ok`, `absent` or `failed`.
        detail: A line for people.
        devices: What was found; may hold devices even if part of the probe failed.
    """

    state: str
    detail: str
    devices: tuple[Device, ...] = ()


ProbeResult = tuple[tuple[Device, ...], ProbeOutcome]


def found(devices: Sequence[Device], detail: str) -> Found:
    """The probe worked."""
    return Found(state="ok", detail=detail, devices=tuple(devices))


def absent(detail: str) -> Found:
    """There is nothing of that kind on this machine."""
    return Found(state="absent", detail=detail)


def failed(detail: str) -> Found:
    """There should be something, and this is why it can't be seen."""
    return Found(state="failed", detail=detail)


def _run(name: str, probe: Callable[[], Found]) -> ProbeResult:
    started = time.monotonic()
    try:
        result = probe()
    except Exception as error:  # noqa: BLE001  a tool's surprising output must not hide the rest of the machine
        result = failed(f"the probe itself failed: {type(error).__name__}: {error}")
    seconds = time.monotonic() - started
    return result.devices, ProbeOutcome(
        name=name, state=result.state, detail=result.detail, seconds=round(seconds, 4)
    )


def run_probes(probes: Mapping[str, Callable[[], Found]], *, deadline: float) -> dict[str, ProbeResult]:
    """The result of every probe, in the order given, after at most `deadline` plus a little.

    Args:
        probes: Name -> probe.
        deadline: Seconds each probe has been told to take; all run at the same time.
    """
    if len(probes) == 1:
        return {name: _run(name, probe) for name, probe in probes.items()}
    results: dict[str, ProbeResult] = {}

    def work(name: str, probe: Callable[[], Found]) -> None:
        results[name] = _run(name, probe)

    threads = {
        name: threading.Thread(target=work, args=(name, probe), daemon=True) for name, probe in probes.items()
    }
    limit = time.monotonic() + deadline + SLACK
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, limit - time.monotonic()))
    return {name: results.get(name) or _stuck(name, deadline) for name in probes}


def _stuck(name: str, deadline: float) -> ProbeResult:
    detail = f"the probe did not end within {deadline + SLACK:.1f} s"
    return (), ProbeOutcome(name=name, state="failed", detail=detail, seconds=deadline + SLACK)
