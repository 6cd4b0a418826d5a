"""What tests do with the misbehaving engine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelplug.backends.engine_start import start_engine
from modelplug.backends.model import CancelToken, GenerateParams, Model
from modelplug.backends.types import Deadlines, LoadPlan, LoadRequest
from modelplug.data import demo_model_path
from modelplug.formats import inspect
from modelplug.formats.model_info import ModelInfo

PLUGIN = "misbehaving"
# Generous: a loaded machine must not turn a late answer into a wrong one.
PATIENT = Deadlines(start=60.0, load=60.0, first_token=60.0, close=5.0)


@lru_cache(maxsize=1)
def demo_info() -> ModelInfo:
    """The demo model, inspected once."""
    return inspect(demo_model_path())


def request(
    fault: str = "",
    at: str = "load",
    *,
    backend: str = "misbehaving",
    deadlines: Deadlines = PATIENT,
    **rest: Any,
) -> LoadRequest:
    """A request to load the demo model, with the settings that make it fail."""
    own = {name: rest.pop(name) for name in ("device", "gpu_layers", "threads") if name in rest}
    return LoadRequest(
        backend=backend,
        path=demo_model_path(),
        info=demo_info(),
        settings={"fault": fault, "at": at, **rest},
        deadlines=deadlines,
        **own,
    )


def start(
    fault: str = "",
    at: str = "load",
    *,
    isolation: str = "process",
    cancel: CancelToken | None = None,
    **rest: Any,
) -> Model:
    """The loaded engine, without selection or fallback around it."""
    return start_engine(request(fault, at, **rest), PLUGIN, isolation=isolation, cancel=cancel).model


def text_of(model: Model, prompt: str, count: int = 6, **rest: Any) -> str:
    """What the model says."""
    params = GenerateParams(max_tokens=count, temperature=0.0)
    return "".join(chunk.text for chunk in model.generate(prompt, params, **rest))


def plan(backend: str = "misbehaving", device: str = "cpu", gpu_layers: int = 0, **settings: Any) -> LoadPlan:
    """A plan to load the demo model."""
    return LoadPlan(backend=backend, device=device, gpu_layers=gpu_layers, settings=settings)


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def running(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def waits(pid: int) -> bool:
    """Whether a process has nothing to do but wait: every thread of it sleeps, and sleeps on."""
    first, second = _threads(pid), _threads(pid)
    return first == second and bool(first) and all(state == "S" for state, _ in first.values())


def _threads(pid: int) -> dict[str, tuple[str, str]]:
    """The state of each thread, and how often it has given up its processor."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            status = (task / "status").read_text()
            state = status.partition("State:\t")[2][:1]
            found[task.name] = (state, status.partition("voluntary_ctxt_switches:")[2])
    return found


def processes_with(text: str) -> set[int]:
    """Running processes with this in their environment."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if text.encode() in (entry / "environ").read_bytes() and running(int(entry.name)):
                    found.add(int(entry.name))
    return found


@contextlib.contextmanager
def host(code: str, home: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program of its own that hosts workers, in a session of its own; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "MODELPLUG_HOME": str(home), **environment},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
