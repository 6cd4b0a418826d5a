"""Every way an engine fails, and what its host makes of it."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from modelplug.backends import process as process_module
from modelplug.backends.model import CancelToken, GenerateParams
from modelplug.backends.types import Deadlines
from modelplug.backends.worker_model import WorkerModel
from modelplug.errors import (
    BackendError,
    GenerationCancelledError,
    ModelplugError,
    WorkerCrashedError,
    WorkerTimeoutError,
)

DEATHS = {
    "sigsegv": ("crash", "SIGSEGV", "invalid memory access"),
    "sigabrt": ("crash", "SIGABRT", "internal check"),
    "sigill": ("illegal-instruction", "SIGILL", "instruction this processor does not have"),
    "sigfpe": ("crash", "SIGFPE", "arithmetic"),
    "sigbus": ("crash", "SIGBUS", "memory that is not there"),
    "sigkill": ("out-of-memory", "SIGKILL", "when memory runs out"),
    "exit": ("exit", None, "exit status 3"),
    "fork-and-crash": ("crash", "SIGSEGV", "invalid memory access"),
}
FAILURES = {
    "exception": ("exception", "RuntimeError: tensor 'blk.0.attn_q.weight' has a bad shape"),
    "system-exit": ("exception", "SystemExit: 4"),
    "keyboard-interrupt": ("exception", "KeyboardInterrupt"),
    "memory": ("out-of-memory", "MemoryError: cannot allocate 99 GiB"),
}


def _provoke(misbehaving: Any, fault: str, at: str, **rest: Any) -> BackendError:
    if at in ("import", "load"):
        with pytest.raises(ModelplugError) as caught:
            misbehaving.start(fault, at, **rest)
    else:
        with misbehaving.start(fault, at, **rest) as model, pytest.raises(ModelplugError) as caught:
            misbehaving.text_of(model, "one two three four")
    assert isinstance(caught.value, BackendError)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "at"),
    [(fault, "load") for fault in DEATHS]
    + [("sigsegv", "import"), ("sigill", "import"), ("sigkill", "middle"), ("sigabrt", "middle")]
    + [("sigsegv", "first"), ("exit", "first")],
)
def test_a_death_is_decoded(misbehaving: Any, fault: str, at: str) -> None:
    """A worker that dies becomes an error with cause, signal, phase and advice, and the host lives on."""
    cause, signal_name, words = DEATHS[fault]
    error = _provoke(misbehaving, fault, at)
    assert isinstance(error, WorkerCrashedError)
    assert (error.cause, error.signal_name) == (cause, signal_name)
    assert error.exit_status == (3 if signal_name is None else -signal.Signals[signal_name])
    assert words in error.what
    assert error.backend == "misbehaving"
    phases = {"import": "load", "load": "load", "first": "first-token", "middle": "generate"}
    assert error.phase == phases[at]
    assert error.data["phase"] == error.phase
    assert error.advice


def test_a_segfault_leaves_its_traceback_in_the_last_words(misbehaving: Any) -> None:
    """What the dying process wrote is kept, faulthandler's stack included."""
    error = _provoke(misbehaving, "sigsegv", "load")
    assert "Fatal Python error: Segmentation fault" in error.stderr_tail
    assert "misbehaving_engine.py" in error.stderr_tail


@pytest.mark.parametrize(
    ("isolation", "fault", "at"),
    [("process", fault, at) for fault in FAILURES for at in ("load", "first", "middle")]
    # Inline, Ctrl-C is the host's own, and a module is imported once per process.
    + [("inline", fault, at) for fault in FAILURES for at in ("load", "first") if fault[0] != "k"]
    + [("process", "exception", "import"), ("process", "memory", "import")],
)
def test_an_exception_becomes_a_backend_error(misbehaving: Any, fault: str, at: str, isolation: str) -> None:
    """An exception of any kind in the engine is the same backend error in a worker and inline."""
    cause, why = FAILURES[fault]
    error = _provoke(misbehaving, fault, at, isolation=isolation)
    assert type(error) is BackendError
    assert (error.cause, error.backend) == (cause, "misbehaving")
    if at in ("import", "load"):
        # The plugin host says in which hook and where, around it.
        assert why.partition(":")[0] in error.why
    else:
        assert error.why == why
    assert error.phase == ("load" if at in ("import", "load") else "generate")
    if isolation == "process" and not (fault == "system-exit" and at == "load"):
        assert why.partition(":")[0] in error.stderr_tail
        assert "misbehave" in error.stderr_tail


