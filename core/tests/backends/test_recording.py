"""What runs leave behind: records without a word of what was said, and a model that others can see."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelplug import Runtime
from modelplug.backends.api import load, try_load
from modelplug.backends.cooldown import Cooldown
from modelplug.backends.load import COOLDOWN_FILE
from modelplug.backends.model import Chunk, GenerateParams
from modelplug.errors import BackendError, WorkerCrashedError
from modelplug.history import HistoryStore
from modelplug.history.workers import running_models

FEW = GenerateParams(max_tokens=3, temperature=0.0)
SECRET = "xyzzy-plugh"


@pytest.fixture
def runtime(misbehaving: Any) -> Runtime:
    """A runtime in which an engine is installed that fails on demand."""
    return Runtime()


def everything_under(home: Path) -> bytes:
    """Every byte of every file of a home."""
    return b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())


def test_a_run_has_its_circumstances(runtime: Runtime) -> None:
    """How it ended, how long it took, on what machine, in which session, and what an estimate learns from."""
    with load("demo", backend="sound", runtime=runtime) as model:
        model.complete("a b", FEW)
        model.complete("a b", GenerateParams(max_tokens=2, temperature=0.0))
    last, first = runtime.history.runs()

    assert (first.finish_reason, first.purpose, first.success) == ("length", "use", True)
    assert first.session == last.session != ""
    assert first.total_seconds is not None
    assert first.machine.endswith("cores")
    assert first.weight_bytes is not None
    assert first.weight_count is not None
    assert first.cache_bytes is not None
    assert first.layers == 4
    (seen,) = runtime.history.seen().values()
    assert (seen.fingerprint, seen.architecture) == (first.fingerprint, "llama")


def test_a_run_may_say_what_it_is_for(runtime: Runtime) -> None:
    """Measurements are told from use."""
    with load("demo", backend="sound", purpose="benchmark", runtime=runtime) as model:
        model.complete("a", FEW)

    assert [run.purpose for run in runtime.history.runs()] == ["benchmark"]


def test_nothing_of_what_was_said_is_kept(runtime: Runtime, own_home: Path) -> None:
    """Neither a prompt nor an answer is in any file, whether the run went well, was left, or failed."""
    with load("demo", backend="sound", runtime=runtime) as model:
        assert SECRET in model.complete(SECRET, FEW)
        chunks = model.generate(SECRET, FEW)
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]
        assert SECRET.encode() not in everything_under(own_home)
    with load("demo", backend="misbehaving", runtime=runtime) as model:
        with pytest.raises(BackendError):
            model.complete(f"!raise middle {SECRET}", FEW)
        with pytest.raises(WorkerCrashedError):
            model.complete(f"!sigkill middle {SECRET}", FEW)
    runtime.history.close()

    assert len(runtime.history.runs()) == 4
    assert SECRET.encode() not in everything_under(own_home)


def test_a_request_that_its_caller_leaves_is_a_cancelled_run(runtime: Runtime) -> None:
    """What is known of it is kept: when the first token came, and when the caller went."""
    with load("demo", backend="sound", runtime=runtime) as model:
        chunks = model.generate("a", GenerateParams(max_tokens=20, temperature=0.0))
        next(chunks)
        chunks.close()  # type: ignore[attr-defined]
    (run,) = runtime.history.runs()

    assert (run.finish_reason, run.success, run.completion_tokens) == ("cancelled", True, None)
    assert run.first_token_seconds is not None
    assert run.total_seconds is not None
    assert run.tokens_per_second is None


def test_failures_are_kept_with_phase_and_cause(runtime: Runtime) -> None:
    """While loading, and while generating; a refusal is no failure."""
    with pytest.raises(BackendError):
        load("demo", backend="misbehaving", fault="sigsegv", runtime=runtime)
    with load("demo", backend="misbehaving", runtime=runtime) as model:
        with pytest.raises(BackendError):
            model.complete("a " * 5000, GenerateParams(max_tokens=1, temperature=0.0))
        with pytest.raises(WorkerCrashedError):
            model.complete("!sigsegv middle", FEW)
    second, first = runtime.history.failures()

    assert (first.backend, first.phase, first.cause) == ("misbehaving", "load", "crash")
    assert first.session == ""
    assert (second.phase, second.cause) == ("generate", "crash")
    assert second.session == runtime.history.runs()[0].session
    assert "SIGSEGV" in second.error


def test_an_engines_exception_is_kept_without_its_words(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may quote the prompt; what kind of exception it was is enough."""
    error = BackendError(
        "sound failed while it was to generate",
        backend="sound",
        phase="generate",
        why=f"ValueError: {SECRET}",
    )

    def first_chunk(_number: int) -> Chunk:
        raise error

    def fail(*_arguments: object, **_options: object) -> Iterator[Chunk]:
        return map(first_chunk, [1])

    with load("demo", backend="sound", runtime=runtime) as model:
        monkeypatch.setattr(model.engine, "generate", fail)
        with pytest.raises(BackendError):
            model.complete(SECRET, FEW)

    assert runtime.history.runs()[0].error == "sound failed while it was to generate: ValueError"
    assert runtime.history.failures()[0].error == "sound failed while it was to generate: ValueError"


