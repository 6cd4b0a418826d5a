"""A worker ends with its host, however the host ends and whatever the engine is doing then."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from modelplug.errors import BackendError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups on Windows")

LIMIT = 5.0
HOST = """
import sys, threading, time, os
sys.path.insert(0, {helpers!r})
import helpers
state = sys.argv[1]
fault = {{"loading": "hang", "loading-with-lock": "hang-with-lock"}}.get(state, "")
def load():
    return helpers.start(fault, scratch=True, pace=0.05)
if fault:
    threading.Thread(target=load, daemon=True).start()
else:
    model = load()
    prompts = {{"generating": "word", "hanging": "!hang first", "hanging-with-lock": "!hang-with-lock first"}}
    prompt = prompts.get(state)
    if prompt:
        def run():
            helpers.text_of(model, prompt, 100_000)
        threading.Thread(target=run, daemon=True).start()
if "forked" in sys.argv:
    if os.fork() == 0:
        os.setsid()
        os.environ["COPY"] = "1"
        time.sleep(30)
        os._exit(0)
print("ready", flush=True)
time.sleep(120)
"""


def _workers(misbehaving: Any, home: Path, host_pid: int) -> set[int]:
    """Processes of the host's family that are workers or their guards."""
    found = misbehaving.processes_with(f"MODELPLUG_HOME={home}")
    return {pid for pid in found if b"modelplug.backends.worker" in _command(pid)}


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("copy", ["alone", "forked"])
@pytest.mark.parametrize(
    "state", ["idle", "loading", "loading-with-lock", "generating", "hanging", "hanging-with-lock"]
)
def test_a_worker_ends_when_its_host_is_killed(
    misbehaving: Any, tmp_path: Path, state: str, copy: str
) -> None:
    """Five seconds after SIGKILL of the host no worker is left, nor its scratch directory.

    That holds whatever the engine does, even if it holds the interpreter lock, and even if the host has
    forked a copy of itself that lives on with every descriptor.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code = HOST.format(helpers=str(Path(misbehaving.__file__).parent))

    def scratch_directories() -> list[Path]:
        return list(temporary.glob("modelplug-*"))

    with misbehaving.host(code, tmp_path, state, copy, TMPDIR=str(temporary)) as host:
        assert host.stdout.readline() == "ready\n"
        assert misbehaving.eventually(lambda: bool(scratch_directories()), 30)
        assert misbehaving.eventually(lambda: len(_workers(misbehaving, tmp_path, host.pid)) == 2)
        copies = misbehaving.processes_with(f"MODELPLUG_HOME={tmp_path}")
        os.kill(host.pid, signal.SIGKILL)
        host.wait()
        assert misbehaving.eventually(lambda: not _workers(misbehaving, tmp_path, host.pid), LIMIT)
        assert misbehaving.eventually(lambda: not scratch_directories(), 0.5)
        for pid in copies:
            if misbehaving.running(pid):
                os.kill(pid, signal.SIGKILL)


def test_the_strays_of_a_worker_end_with_the_host(misbehaving: Any, tmp_path: Path) -> None:
    """A process that the engine started in a session of its own does not outlive a killed host either."""
    code = HOST.format(helpers=str(Path(misbehaving.__file__).parent))
    code = code.replace("helpers.start(fault", 'helpers.start("stray"')
    with misbehaving.host(code, tmp_path, "idle", TMPDIR=str(tmp_path)) as host:
        assert host.stdout.readline() == "ready\n"

        def strays() -> set[int]:
            found = misbehaving.processes_with(f"MODELPLUG_HOME={tmp_path}")
            return {pid for pid in found if b"misbehaving-grandchild" in _command(pid)}

        assert misbehaving.eventually(lambda: len(strays()) == 1)
        os.kill(host.pid, signal.SIGKILL)
        host.wait()
        assert misbehaving.eventually(lambda: not strays(), LIMIT)


def test_a_host_that_ends_without_closing_leaves_nothing(misbehaving: Any, tmp_path: Path) -> None:
    """A program that simply ends, or drops the model, leaves neither worker nor scratch directory."""
    code = HOST.format(helpers=str(Path(misbehaving.__file__).parent)).replace("time.sleep(120)", "")
    with misbehaving.host(code, tmp_path, "idle", TMPDIR=str(tmp_path)) as host:
        assert host.stdout.readline() == "ready\n"
        assert host.wait(30) == 0
        assert misbehaving.eventually(lambda: not _workers(misbehaving, tmp_path, host.pid), LIMIT)
        assert misbehaving.eventually(lambda: not list(tmp_path.glob("modelplug-*")), LIMIT)


def test_a_model_that_is_dropped_ends_its_worker(misbehaving: Any) -> None:
    """Without `close`, the worker ends when the last reference to the model goes."""
    model = misbehaving.start(scratch=True)
    pid, scratch = model.process.pid, model._request.scratch
    assert scratch.exists()
    del model
    assert misbehaving.eventually(lambda: not misbehaving.running(pid))
    assert misbehaving.eventually(lambda: not scratch.exists())


def test_a_worker_outlives_the_thread_that_loaded_it(misbehaving: Any) -> None:
    """The end of the thread that loaded the model changes nothing for those that use it."""
    models: list[Any] = []
    thread = threading.Thread(target=lambda: models.append(misbehaving.start()))
    thread.start()
    thread.join()
    with models[0] as model:
        assert not misbehaving.eventually(lambda: not model.process.alive, 1.5)
        assert misbehaving.text_of(model, "one", 1) == "one "


def test_a_forked_copy_can_not_hurt_the_worker(misbehaving: Any) -> None:
    """A copy of the host made with fork gets a clear error, and can neither use nor end the worker."""
    with misbehaving.start(scratch=True) as model:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            words = "nothing"
            try:
                misbehaving.text_of(model, "one")
            except BackendError as error:
                words = str(error)
            try:
                model.close()
                del model
            finally:
                os.write(writing, words.encode())
                os._exit(0)
        os.close(writing)
        os.waitpid(pid, 0)
        with os.fdopen(reading, "rb") as pipe:
            assert b"was loaded by another process" in pipe.read()
        assert misbehaving.text_of(model, "one", 1) == "one "
        assert model._request.scratch.exists()


def test_a_host_that_was_stopped_for_a_while_does_not_blame_the_worker(
    misbehaving: Any, tmp_path: Path
) -> None:
    """After SIGSTOP for longer than the heartbeat allows, a request goes on as if nothing had been."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(misbehaving.__file__).parent)!r})\n"
        "import helpers\n"
        "from modelplug.backends import process\n"
        "from modelplug.backends.types import Deadlines\n"
        "process.HEARTBEAT_SECONDS = 2.5\n"
        "with helpers.start(seconds=7.0, deadlines=Deadlines(first_token=None)) as model:\n"
        "    print('ready', flush=True)\n"
        "    print(helpers.text_of(model, '!hang first', 1), flush=True)\n"
    )
    with misbehaving.host(code, tmp_path) as host:
        assert host.stdout.readline() == "ready\n"
        time.sleep(0.5)
        os.kill(host.pid, signal.SIGSTOP)
        time.sleep(3.5)
        os.kill(host.pid, signal.SIGCONT)
        assert host.stdout.readline() == "!hang \n", host.stderr.read()
        assert host.wait(30) == 0


def test_closing_removes_the_scratch_directory(misbehaving: Any) -> None:
    """What the engine put into its scratch directory is gone after `close`, in a worker and inline."""
    for isolation in ("process", "inline"):
        with misbehaving.start(scratch=True, isolation=isolation):
            assert list(Path(tempfile.gettempdir()).glob("modelplug-*"))
        assert not list(Path(tempfile.gettempdir()).glob("modelplug-*"))


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_a_failed_load_removes_the_scratch_directory(misbehaving: Any, isolation: str) -> None:
    """Nothing is left of an attempt that failed after it had written temporary files."""
    with pytest.raises(BackendError):
        misbehaving.start("exception", scratch=True, isolation=isolation)
    assert not list(Path(tempfile.gettempdir()).glob("modelplug-*"))


def test_the_guard_is_not_counted_as_memory(misbehaving: Any) -> None:
    """The memory reported is that of the worker and its children, without the guard's shared pages."""
    import psutil

    with misbehaving.start() as model:
        worker = psutil.Process(model.process.pid)
        assert [child.pid for child in worker.children()] == [model.process._guard_pid]
        assert abs(model.process.resident_bytes() - worker.memory_info().rss) < 4_000_000