def test_inline_lets_ctrl_c_through(misbehaving: Any) -> None:
    """Inline, KeyboardInterrupt is not swallowed as if the engine had raised it."""
    with pytest.raises(KeyboardInterrupt):
        misbehaving.start("keyboard-interrupt", isolation="inline")


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_an_engines_own_error_arrives_unchanged(misbehaving: Any, isolation: str) -> None:
    """A `BackendError` of the plugin keeps its cause and words."""
    error = _provoke(misbehaving, "engine-error", "load", isolation=isolation)
    assert (error.what, error.cause, error.phase) == ("the engine says no", "unsupported", "load")


@pytest.mark.parametrize("isolation", ["process", "inline"])
@pytest.mark.parametrize("at", ["load", "first", "middle"])
def test_a_wrong_type_is_an_error(misbehaving: Any, at: str, isolation: str) -> None:
    """An engine that returns something else than the contract says is reported, not passed on."""
    error = _provoke(misbehaving, "wrong-type", at, isolation=isolation)
    assert "42" in str(error) or "int" in str(error) or "str" in str(error)


def test_the_worker_survives_an_exception_while_generating(misbehaving: Any) -> None:
    """A request that fails with an exception leaves the worker fit for the next."""
    with misbehaving.start() as model:
        with pytest.raises(BackendError):
            misbehaving.text_of(model, "!exception middle")
        assert misbehaving.text_of(model, "one two", 2) == "one two "


# Noise ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["load", "middle"])
def test_a_flood_on_standard_error_is_drained_in_bounded_memory(misbehaving: Any, at: str) -> None:
    """Two hundred megabytes on standard error delay nothing for good, and only the end is kept."""
    import psutil

    before = psutil.Process().memory_info().rss
    with misbehaving.start("flood", at) as model:
        assert misbehaving.text_of(model, "one two three four", 4) == "one two three four "
        assert isinstance(model, WorkerModel)
        assert misbehaving.eventually(lambda: "the flood is over" in model.process.stderr_tail())
        assert len(model.process.stderr_tail(10_000)) < 1_000_000
    assert psutil.Process().memory_info().rss - before < 64_000_000


def test_a_line_without_end_is_cut(misbehaving: Any) -> None:
    """Sixty-four megabytes without a line break take no more memory than the ring."""
    with misbehaving.start("endless-line") as model:
        assert misbehaving.text_of(model, "one", 1) == "one "
        assert isinstance(model, WorkerModel)
        assert 0 < len(model.process.stderr_tail(10_000)) < 1_000_000


@pytest.mark.parametrize(
    "fault", ["print", "garbage-on-stdout", "close-stdout", "grandchild", "stray", "fork"]
)
@pytest.mark.parametrize("at", ["load", "middle"])
def test_harmless_oddities_do_no_harm(misbehaving: Any, fault: str, at: str) -> None:
    """Printing, garbage on or closing of standard output, and children don't disturb the stream."""
    with misbehaving.start(fault, at) as model:
        assert misbehaving.text_of(model, "one two three four", 4) == "one two three four "
        marker = model.process.spawned._marker
        assert misbehaving.processes_with(marker)
    assert misbehaving.eventually(lambda: not misbehaving.processes_with(marker))


def test_what_an_engine_prints_is_kept_without_control_characters(misbehaving: Any) -> None:
    """Standard output counts as last words, and escape sequences in it can't reach a terminal."""
    with misbehaving.start("print") as model:
        assert misbehaving.eventually(lambda: "red" in model.process.stderr_tail())
        tail = model.process.stderr_tail()
    assert "engine 1.0 loading tensors" in tail
    assert "\x1b" not in tail


def test_an_engine_that_closes_every_descriptor_is_told_of(misbehaving: Any) -> None:
    """Closing the descriptors of the protocol ends the worker with an error and not with a wait for ever."""
    error = _provoke(misbehaving, "close-everything", "middle")
    assert isinstance(error, WorkerCrashedError)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("emoji", "👩‍🚀é→"),
        ("nul", "a\0b\x1b"),
        ("surrogates", "a\ud83d\ude80b\ud800c"),
        ("huge", "x" * 10_000_000),
    ],
)
def test_any_text_crosses_the_wire(misbehaving: Any, prompt: str, expected: str) -> None:
    """Ten megabytes in one chunk, NUL, and even halves of surrogate pairs arrive as they were sent."""
    with misbehaving.start() as model:
        assert misbehaving.text_of(model, prompt, 2) == expected * 2


