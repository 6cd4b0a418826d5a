"""Live figures of the models that run now, and what their history suggests."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.history.workers import running_models

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.history.insights import Insights
    from modelplug.history.workers import RunningModel
    from modelplug.runtime import Runtime

__all__ = ["LiveFigures", "MonitoringState", "PerformanceMonitor", "WorkerSampler"]


@attrs.frozen(kw_only=True)
class LiveFigures:
    """What one running model takes at this moment.

    Attributes:
        model: What its program says of it.
        seconds: How long its process has run.
        cpu_percent: Time on the processors since the last sample, in percent of one; None in the first.
        resident_bytes: Main memory of its process and those it started.
        processes: How many these are.
        device_total: Bytes of memory on its device; None on the CPU, or where the driver does not say.
        device_used: Bytes of it that are taken, by whichever program.
    """

    model: RunningModel
    seconds: float
    cpu_percent: float | None
    resident_bytes: int
    processes: int
    device_total: int | None = None
    device_used: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain data, those of the model among them."""
        own = attrs.asdict(self, filter=lambda attribute, _: attribute.name != "model")
        return {**attrs.asdict(self.model), **own}


class WorkerSampler:
    """Looks at the running models, again and again.

    Args:
        folder: Where the files of running models are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before: dict[tuple[int, str], tuple[float, float]] = {}

    def sample(self) -> list[LiveFigures]:
        """The figures of this moment, the model first that was loaded first."""
        models = running_models(self.folder)
        devices = _device_memory() if any(model.device != "cpu" for model in models) else {}
        found = []
        used = {}
        for model in models:
            taken = _processes(model)
            if taken is None:
                # It has ended since its file was read.
                continue
            seconds, cpu, memory, count = taken
            moment = time.monotonic()
            key = (model.pid, model.started)
            total, free = devices.get(model.device, (None, None))
            found.append(
                LiveFigures(
                    model=model,
                    seconds=seconds,
                    cpu_percent=self._percent(key, cpu, moment),
                    resident_bytes=memory,
                    processes=count,
                    device_total=total,
                    device_used=None if total is None or free is None else total - free,
                )
            )
            used[key] = (cpu, moment)
        self._before = used
        return found

    def _percent(self, key: tuple[int, str], cpu: float, moment: float) -> float | None:
        before = self._before.get(key)
        if before is None or moment <= before[1]:
            return None
        return round(100 * max(0.0, cpu - before[0]) / (moment - before[1]), 1)


def _processes(model: RunningModel) -> tuple[float, float, int, int] | None:
    """Age, processor seconds, resident bytes and number of a model's processes; None if it is gone."""
    import psutil

    try:
        process = psutil.Process(model.pid)
        members = [process, *process.children(recursive=True)]
        # The clock may have been set since it began.
        seconds = max(0.0, time.time() - process.create_time())
    except psutil.Error:
        return None
    cpu, memory, count = 0.0, 0, 0
    for member in members:
        if member.pid == model.guard_pid:
            continue
        with contextlib.suppress(psutil.Error):
            times = member.cpu_times()
            memory += int(member.memory_info().rss)
            cpu += times.user + times.system
            count += 1
    return seconds, cpu, memory, count


def _device_memory() -> dict[str, tuple[int | None, int | None]]:
    """Device -> bytes of memory in all, and free now."""
    from modelplug.system import probe

    return {device.id: (device.memory_total, device.memory_free) for device in probe(use_cache=False).devices}


@attrs.frozen(kw_only=True)
class MonitoringState:
    """Whether runs are recorded, and what is there so far.

    Attributes:
        recording: Whether they are.
        changed: Whether the setting had to be changed for that.
        database: Where they are kept.
        runs: How many there are.
        since: When the oldest of them was recorded; empty if there is none.
        trouble: Why nothing can be kept; empty if it can.
    """

    recording: bool
    changed: bool
    database: Path
    runs: int
    since: str
    trouble: str = ""


class PerformanceMonitor:
    """Watches what models do: now, and over time.

    Every program that runs models records its own runs, so nothing needs to stay running for that.

    Args:
        runtime: Settings and history to use; None makes a runtime of its own.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime as NewRuntime

            runtime = NewRuntime()
        self._runtime = runtime
        self._sampler = WorkerSampler(runtime.paths.workers)

    def start_continuous_monitoring(self) -> MonitoringState:
        """Make sure that runs are recorded from now on, by every program of this user.

        They are unless the setting `monitoring` was set to false; then it is taken out of the settings file.

        Returns:
            Whether they are recorded now, and what is there so far.

        Raises:
            ConfigError: The settings can't be changed.
        """
        config = self._runtime.config
        changed = False
        if not config.settings.monitoring and not config.origin("monitoring").variable:
            config.set("monitoring", True)
            changed = config.save().changed
        history = self._runtime.history
        count, since = history.extent()
        return MonitoringState(
            recording=config.settings.monitoring and not history.trouble,
            changed=changed,
            database=history.path,
            runs=count,
            since=since,
            trouble=history.trouble,
        )

    def running(self) -> list[LiveFigures]:
        """Live figures of the models that are loaded now, by whatever program of this user."""
        return self._sampler.sample()

    def get_optimization_insights(self) -> Insights:
        """What the history suggests, with the runs behind each suggestion."""
        from modelplug.history.insights import find_insights

        return find_insights(self._runtime.history)
