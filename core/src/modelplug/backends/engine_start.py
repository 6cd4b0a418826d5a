"""Starting one engine with one model, in a worker process or in this one, and measuring what it takes."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from modelplug.backends.wire import error_from_wire, error_to_wire
from modelplug.errors import ModelplugError, UsageError

if TYPE_CHECKING:
    from modelplug.backends.model import CancelToken, Model
    from modelplug.backends.types import LoadRequest

__all__ = ["StartedEngine", "start_engine"]


@attrs.frozen(kw_only=True)
class StartedEngine:
    """A loaded model and the memory it took.

    Attributes:
        model: The model.
        resident_bytes: Main memory, measured: of the worker and its children, or what this process grew by.
        device_bytes: Memory on the device, measured as what it had free before and after; None on the CPU
            or where the driver does not say.
        pid: The process that runs the engine: the worker's, or this one.
        guard_pid: A process of the worker's that shares its memory, and is not to be counted.
    """

    model: Model
    resident_bytes: int
    device_bytes: int | None
    pid: int
    guard_pid: int | None = None


def start_engine(
    request: LoadRequest, plugin: str, *, isolation: str, cancel: CancelToken | None = None
) -> StartedEngine:
    """Load a model with one engine.

    Args:
        request: What to load; its scratch directory is filled in here.
        plugin: Entry-point name of the plugin.
        isolation: `process` for a worker, `inline` for this process.
        cancel: Stops loading when set; only a worker can be stopped.

    Raises:
        ModelplugError: It failed; whatever the attempt held has been released.
    """
    if isolation not in ("process", "inline"):
        raise UsageError(
            f"there is no isolation {isolation!r}",
            why="an engine runs in a process of its own or inside the caller's",
            advice="Use `process` or `inline`.",
        )
    # Only named here: whoever needs it creates it, and its remover is chosen to outlive the host.
    scratch = Path(tempfile.gettempdir()) / f"modelplug-{_unique()}"
    request = attrs.evolve(request, scratch=scratch)
    free_before = _device_free(request.device)
    if isolation == "process":
        from modelplug.backends.worker_model import WorkerModel

        worker = WorkerModel(request, plugin, cancel=cancel)
        resident = worker.process.resident_bytes()
        started = _started(worker, resident, free_before, request)
        return attrs.evolve(started, pid=worker.process.pid, guard_pid=worker.process.guard_pid)
    resident_before = _own_resident_bytes()
    model = _load_inline(request, plugin)
    return _started(model, max(0, _own_resident_bytes() - resident_before), free_before, request)


def _started(model: Model, resident: int, free_before: int | None, request: LoadRequest) -> StartedEngine:
    device_bytes = None
    if free_before is not None and model.effective.device == request.device:
        free_after = _device_free(request.device)
        device_bytes = None if free_after is None else max(0, free_before - free_after)
    return StartedEngine(model=model, resident_bytes=resident, device_bytes=device_bytes, pid=os.getpid())


def _load_inline(request: LoadRequest, plugin: str) -> Model:
    from modelplug.backends.inline import InlineModel
    from modelplug.backends.worker import load_with_plugin

    try:
        return InlineModel(load_with_plugin(request, plugin), request)
    except BaseException as error:
        if request.scratch is not None:
            shutil.rmtree(request.scratch, ignore_errors=True)
        # What the failed attempt still holds must be free before the next one begins.
        traceback.clear_frames(error.__traceback__)
        gc.collect()
        if isinstance(error, ModelplugError) or not isinstance(error, (Exception, SystemExit)):
            raise
        # The same translation as a worker's, so that both kinds of isolation raise the same errors.
        plain = error_to_wire(error, backend=request.backend, phase="load")
        raise error_from_wire(plain) from error


def _device_free(device: str) -> int | None:
    if device == "cpu":
        return None
    from modelplug.system import probe

    found = {entry.id: entry for entry in probe(use_cache=False).devices}
    return found[device].memory_free if device in found else None


def _own_resident_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


def _unique() -> str:
    import uuid

    return uuid.uuid4().hex