# Hanging --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["hang", "hang-with-lock"])
@pytest.mark.parametrize("at", ["import", "load", "first", "middle"])
def test_a_hang_ends_at_its_deadline(misbehaving: Any, fault: str, at: str) -> None:
    """An engine that hangs, even with the interpreter lock, is stopped at the deadline of its phase."""
    deadlines = Deadlines(start=60.0, load=60.0, first_token=60.0, close=0.2)
    if at in ("import", "load"):
        deadlines = Deadlines(start=60.0, load=1.5, first_token=60.0, close=0.2)
    elif at == "first":
        deadlines = Deadlines(start=60.0, load=60.0, first_token=1.0, close=0.2)
    began = time.monotonic()
    if at == "middle":
        error = _hang_in_the_middle(misbehaving, fault, deadlines)
    else:
        error = _provoke(misbehaving, fault, at, deadlines=deadlines)
    assert time.monotonic() - began < 30
    assert isinstance(error, WorkerTimeoutError)
    assert error.cause == "timeout"
    phases = {"import": "load", "load": "load", "first": "first-token", "middle": "generate"}
    assert error.phase == phases[at]
    assert error.seconds == (1.5 if at in ("import", "load") else 1.0)
    assert "--timeout" in error.advice


def _hang_in_the_middle(misbehaving: Any, fault: str, deadlines: Deadlines) -> BackendError:
    # Only what follows the first token is to be late, on a busy machine too.
    with misbehaving.start(fault, "middle", deadlines=deadlines) as model:
        stream = model.generate("one two three four", GenerateParams(max_tokens=6))
        next(stream)
        model._request = attrs.evolve(model._request, deadlines=attrs.evolve(deadlines, first_token=1.0))
        with pytest.raises(BackendError) as caught:
            list(stream)
    return caught.value


