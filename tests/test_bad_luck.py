"""What may go wrong around a running model: killed engines and hosts, full disks, homes one may not write."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import modelplug
from modelplug.errors import WorkerCrashedError

ENGINES = {
    "llamacpp": ("modelplug_llamacpp", "xllamacpp"),
    "ctransformers": ("modelplug_ctransformers", "ctransformers"),
    "transformers": ("modelplug_transformers", "transformers"),
}
LONG = modelplug.GenerateParams(max_tokens=400, temperature=0.0)
HOST = """
import sys, modelplug
with modelplug.load("demo", backend=sys.argv[1], context_size=512) as model:
    print(model.engine.process.pid, flush=True)
    while True:
        for chunk in model.generate("ROMEO:", modelplug.GenerateParams(max_tokens=400, temperature=0.0)):
            print(chunk.text, end="", flush=True)
"""
LIMIT = 5.0

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals on Windows"),
]


def skip_without(engine: str) -> None:
    """Skip if the engine's packages are missing."""
    if any(importlib.util.find_spec(name) is None for name in ENGINES[engine]):
        pytest.skip(f"{' or '.join(ENGINES[engine])} is not installed")


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def running(pid: int) -> bool:
    """Whether a process runs, and does not just wait to be collected."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> set[int]:
    """A process and everything below it."""
    import psutil

    process = psutil.Process(pid)
    return {pid, *(child.pid for child in process.children(recursive=True))}


def program(*arguments: str, **options: Any) -> Any:
    """The result of the command-line program."""
    return subprocess.run(
        [sys.executable, "-m", "modelplug", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **options,
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_killed_while_generating(engine: str) -> None:
    """SIGKILL of the worker in the middle of a stream is an error with the cause, and the host loads anew."""
    skip_without(engine)
    with modelplug.load("demo", backend=engine, context_size=512) as model:
        stream = model.generate("ROMEO:", LONG)
        assert next(stream).text is not None
        os.kill(model.engine.process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
        with pytest.raises(WorkerCrashedError) as caught:
            # A fast engine was through with the first before it was killed; then the next one meets the same.
            list(itertools.chain(stream, model.generate("ROMEO:", LONG)))
    assert (caught.value.signal_name, caught.value.cause) == ("SIGKILL", "out-of-memory")
    assert caught.value.phase in ("first-token", "generate")
    if engine == "llamacpp":
        with modelplug.load("demo", backend=engine) as model:
            assert model.complete("ROMEO:", modelplug.GenerateParams(max_tokens=3))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_host_killed_while_generating(engine: str, tmp_path: Path) -> None:
    """Five seconds after SIGKILL of the host nothing of it is left, no process and no temporary file."""
    skip_without(engine)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, engine],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        assert host.stdout is not None
        worker = int(host.stdout.readline())
        assert host.stdout.read(10)
        everybody = family(host.pid)
        assert worker in everybody
    finally:
        host.kill()
        host.communicate()
    assert eventually(lambda: not any(running(pid) for pid in everybody), LIMIT)
    assert eventually(lambda: not list(temporary.glob("modelplug-*")), 0.5)


def test_ctrl_c_while_a_real_engine_generates() -> None:
    """Ctrl-C at the program ends it with 130, with the text so far, and nothing runs on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "modelplug", "run", "demo", "ROMEO:", "--json", "--max-tokens", "450"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run in the background may ignore Ctrl-C themselves, and hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    everybody = family(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    # A fast machine may have finished in between; what was said is whole in either case.
    assert process.returncode in (0, 130)
    lines = [json.loads(line) for line in (first + rest).splitlines()]
    assert lines[-1]["finish_reason"] in ("cancelled", "length", "stop")
    assert "Traceback" not in errors
    assert eventually(lambda: not any(running(pid) for pid in everybody), LIMIT)


@pytest.mark.parametrize("where", ["read-only", "a file in the way", "nowhere"])
def test_a_home_that_can_not_be_written(tmp_path: Path, where: str) -> None:
    """A model runs, and doctor and backends work, without any place for settings, history and cache."""
    home = tmp_path / "home"
    if where == "read-only":
        home.mkdir()
        home.chmod(0o500)
    elif where == "a file in the way":
        home.write_text("")
    else:
        home = Path("/proc/no-such-place")
    environment = {**os.environ, "MODELPLUG_HOME": str(home)}
    try:
        done = program("run", "demo", "ROMEO:", "--max-tokens", "3", env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
        assert "Traceback" not in done.stderr
        assert program("backends", env=environment).returncode == 0
    finally:
        if home.is_dir():
            home.chmod(0o700)


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """When nothing more can be written, a model still runs, and settings are refused as a whole."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "MODELPLUG_HOME": str(home)}
    assert program("config", "set", "preferred_backend", "llamacpp", env=environment).returncode == 0
    settings = (home / "config.json").read_bytes()

    def no_space() -> None:
        # Python ignores SIGXFSZ, so that a write beyond the limit fails with an error as on a full disk.
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))

    done = program("config", "set", "fallback_enabled", "false", env=environment, preexec_fn=no_space)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert (home / "config.json").read_bytes() == settings
    done = program(
        "run", "demo", "ROMEO:", "--max-tokens", "3", "--stats", env=environment, preexec_fn=no_space
    )
    assert done.returncode == 0, done.stderr
    assert "3 generated" in done.stderr
    assert (home / "config.json").read_bytes() == settings


def test_output_to_a_full_disk() -> None:
    """Text that can't be written is an error that says so, and the engine is stopped."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no device that is always full")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "modelplug", "run", "demo", "ROMEO:", "--max-tokens", "400"],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Exception ignored" not in done.stderr


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system gives no more processes, the error says so and names the way without one."""

    def refuse(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    runtime = modelplug.Runtime()
    runtime.backends.reports()
    monkeypatch.setattr("modelplug.backends.spawn.subprocess.Popen", refuse)
    with pytest.raises(modelplug.ModelplugError) as caught:
        modelplug.load("demo", backend="llamacpp", fallback="never", runtime=runtime)
    assert "could not be started" in str(caught.value)
    assert 'isolation="inline"' in caught.value.advice


def test_several_programs_at_once(tmp_path: Path) -> None:
    """Four programs that start at the same moment with one home all succeed, and all are in the history."""
    command = [
        sys.executable,
        "-m",
        "modelplug",
        "run",
        "demo",
        "ROMEO:",
        "--max-tokens",
        "20",
        "--threads",
        "1",
    ]
    processes = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    results = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, results
    assert len(modelplug.Runtime().history.runs()) == 4


def test_the_model_file_goes_away_while_it_is_used(tmp_path: Path) -> None:
    """Deleting the file of a loaded model does no harm; loading it again says what is missing."""
    from modelplug.data import demo_model_path

    path = tmp_path / "model.gguf"
    path.write_bytes(demo_model_path().read_bytes())
    with modelplug.load(path, backend="llamacpp") as model:
        path.unlink()
        assert model.complete("ROMEO:", modelplug.GenerateParams(max_tokens=3))
    with pytest.raises(modelplug.ModelplugError, match="there is no model"):
        modelplug.load(path, backend="llamacpp")


def test_the_model_file_shrinks_while_it_is_used(tmp_path: Path) -> None:
    """Truncating a mapped file kills the worker at worst (SIGBUS); the host gets an error or text."""
    from modelplug.data import demo_model_path

    path = tmp_path / "model.gguf"
    path.write_bytes(demo_model_path().read_bytes())
    with modelplug.load(path, backend="llamacpp") as model:
        os.truncate(path, 4096)
        try:
            said = model.complete("HAMLET: To be", modelplug.GenerateParams(max_tokens=50))
        except WorkerCrashedError as error:
            said = error.signal_name or ""
        assert said
