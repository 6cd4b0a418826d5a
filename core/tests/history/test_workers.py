"""Which models are loaded now: told across processes, and forgotten with them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelplug.history import monitor, workers
from modelplug.history.monitor import WorkerSampler
from modelplug.history.processes import started_at
from modelplug.history.workers import Registration, RunningModel, running_models
from modelplug.logs import get_logger
from modelplug.paths import Paths

HOLDER = """
import os, sys, time
from pathlib import Path
from modelplug.history.processes import started_at
from modelplug.history.workers import Registration, RunningModel
from modelplug.logs import get_logger
pid = os.getpid()
model = RunningModel(pid=pid, started=started_at(pid), host_pid=pid, model="/m/held.gguf")
held = Registration(Path(sys.argv[1]), model, get_logger("test"))
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(paths: Paths) -> Path:
    """The folder of running models."""
    return paths.workers


@pytest.fixture
def register(folder: Path, paths: Paths) -> Iterator[Callable[..., Registration]]:
    """Registers models that run in this process, until the end of the test."""
    made = []

    def call(**facts: Any) -> Registration:
        pid = os.getpid()
        values = {"pid": pid, "started": started_at(pid), "host_pid": pid, "model": "/m/a.gguf", **facts}
        made.append(
            Registration(folder, RunningModel(**values), get_logger("monitor", paths=paths, quiet=True))
        )
        return made[-1]

    yield call
    for registration in made:
        registration.close()


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program, which has a model loaded until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        if process.poll() is None:
            process.communicate("\n", timeout=30)


def test_nothing_runs_at_first(folder: Path) -> None:
    """A folder that does not exist has no models."""
    assert running_models(folder) == []


def test_a_model_is_known_while_it_is_loaded(register: Callable[..., Registration], folder: Path) -> None:
    """From registering to closing, with what its program said of it."""
    registration = register(backend="engine", context_size=2048, threads=None)
    (model,) = running_models(folder)
    assert (model.backend, model.context_size, model.threads, model.active) == ("engine", 2048, None, 0)
    registration.close()
    registration.close()

    assert running_models(folder) == []
    assert list(folder.iterdir()) == []