def test_a_worker_that_does_not_start_in_time_is_an_error(
    misbehaving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline for starting is kept, and the process is gone."""
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(WorkerTimeoutError) as caught:
        misbehaving.start(deadlines=Deadlines(start=0.7))
    assert (caught.value.phase, caught.value.seconds) == ("start", 0.7)


def test_a_worker_that_can_not_start_says_why(
    misbehaving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends before its first word is reported with what it wrote."""
    (tmp_path / "sitecustomize.py").write_text("import os; os.write(2, b'no such library\\n'); os._exit(7)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(WorkerCrashedError, match="exit status 7") as caught:
        misbehaving.start()
    assert caught.value.phase == "start"
    assert "no such library" in caught.value.stderr_tail


def test_silence_is_taken_for_death(misbehaving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any deadline, a worker that gives no heartbeat while it should generate is stopped."""
    monkeypatch.setattr(process_module, "HEARTBEAT_SECONDS", 2.5)
    endless = Deadlines(start=60.0, load=60.0, first_token=None, close=0.2)
    with misbehaving.start(deadlines=endless) as model:
        with pytest.raises(WorkerTimeoutError) as caught:
            misbehaving.text_of(model, "!hang-with-lock first")
        assert caught.value.seconds == 2.5
        assert not model.process.alive


def test_a_slow_engine_that_beats_is_left_alone(misbehaving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long wait for a token is no fault as long as the worker gives signs of life."""
    monkeypatch.setattr(process_module, "HEARTBEAT_SECONDS", 2.5)
    endless = Deadlines(start=60.0, load=60.0, first_token=None, close=0.2)
    with misbehaving.start(deadlines=endless, seconds=4.0) as model:
        assert misbehaving.text_of(model, "!hang first", 1) == "!hang "


def test_a_request_that_is_late_leaves_the_others_alone(
    misbehaving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request past its deadline that can be stopped by itself does not take the worker with it."""
    with misbehaving.start(pace=0.05) as model:
        texts: list[str] = []
        other = threading.Thread(target=lambda: texts.append(misbehaving.text_of(model, "a", 60)))
        other.start()
        with pytest.raises(WorkerTimeoutError, match="tokenize within 1 s"):
            _late(model, monkeypatch)
        other.join()
        assert texts == ["a " * 60]
        assert misbehaving.text_of(model, "b", 1) == "b "


def _late(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # A request whose first answer never comes but which ends when it is cancelled.
    reply = model.process.send({"op": "generate", "prompt": "x", "params": {"max_tokens": None}})
    number = reply.number
    model.process.forget(reply)
    silent = type(reply)(number)
    cancel = model.process.cancel

    def end(cancelled: int) -> None:
        cancel(cancelled)
        silent.messages.put({"op": "result", "id": cancelled})

    monkeypatch.setattr(model.process, "cancel", end)
    model.process.wait(silent, "tokenize", 1.0)


# Cancelling -----------------------------------------------------------------------------------------------


def test_cancelling_one_request_does_not_hurt_another(misbehaving: Any) -> None:
    """Of two requests at the same time, one is cancelled and ends so, and the other says all it has to."""
    with misbehaving.start(pace=0.02) as model:
        token = CancelToken()
        reasons: list[str | None] = []
        texts: list[str] = []
        begun = threading.Event()

        def cancelled() -> None:
            for chunk in model.generate("one", GenerateParams(max_tokens=10_000), cancel=token):
                reasons.append(chunk.finish_reason)
                begun.set()

        def whole() -> None:
            texts.append(misbehaving.text_of(model, "two", 60))

        threads = [threading.Thread(target=cancelled), threading.Thread(target=whole)]
        for thread in threads:
            thread.start()
        assert begun.wait(60)
        token.cancel()
        for thread in threads:
            thread.join()
    assert reasons[-1] == "cancelled"
    assert set(reasons[:-1]) == {None}
    assert texts == ["two " * 60]


def test_leaving_the_stream_stops_the_engine(misbehaving: Any, tmp_path: Path) -> None:
    """A consumer that goes away is noticed by the engine, which counts the request as ended."""
    with misbehaving.start(pace=0.02) as model:
        stream = model.generate("one", GenerateParams(max_tokens=10_000))
        next(stream)
        stream.close()
        assert misbehaving.eventually(lambda: model.stats.requests == 1)


def test_a_token_that_was_cancelled_before_ends_the_request_at_once(misbehaving: Any) -> None:
    """A request with a cancelled token ends as cancelled, and the worker serves the next one."""
    with misbehaving.start() as model:
        token = CancelToken()
        token.cancel()
        chunks = list(model.generate("one", GenerateParams(max_tokens=100_000), cancel=token))
        assert chunks[-1].finish_reason == "cancelled"
        assert misbehaving.text_of(model, "two", 1) == "two "


def test_loading_can_be_cancelled_and_a_loaded_model_can_not(misbehaving: Any, tmp_path: Path) -> None:
    """The token stops loading, as a cancellation; once loading is over it means nothing any more."""
    token = CancelToken()
    journal = tmp_path / "journal"

    def cancel() -> None:
        misbehaving.eventually(journal.exists, 60)
        token.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(GenerationCancelledError) as caught:
        misbehaving.start("hang", cancel=token, journal=str(journal))
    thread.join()
    assert (caught.value.cause, caught.value.phase) == ("cancelled", "load")
    late = CancelToken()
    with misbehaving.start(cancel=late) as model:
        late.cancel()
        assert misbehaving.text_of(model, "one", 1) == "one "


def test_closing_while_generating_ends_the_stream_with_an_error(misbehaving: Any) -> None:
    """Closing the model from another thread ends a running request as closed or as cancelled."""
    model = misbehaving.start(pace=0.02)
    ends: list[object] = []
    begun = threading.Event()

    def run() -> None:
        try:
            for chunk in model.generate("one", GenerateParams(max_tokens=10_000)):
                begun.set()
                if chunk.finish_reason:
                    ends.append(chunk.finish_reason)
        except BackendError as error:
            ends.append(error.cause)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(60)
    model.close()
    thread.join()
    assert ends in (["closed"], ["cancelled"])
    with pytest.raises(BackendError, match="closed"):
        misbehaving.text_of(model, "two")


@pytest.mark.parametrize("fault", ["exception", "hang", "hang-with-lock", "sigsegv", "exit"])
def test_trouble_while_closing_is_contained(misbehaving: Any, fault: str) -> None:
    """An engine that fails or hangs in `close` is ended, and closing raises nothing."""
    began = time.monotonic()
    model = misbehaving.start(fault, "close", deadlines=Deadlines(close=1.0))
    model.close()
    model.close()
    assert time.monotonic() - began < 30
    assert not model.process.alive