# Seen by others -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_a_loaded_model_is_seen_until_it_is_closed(runtime: Runtime, isolation: str) -> None:
    """With the process that runs the engine, and what it has done."""
    folder = runtime.paths.workers
    with load("demo", backend="sound", isolation=isolation, runtime=runtime) as model:
        (seen,) = running_models(folder)
        assert (seen.backend, seen.active, seen.requests) == ("sound", 0, 0)
        assert (seen.pid == os.getpid()) == (isolation == "inline")
        assert seen.host_pid == os.getpid()
        model.complete("a", FEW)
        (seen,) = running_models(folder)
        assert (seen.active, seen.requests, seen.completion_tokens) == (0, 1, 3)

    assert running_models(folder) == []


def test_a_request_under_way_is_seen(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others see that the model works, and that pieces come."""
    monkeypatch.setattr("modelplug.history.workers.WRITE_SECONDS", 0.0)
    with load("demo", backend="sound", runtime=runtime) as model:
        chunks = model.generate("a", GenerateParams(max_tokens=20, temperature=0.0))
        next(chunks)
        (seen,) = running_models(runtime.paths.workers)
        assert (seen.active, seen.pieces) == (1, 1)
        list(chunks)
        (seen,) = running_models(runtime.paths.workers)

    assert (seen.active, seen.requests) == (0, 1)


def test_a_failed_request_is_counted_as_such(runtime: Runtime) -> None:
    """An error of the engine's, and not a refusal."""
    with load("demo", backend="misbehaving", isolation="inline", runtime=runtime) as model:
        with pytest.raises(BackendError):
            model.complete("!raise middle", FEW)
        (seen,) = running_models(runtime.paths.workers)

    assert (seen.active, seen.failed, seen.requests) == (0, 1, 0)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_killed_host_leaves_nothing_that_seems_to_run(misbehaving: Any, own_home: Path) -> None:
    """The worker ends with its host, and what stands in the folder is known to be stale."""
    program = """
        import os, signal
        from modelplug import Runtime
        from modelplug.backends.api import load
        from modelplug.history.workers import running_models
        runtime = Runtime()
        model = load("demo", backend="sound", runtime=runtime)
        print(len(running_models(runtime.paths.workers)), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.stdout.strip() == "1"
    folder = Runtime().paths.workers
    for _ in range(500):
        if not running_models(folder):
            break
        time.sleep(0.02)

    assert running_models(folder) == []
    assert list(folder.iterdir()) == []


# Not wanted -----------------------------------------------------------------------------------------------


def test_without_monitoring_nothing_is_recorded_or_shown(runtime: Runtime) -> None:
    """No run, no failure, no model, no file that others see; and the engine that dies is still left alone."""
    runtime.config.set("monitoring", False)
    runtime.config.save()
    quiet = Runtime()
    with load("demo", backend="sound", runtime=quiet) as model:
        model.complete("a", FEW)
        assert running_models(quiet.paths.workers) == []
    for _ in range(3):
        assert not try_load("demo", backend="misbehaving", fault="sigsegv", runtime=quiet).success
    fingerprint = model.info.fingerprint

    assert quiet.history.runs() == []
    assert quiet.history.failures() == []
    assert quiet.history.seen() == {}
    assert Cooldown(quiet.paths.cache / COOLDOWN_FILE).remaining("misbehaving", fingerprint) > 0


def test_a_history_that_is_locked_gets_its_runs_later(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written is kept, and written with what comes next."""
    taken: list[int] = []
    record = HistoryStore.record_runs

    def locked_at_first(store: HistoryStore, runs: Any, failures: Any = ()) -> bool:
        taken.append(len(runs))
        return record(store, runs, failures) if len(taken) > 1 else False

    monkeypatch.setattr(HistoryStore, "record_runs", locked_at_first)
    with load("demo", backend="sound", isolation="inline", runtime=runtime) as model:
        for _ in range(33):
            model.complete("a", GenerateParams(max_tokens=1, temperature=0.0))

    assert taken == [32, 33]
    assert len(runtime.history.runs(limit=None)) == 33