def test_requests_are_counted(
    register: Callable[..., Registration], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way, what has ended, and how fast it went."""
    monkeypatch.setattr(workers, "WRITE_SECONDS", 0.0)
    registration = register()
    registration.began()
    registration.began()
    for _ in range(3):
        registration.gave()
    (model,) = running_models(folder)
    assert (model.active, model.pieces) == (2, 3)
    assert model.pieces_per_second is not None
    registration.ended(prompt_tokens=5, completion_tokens=100, speed=20.0, failed=False)
    registration.ended(failed=True)
    (model,) = running_models(folder)

    assert (model.active, model.requests, model.failed) == (0, 1, 1)
    assert (model.prompt_tokens, model.completion_tokens, model.last_speed) == (5, 100, 20.0)
    assert (model.pieces, model.pieces_per_second) == (0, None)


def test_the_file_is_not_written_for_every_token(register: Callable[..., Registration], folder: Path) -> None:
    """Between two writes lies a second, but what ends is told at once."""
    registration = register()
    registration.began()
    for _ in range(1000):
        registration.gave()
    assert running_models(folder)[0].active == 0
    registration.ended(completion_tokens=1000, failed=False)

    assert running_models(folder)[0].requests == 1


def test_threads_count_together(register: Callable[..., Registration], folder: Path) -> None:
    """Requests of several threads do not lose each other's counts."""
    registration = register()

    def request() -> None:
        for _ in range(20):
            registration.began()
            registration.gave()
            registration.ended(completion_tokens=1, failed=False)

    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (model,) = running_models(folder)
    assert (model.requests, model.completion_tokens, model.active) == (80, 80, 0)


def test_another_program_is_seen(holder: subprocess.Popen[str], folder: Path) -> None:
    """Its model, its process, its memory and its time on the processors."""
    sampler = WorkerSampler(folder)
    (first,) = sampler.sample()
    (second,) = sampler.sample()

    assert first.model.pid == holder.pid
    assert first.model.model == "/m/held.gguf"
    assert first.resident_bytes > 1_000_000
    assert first.cpu_percent is None
    assert second.cpu_percent is not None
    assert second.cpu_percent >= 0
    assert json.dumps(second.to_dict())


def test_a_program_that_ends_is_forgotten(holder: subprocess.Popen[str], folder: Path) -> None:
    """Also if it does not close its models."""
    holder.communicate("\n", timeout=30)

    assert list(folder.iterdir()) == []


def test_a_model_on_a_device_is_shown_with_the_memory_taken_there(
    register: Callable[..., Registration], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By all programs, as the driver says; where it says nothing, nothing is shown."""
    monkeypatch.setattr(monitor, "_device_memory", lambda: {"cuda:0": (100, 30), "cuda:1": (100, None)})
    for device in ("cuda:0", "cuda:1", "cpu"):
        register(device=device, backend=device)
    figures = {one.model.device: one for one in WorkerSampler(folder).sample()}

    assert (figures["cuda:0"].device_total, figures["cuda:0"].device_used) == (100, 70)
    assert (figures["cuda:1"].device_total, figures["cuda:1"].device_used) == (100, None)
    assert (figures["cpu"].device_total, figures["cpu"].device_used) == (None, None)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_program_that_is_killed_is_told_from_one_that_runs(
    holder: subprocess.Popen[str], folder: Path
) -> None:
    """What it left behind is removed by whoever looks next."""
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(30)
    assert len(list(folder.iterdir())) == 1

    assert running_models(folder) == []
    assert list(folder.iterdir()) == []


def test_another_process_of_the_same_number_is_not_the_model(folder: Path) -> None:
    """A number that was given to another process does not bring the old model back."""
    folder.mkdir(parents=True)
    pid = os.getpid()
    left = folder / f"{pid}-left.json"
    left.write_text(json.dumps({"pid": pid, "started": "long ago", "host_pid": pid}))

    assert running_models(folder) == []
    assert not left.exists()


def test_files_that_can_not_be_read_do_no_harm(register: Callable[..., Registration], folder: Path) -> None:
    """Those of a dead process are removed, those of a living one left to it."""
    register()
    gone = 2**22 + 7
    for name in (f"{gone}-x.json", f"{gone}-y.new", "nonsense", f"{os.getpid()}-z.json"):
        (folder / name).write_text("{")

    assert len(running_models(folder)) == 1
    assert (folder / f"{os.getpid()}-z.json").exists()
    assert not (folder / f"{gone}-x.json").exists()
    assert not (folder / f"{gone}-y.new").exists()


@pytest.mark.skipif(os.name == "nt", reason="forks of POSIX")
def test_a_forked_copy_does_not_make_its_parents_model_unknown(folder: Path) -> None:
    """When the copy ends, the model is still loaded in the parent."""
    program = HOLDER.partition('print("ready"')[0] + (
        "if os.fork() == 0:\n    held.close()\n    sys.exit(0)\nos.wait()\n"
        "from modelplug.history.workers import running_models\n"
        "print(len(running_models(Path(sys.argv[1]))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.strip() == "1"
    assert list(folder.iterdir()) == []


def test_where_nothing_can_be_written_the_model_works_unseen(
    tmp_path: Path, paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is in the log once, and on no terminal."""
    (tmp_path / "file").write_text("in the way")
    model = RunningModel(pid=os.getpid(), started=started_at(os.getpid()), host_pid=os.getpid())
    log = get_logger("monitor", paths=paths, quiet=True)
    registration = Registration(tmp_path / "file" / "workers", model, log)
    registration.ended(failed=False)
    registration.close()

    lines = (paths.logs / "modelplug.log").read_text("utf-8").splitlines()
    assert len([line for line in lines if "can't be watched" in line]) == 1
    assert capsys.readouterr().err == ""


def test_a_process_is_told_from_later_ones() -> None:
    """The mark of this process does not change, and one that does not exist has none."""
    assert started_at(os.getpid()) == started_at(os.getpid()) != ""
    assert started_at(os.getppid()) != started_at(os.getpid())
    assert started_at(2**22 + 7) == ""


def test_a_process_that_has_ended_and_was_not_collected_does_not_count() -> None:
    """A zombie holds no model."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    assert process.stdout is None
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert started_at(process.pid) == ""
    process.wait()
