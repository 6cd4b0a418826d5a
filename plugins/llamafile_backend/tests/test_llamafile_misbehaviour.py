"""Programs that misbehave as real ones have: each becomes a clear error, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import modelplug_llamafile
from modelplug.backends.model import Chunk, GenerateParams, Model
from modelplug.backends.types import Deadlines, LoadRequest
from modelplug.errors import BackendError, WorkerCrashedError, WorkerTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GREEDY = GenerateParams(temperature=0, max_tokens=24)


def nothing_left(scratch: Path) -> bool:
    """Whether no process works in the scratch directory and nothing lies there."""
    directories = [process.info["cwd"] or "" for process in psutil.process_iter(["cwd"])]
    working = [directory for directory in directories if directory.startswith(str(scratch))]
    return not working and not list(scratch.iterdir())


def test_a_program_that_dies_while_loading_is_reported_with_its_last_words(
    load: Callable[..., Model], tmp_path: Path
) -> None:
    """The error has the exit status, the end of the log, and what it means."""
    with pytest.raises(WorkerCrashedError) as caught:
        load("v1", "dies-loading")
    error = caught.value
    assert error.exit_status == 1
    assert error.phase == "load"
    assert error.cause == "out-of-memory"
    assert "out of memory" in error.stderr_tail
    assert error.advice
    assert nothing_left(tmp_path / "scratch")


def test_a_program_that_crashes_while_loading_is_reported_with_its_signal(
    load: Callable[..., Model], tmp_path: Path
) -> None:
    """A segmentation fault is named."""
    with pytest.raises(WorkerCrashedError, match="SIGSEGV") as caught:
        load("modern", "segfaults-loading")
    assert caught.value.signal_name == "SIGSEGV"
    assert "loading the model..." in caught.value.stderr_tail
    assert nothing_left(tmp_path / "scratch")


def test_a_program_that_is_never_ready_is_stopped_at_the_deadline(
    load: Callable[..., Model], tmp_path: Path
) -> None:
    """A server that says "loading" for ever is stopped when the load deadline passes, not much later."""
    # On a busy machine it may need longer to say what it understands, which comes first.
    for seconds in (1.5, 6.0, 24.0):
        began = time.monotonic()
        with pytest.raises(BackendError) as caught:
            load("v1", "never-ready", deadlines=Deadlines(load=seconds))
        if isinstance(caught.value, WorkerTimeoutError):
            break
    assert isinstance(caught.value, WorkerTimeoutError)
    assert seconds - 0.1 < time.monotonic() - began < seconds + 8.5
    assert caught.value.seconds == seconds
    assert caught.value.phase == "load"
    assert nothing_left(tmp_path / "scratch")


def test_a_program_whose_help_hangs_is_not_waited_for(load: Callable[..., Model]) -> None:
    """A program that does not even answer --help is given up at the deadline."""
    with pytest.raises(BackendError, match="--help") as caught:
        load("v1", "help-hangs", deadlines=Deadlines(load=1.0))
    assert caught.value.cause == "timeout"


def test_a_port_that_is_taken_is_tried_again(
    load: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that can't bind is started again with another port, until it can."""
    monkeypatch.setenv("FAKE_LLAMAFILE_COUNT", str(tmp_path / "count"))
    model = load("v1", "first-port-taken")
    assert (tmp_path / "count").read_text() == "3"
    assert list(model.generate("ROMEO:", GREEDY))


def test_a_server_that_never_gets_a_port_is_given_up(load: Callable[..., Model], tmp_path: Path) -> None:
    """After a few attempts the error says that no port could be had, in the server's own words."""
    with pytest.raises(BackendError, match="port") as caught:
        load("v1", "ports-taken")
    assert caught.value.cause == "port-taken"
    assert "couldn't bind" in caught.value.stderr_tail
    assert nothing_left(tmp_path / "scratch")


def test_a_server_that_refuses_port_zero_gets_a_number(load: Callable[..., Model]) -> None:
    """Where port 0 is not understood, a port of our choice is used."""
    model = load("v1", "refuses-port-zero")
    assert list(model.generate("ROMEO:", GREEDY))


def test_another_server_on_the_usual_port_is_never_spoken_to(load: Callable[..., Model]) -> None:
    """With another server of the same kind running, each model speaks to its own."""
    one, two = load("v1"), load("v1")
    ports = [model._server.client.port for model in (one, two)]  # type: ignore[attr-defined]
    assert ports[0] != ports[1]
    for model in (one, two):
        server: Any = model._server  # type: ignore[attr-defined]
        listening = [c.laddr.port for c in psutil.Process(server.process.pid).net_connections("tcp4")]
        assert server.client.port in listening
    one.close()
    assert list(two.generate("ROMEO:", GREEDY))


def test_the_server_listens_on_the_loopback_interface_only(load: Callable[..., Model]) -> None:
    """No other machine can reach it."""
    server: Any = load("modern")._server  # type: ignore[attr-defined]
    connections = psutil.Process(server.process.pid).net_connections("tcp")
    assert {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_the_server_demands_a_key_that_nobody_else_can_read(load: Callable[..., Model]) -> None:
    """Without the key the server refuses; the key is on no command line."""
    server: Any = load("modern")._server  # type: ignore[attr-defined]
    from modelplug_llamafile.http import Client

    status, _ = Client(server.client.port).raw("POST", "/tokenize", {"content": "a"}, timeout=60)
    assert status == 401
    key = server.client._headers["Authorization"].removeprefix("Bearer ")
    assert len(key) == 32
    assert key not in " ".join(psutil.Process(server.process.pid).cmdline())


@pytest.mark.parametrize("dialect", ["modern", "v1"])
def test_a_server_without_the_endpoint_is_refused_while_loading(
    load: Callable[..., Model], tmp_path: Path, dialect: str
) -> None:
    """A server that can't complete prompts is found out before the first prompt."""
    with pytest.raises(BackendError, match="no way that is known") as caught:
        load(dialect, "no-endpoint")
    assert caught.value.cause == "unsupported"
    assert "/completion" in caught.value.why
    assert nothing_left(tmp_path / "scratch")


@pytest.mark.parametrize("dialect", ["modern", "v1"])
def test_an_error_of_the_server_is_passed_on(load: Callable[..., Model], dialect: str) -> None:
    """A failure inside the server is an error that carries its message."""
    model = load(dialect, "http-500")
    with pytest.raises(BackendError, match="the sky fell") as caught:
        list(model.generate("ROMEO:", GREEDY))
    assert caught.value.phase == "generate"


@pytest.mark.parametrize("dialect", ["modern", "v1", "v2"])
def test_a_stream_that_breaks_off_is_an_error(load: Callable[..., Model], dialect: str) -> None:
    """An answer without an end is not taken for a complete one."""
    model = load(dialect, "mid-stream")
    seen: list[Chunk] = []
    with pytest.raises(BackendError, match="broke off") as caught:
        seen.extend(model.generate("ROMEO:", GREEDY))
    assert 1 <= len(seen) <= 5
    assert caught.value.phase == "generate"


def test_a_program_that_floods_its_output_does_not_block(load: Callable[..., Model]) -> None:
    """Megabytes on standard error, which nobody reads, do not keep the server from working."""
    assert list(load("v1", "flood").generate("ROMEO:", GREEDY))


def test_a_server_killed_while_generating_is_reported_as_such(
    load: Callable[..., Model], tmp_path: Path
) -> None:
    """SIGKILL in the middle of a request is an error that names the signal."""
    # One that can't be through before it is killed, however fast it is.
    model = load("modern", "stalls")
    stream = model.generate("ROMEO:", GenerateParams(temperature=0, max_tokens=None))
    next(stream)
    server: Any = model._server  # type: ignore[attr-defined]
    os.kill(server.process.pid, signal.SIGKILL)
    with pytest.raises(WorkerCrashedError, match="SIGKILL") as caught:
        list(stream)
    assert caught.value.phase == "generate"
    model.close()
    assert nothing_left(tmp_path / "scratch")


def test_a_silent_server_is_given_up_at_the_deadline(load: Callable[..., Model]) -> None:
    """A server that stops answering is noticed after the deadline for the first token."""
    model = load("modern", deadlines=Deadlines(load=60, first_token=0.5))
    server: Any = model._server  # type: ignore[attr-defined]
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(WorkerTimeoutError) as caught:
            list(model.generate([1, 2, 3], GREEDY))
        assert caught.value.seconds == 0.5
        assert caught.value.phase == "first-token"
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_what_the_program_started_ends_with_it(
    load: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing the model ends the processes its program started."""
    monkeypatch.setenv("FAKE_LLAMAFILE_CHILD", str(tmp_path / "child"))
    model = load("modern", "forks")
    child = int((tmp_path / "child").read_text())
    assert psutil.pid_exists(child)
    model.close()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not psutil.pid_exists(child)


HOST = """
import os, pickle, sys, time
import modelplug_llamafile
model = modelplug_llamafile.modelplug_load_model(pickle.loads(bytes.fromhex(sys.argv[1])))
print(model._server.process.pid, flush=True)
next(model.generate("ROMEO:"))
time.sleep(600)
"""


def test_when_the_host_is_killed_nothing_survives(
    request_for: Callable[..., LoadRequest], tmp_path: Path
) -> None:
    """Five seconds after SIGKILL to the host there is no server and no file."""
    import pickle

    request = request_for("modern")
    host = subprocess.Popen([sys.executable, "-c", HOST, pickle.dumps(request).hex()], stdout=subprocess.PIPE)
    with host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        assert psutil.pid_exists(pid)
        host.kill()
        host.wait()
        deadline = time.monotonic() + 5
        while (psutil.pid_exists(pid) or list((tmp_path / "scratch").iterdir())) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.01)
    assert not psutil.pid_exists(pid)
    assert nothing_left(tmp_path / "scratch")


def test_a_file_in_a_foreign_format_is_explained(
    request_for: Callable[..., LoadRequest], tmp_path: Path
) -> None:
    """A program that neither the kernel nor the shell can run is an error about its format."""
    program = tmp_path / "llamafile"
    program.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(200))
    program.chmod(0o755)
    request = request_for("modern", settings={"executable": str(program)})
    with pytest.raises(BackendError, match="llamafile") as caught:
        modelplug_llamafile.modelplug_load_model(request)
    assert caught.value.cause == "start-failed"
    assert "format" in f"{caught.value.why} {caught.value.advice}".lower()


def test_a_portable_executable_is_started_through_the_shell(
    request_for: Callable[..., LoadRequest], fake: Callable[..., Path], tmp_path: Path
) -> None:
    """A file the kernel does not know as a program, but which is a shell script as well, runs."""
    inner = fake("v1")
    program = tmp_path / "llamafile-0.9.3"
    program.write_text(f"MZqFpD='\n'\nexec '{inner}' \"$@\"\n")
    program.chmod(0o755)
    model = modelplug_llamafile.modelplug_load_model(request_for("v1", settings={"executable": str(program)}))
    assert model is not None
    with model:
        assert model.effective.engine_version == "0.9.3"
        assert list(model.generate("ROMEO:", GREEDY))


def test_an_argument_the_program_does_not_know_is_named(load: Callable[..., Model]) -> None:
    """An unknown argument of the user's is reported in the program's own words, with where to change it."""
    with pytest.raises(WorkerCrashedError) as caught:
        load("v1", settings={"arguments": ("--mmap",)})
    assert "--mmap" in caught.value.stderr_tail
    assert caught.value.cause == "unsupported"
    assert "arguments" in caught.value.advice
