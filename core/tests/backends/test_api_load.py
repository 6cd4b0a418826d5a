"""`modelplug.load` and its kin: what they return, what they raise, and what they leave out of silence."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import attrs
import pytest

import modelplug
from modelplug.backends import api
from modelplug.backends.model import CancelToken, Effective, GenerateParams, Message
from modelplug.backends.types import Attempt, LoadPlan
from modelplug.errors import (
    BackendError,
    CapabilityError,
    ContextOverflowError,
    ModelNotFoundError,
    ModelplugError,
    UnsupportedParameterError,
    UsageError,
    WorkerCrashedError,
)
from modelplug.runtime import Runtime

FEW = GenerateParams(max_tokens=3, temperature=0.0)
FORGIVING = GenerateParams(max_tokens=3, unsupported="warn")


@pytest.fixture
def runtime(misbehaving: Any) -> Runtime:
    """A runtime whose only backends are the two echoes."""
    made = Runtime()
    found = made.backends.reports()
    kept = {name: found[name] for name in ("misbehaving", "sound")}
    made.backends.reports = lambda **_: kept  # type: ignore[method-assign]
    return made


def load(runtime: Runtime, backend: str | None = "misbehaving", **settings: Any) -> Any:
    """The demo model loaded with an echo."""
    return modelplug.load("demo", backend=backend, runtime=runtime, **settings)


def test_a_model_is_loaded_in_a_worker(runtime: Runtime) -> None:
    """Without further wishes the engine runs in a process of its own, and the result says what it took."""
    with load(runtime, threads=3) as model:
        result = model.load_result
        assert (result.success, result.backend, result.device) == (True, "misbehaving", "cpu")
        assert result.error == result.suggestion == ""
        assert result.load_time > 0
        assert result.memory_bytes == result.resident_bytes > 1_000_000
        assert result.memory_usage == round(result.memory_bytes / 1e6, 1)
        assert result.device_bytes is None
        assert [attempt.success for attempt in result.attempts] == [True]
        assert result.requested == {"backend": "misbehaving", "threads": 3}
        assert result.effective is not None
        assert result.effective.threads == 3
        assert result.model is model
        assert model.complete("one two", FEW) == "one two one "


def test_differences_from_what_was_wanted_are_told(runtime: Runtime) -> None:
    """A context size that the engine does not honour is a note, in the result and on the model."""
    with load(runtime, context_size=100) as model:
        assert model.load_result.notes == ("context_size=100 was asked for; 64 is in force.",)
        assert model.effective.notes == model.load_result.notes


def test_a_fallback_is_told(runtime: Runtime) -> None:
    """When the first engine fails, the result names the attempt, its error and what runs instead."""
    runtime.config.set("preferred_backend", "misbehaving")
    runtime.config.set("backends.misbehaving.fault", "sigsegv")
    with load(runtime, None) as model:
        result = model.load_result
        assert result.backend == "sound"
        assert [attempt.success for attempt in result.attempts] == [False, True]
        assert result.notes[0].startswith(
            "misbehaving on the CPU was tried first and failed: misbehaving crashed"
        )
        assert result.notes[1] == "The model runs on sound on the CPU instead."


def test_a_failure_of_every_attempt_is_the_first_ones_error(runtime: Runtime) -> None:
    """The error names all attempts in its data, and says in words what became of the others."""
    for name, fault in (("misbehaving", "sigsegv"), ("sound", "exception")):
        runtime.config.set(f"backends.{name}.fault", fault)
    runtime.config.set("preferred_backend", "misbehaving")
    with pytest.raises(WorkerCrashedError) as caught:
        load(runtime, None)
    attempts: Any = caught.value.data["attempts"]
    assert [attempt["backend"] for attempt in attempts] == ["misbehaving", "sound"]
    assert "then sound on the CPU" in caught.value.why
    json.dumps(caught.value.to_dict())


@pytest.mark.parametrize("fallback", ["never", "ask"])
def test_without_permission_there_is_no_fallback(runtime: Runtime, fallback: str) -> None:
    """With `never`, or `ask` and nobody to ask, the first failure is final and says so."""
    runtime.config.set("preferred_backend", "misbehaving")
    runtime.config.set("backends.misbehaving.fault", "exception")
    with pytest.raises(BackendError) as caught:
        load(runtime, None, fallback=fallback)
    attempts: Any = caught.value.data["attempts"]
    assert len(attempts) == 1
    assert ("switched off" if fallback == "never" else "nobody to ask") in caught.value.why


def test_asking_before_a_fallback(runtime: Runtime) -> None:
    """With `ask` the caller's function decides, seeing what failed and what would follow."""
    runtime.config.set("preferred_backend", "misbehaving")
    runtime.config.set("backends.misbehaving.fault", "exception")
    questions: list[tuple[str, str]] = []

    def ask(failed: Attempt, following: LoadPlan) -> bool:
        questions.append((str(failed.error), following.backend))
        return True

    with load(runtime, None, fallback="ask", on_fallback=ask) as model:
        assert model.effective.backend == "sound"
    assert [following for _, following in questions] == ["sound"]
    assert "bad shape" in questions[0][0]


def test_the_settings_decide_where_the_call_says_nothing(runtime: Runtime) -> None:
    """`fallback_enabled` false means never; `isolation` and `generation` are taken from the settings."""
    runtime.config.set("fallback_enabled", False)
    runtime.config.set("isolation", "inline")
    runtime.config.set("generation.max_tokens", 2)
    runtime.config.set("generation.temperature", 0)
    with load(runtime) as model:
        assert type(model.engine).__name__ == "InlineModel"
        assert "".join(chunk.text for chunk in model.generate("a")) == "a a "
        assert model.default_params.max_tokens == 2
    runtime.config.set("preferred_backend", "misbehaving")
    runtime.config.set("backends.misbehaving.fault", "exception")
    with pytest.raises(BackendError, match="fallback is switched off"):
        load(runtime, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fallback": "perhaps"},
        {"isolation": "cloud"},
        {"timeout": 0},
        {"timeout": -1.0},
        {"timeout": float("nan")},
        {"no_such_setting": 1},
        {"backend": "lamacpp"},
    ],
    ids=lambda wrong: next(iter(wrong)) + "=" + str(next(iter(wrong.values()))),
)
def test_a_wrong_call_is_refused_before_anything_starts(runtime: Runtime, wrong: dict[str, Any]) -> None:
    """A wrong word is an error with advice, in `load` and `try_load` alike, and no engine is started."""
    attempts: list[LoadPlan] = []
    arguments = {"backend": "misbehaving", "on_attempt": attempts.append, **wrong}
    with pytest.raises(ModelplugError) as caught:
        modelplug.load("demo", runtime=runtime, **arguments)
    assert caught.value.advice
    assert not attempts
    if isinstance(caught.value, UsageError):
        with pytest.raises(UsageError):
            api.try_load("demo", runtime=runtime, **arguments)


def test_an_explicit_backend_overrides_its_cool_down(runtime: Runtime) -> None:
    """Whoever names an engine gets it, however often it has died."""
    for _ in range(3):
        with pytest.raises(WorkerCrashedError):
            load(runtime, fault="sigsegv")
    with load(runtime) as model:
        assert model.effective.backend == "misbehaving"


def test_deaths_while_generating_lead_to_a_cool_down(runtime: Runtime) -> None:
    """An engine that loads well and dies of every first token is left alone like one that dies loading."""
    runtime.config.set("preferred_backend", "misbehaving")
    for _ in range(3):
        with load(runtime, None) as model, pytest.raises(WorkerCrashedError):
            model.complete("!sigsegv first", FEW)
    with load(runtime, None) as model:
        assert model.effective.backend == "sound"
        assert "left alone" in model.load_result.notes[0]
    with load(runtime) as model:
        model.complete("one", FEW)
    with load(runtime, None) as model:
        assert model.effective.backend == "misbehaving"


# try_load and GGUFModel -----------------------------------------------------------------------------------


def test_try_load_gives_a_record_of_success(runtime: Runtime) -> None:
    """The model is in the result."""
    result = api.try_load("demo", backend="sound", runtime=runtime)
    assert result.success
    assert result.model is not None
    with result.model as model:
        assert model.effective.backend == "sound"


def test_try_load_gives_a_record_of_failure(runtime: Runtime) -> None:
    """A failure is a record with error, suggestion and attempts, not an exception."""
    result = api.try_load("demo", backend="misbehaving", fault="sigill", runtime=runtime)
    assert not result.success
    assert (result.backend, result.model, result.effective) == ("misbehaving", None, None)
    assert "SIGILL" in result.error
    assert "another backend" in result.suggestion
    assert len(result.attempts) == 1
    missing = api.try_load("/no/such/model.gguf", runtime=runtime)
    assert not missing.success
    assert "/no/such/model.gguf" in missing.error


def test_the_guides_model_loads_talks_and_reloads(runtime: Runtime) -> None:
    """`GGUFModel` loads, generates, releases what it had when it loads anew, and closes."""
    model = modelplug.GGUFModel(runtime)
    with pytest.raises(BackendError, match="no model is loaded"):
        next(model.generate("x"))
    result = model.load("demo", backend="sound")
    assert (result.success, result.backend) == (True, "sound")
    assert "".join(chunk.text for chunk in model.generate("a b", FEW)) == "a b a "
    first = model.model
    assert model.load_with_backend("demo", "misbehaving").backend == "misbehaving"
    assert first is not None
    with pytest.raises(BackendError, match="closed"):
        first.complete("x", FEW)
    said = "".join(chunk.text for chunk in model.chat([Message("user", "hi")], FEW))
    assert said == "user=hi user=hi user=hi "
    assert not model.load("/no/such/file.gguf").success
    assert model.model is None
    with pytest.raises(ModelNotFoundError):
        model.load_with_backend("/no/such/file.gguf", "sound")
    model.close()
    model.close()


# Asynchronous ---------------------------------------------------------------------------------------------


def test_the_asynchronous_twin_does_what_the_model_does(runtime: Runtime) -> None:
    """Every method has an awaited twin with the same answers."""

    async def use() -> None:
        async with await modelplug.load_async("demo", backend="sound", runtime=runtime) as model:
            assert [c.text async for c in model.generate("a b", FEW)] == ["a ", "b ", "a ", ""]
            said = [c.text async for c in model.chat([Message("user", "x")], FEW)]
            assert said == ["user=x ", "user=x ", "user=x ", ""]
            assert await model.complete("q", FEW) == "q q q "
            assert await model.tokenize("ab") == [256, 97, 98]
            assert await model.detokenize([97, 98]) == "ab"
            assert (await model.stats()).requests == 3
            assert isinstance(model.effective, Effective)
            with pytest.raises(BackendError, match="embeddings"):
                await model.embed(["x"])
            with pytest.raises(BackendError, match="bad shape"):
                await model.complete("!exception middle", FEW)

    asyncio.run(use())


def test_the_event_loop_runs_while_the_model_talks(runtime: Runtime) -> None:
    """Other tasks make progress while a request streams."""

    async def use() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        async with await modelplug.load_async("demo", backend="sound", pace=0.05, runtime=runtime) as model:
            ticking = asyncio.create_task(tick())
            await model.complete("a", GenerateParams(max_tokens=8, temperature=0.0))
            ticking.cancel()
        return ticks

    assert asyncio.run(use()) > 5


@pytest.mark.parametrize("how", ["break", "cancel"])
def test_leaving_an_asynchronous_stream_stops_the_engine(
    runtime: Runtime, misbehaving: Any, how: str
) -> None:
    """Leaving the loop, or cancelling the task, cancels the request in the engine."""
    endless = GenerateParams(max_tokens=100_000, temperature=0.0)

    async def use() -> None:
        async with await modelplug.load_async("demo", backend="sound", pace=0.01, runtime=runtime) as model:
            begun = asyncio.Event()

            async def consume() -> None:
                stream = model.generate("a", endless)
                async for _ in stream:
                    begun.set()
                    if how == "break":
                        break
                await stream.aclose()  # type: ignore[attr-defined]

            task = asyncio.create_task(consume())
            if how == "cancel":
                await begun.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                await task
            assert await asyncio.to_thread(misbehaving.eventually, lambda: model.model.stats.requests == 1)

    asyncio.run(use())


def test_cancelling_the_task_stops_an_asynchronous_load(
    runtime: Runtime, misbehaving: Any, tmp_path: Path
) -> None:
    """A cancelled `load_async` stops the engine that is loading."""
    journal = tmp_path / "journal"

    async def use() -> None:
        task = asyncio.create_task(
            modelplug.load_async(
                "demo", backend="misbehaving", fault="hang", journal=str(journal), runtime=runtime
            )
        )
        assert await asyncio.to_thread(misbehaving.eventually, journal.exists, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(use())


# The model that is returned -------------------------------------------------------------------------------


def test_a_parameter_the_engine_lacks_is_an_error_or_a_warning(runtime: Runtime) -> None:
    """What can't be honoured raises, or with `unsupported="warn"` is left out and recorded."""
    with load(runtime) as model:
        with pytest.raises(UnsupportedParameterError) as caught:
            model.complete("a", GenerateParams(temperature=0.5, top_k=40))
        assert caught.value.parameter == "top_k"
        last = list(model.generate("a", FORGIVING))[-1]
        assert last.stats is not None
        assert [warning.split("=")[0] for warning in last.stats.warnings] == ["top_k", "top_p"]


def test_the_caller_sees_its_own_times(runtime: Runtime) -> None:
    """Time to the first token and in total are measured where the caller is."""
    with load(runtime, pace=0.05) as model:
        last = list(model.generate("a", FEW))[-1]
    assert last.finish_reason == "length"
    assert last.stats is not None
    assert last.stats.first_token_seconds is not None
    assert last.stats.total_seconds is not None
    assert 0 < last.stats.first_token_seconds < last.stats.total_seconds
    assert last.stats.total_seconds > 0.1


@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_a_prompt_longer_than_the_context(runtime: Runtime, isolation: str) -> None:
    """It is an error with both numbers, or a truncation that the caller chose and the statistics record."""
    long = "word " * 100
    with load(runtime, isolation=isolation) as model:
        with pytest.raises(ContextOverflowError) as caught:
            model.complete(long, FEW)
        assert (caught.value.prompt_tokens, caught.value.context_size) == (101, 64)
        params = GenerateParams(max_tokens=3, temperature=0.0, overflow="truncate")
        last = list(model.generate(long, params))[-1]
        assert last.stats is not None
        assert "were dropped" in last.stats.warnings[0]


def test_text_that_is_no_text_is_made_whole(runtime: Runtime) -> None:
    """Halves of surrogate pairs become U+FFFD on their way in and out; whole pairs become characters."""
    with load(runtime) as model:
        assert model.complete("\udcff", FEW) == "\ufffd " * 3
        assert model.complete("surrogates", FEW) == "a🚀b\ufffdc" * 3
        assert model.detokenize(model.tokenize("a\ud83d\ude80\udc00b")) == "a🚀\ufffdb"


def test_messages_may_be_mappings(runtime: Runtime) -> None:
    """A conversation of mappings with role and content is the one of messages, and both may be mixed."""
    told = [Message("system", "a"), Message("user", "b\udcff")]
    with load(runtime) as model:
        expected = [chunk.text for chunk in model.chat(told, FEW)]
        written = [{"role": "system", "content": "a"}, {"role": "user", "content": "b\udcff"}]
        assert [chunk.text for chunk in model.chat(written, FEW)] == expected
        assert [chunk.text for chunk in model.chat((told[0], written[1]), FEW)] == expected


def test_token_ids_may_come_in_any_iterable(runtime: Runtime) -> None:
    """Lists, tuples and iterators of whole numbers are the same prompt."""
    with load(runtime) as model:
        tokens = model.tokenize("one two")
        expected = model.complete(tokens, FEW)
        assert model.complete(tuple(tokens), FEW) == expected
        assert model.complete(iter(tokens), FEW) == expected


WRONG_USES: dict[str, tuple[Any, str]] = {
    "chat with text": (lambda model: model.chat("hi"), "a conversation can't be a str"),
    "chat with one message": (lambda model: model.chat(Message("user", "x")), "can't be a Message"),
    "chat with one mapping": (lambda model: model.chat({"role": "user"}), "can't be a dict"),
    "chat with a number": (lambda model: model.chat(3), "a conversation can't be an int"),
    "chat with nothing": (lambda model: model.chat([]), "the conversation is empty"),
    "chat with texts": (lambda model: model.chat(["hi"]), "message 1 .*it is a str"),
    "a robot": (
        lambda model: model.chat([Message("user", "a"), {"role": "robot", "content": "x"}]),
        "message 2 .*role must be 'system', 'user' or 'assistant', not 'robot'",
    ),
    "no content": (lambda model: model.chat([{"role": "user"}]), "message 1 .*it has role"),
    "more keys": (
        lambda model: model.chat([{"role": "user", "content": "x", "name": "n"}]),
        "message 1 .*it has content, name, role",
    ),
    "parts": (
        lambda model: model.chat([{"role": "user", "content": [{"type": "text"}]}]),
        "message 1 .*content can't be a list: content must be text",
    ),
    "a number": (lambda model: model.generate(3), "a prompt can't be an int"),
    "no prompt": (lambda model: model.generate(None), "a prompt can't be None"),
    "bytes": (lambda model: model.generate(b"abc"), "a prompt can't be a bytes"),
    "words": (lambda model: model.generate(["a", "b"]), "something else than whole numbers"),
    "options": (lambda model: model.generate("x", {"max_tokens": 3}), "parameters can't be a dict"),
    "chat options": (
        lambda model: model.chat([Message("user", "x")], {"max_tokens": 3}),
        "parameters can't be a dict",
    ),
    "tokenize": (lambda model: model.tokenize(3), "text can't be an int"),
    "embed": (lambda model: model.embed("text"), "texts can't be a str"),
    "embed a number": (lambda model: model.embed([3]), "text can't be an int"),
}


def test_wrong_kinds_are_answered_in_a_sentence(runtime: Runtime) -> None:
    """What is no prompt, conversation or parameters is a usage error with advice, and harms nothing."""
    with load(runtime) as model:
        for name, (use, words) in WRONG_USES.items():
            with pytest.raises(UsageError, match=words) as caught:
                use(model)
            assert caught.value.why, name
            assert caught.value.advice, name
        assert model.complete("one two", FEW) == "one two one "


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"timeout": "x"}, "the timeout 'x' is not a number of seconds above 0"),
        ({"timeout": -1}, "the timeout -1 is not a number"),
        ({"timeout": float("nan")}, "the timeout nan is not a number"),
        ({"timeout": True}, "the timeout True is not a number"),
        ({"params": {"max_tokens": 3}}, "parameters can't be a dict"),
        ({"model": 3}, "a model can't be 3"),
        ({"model": b"demo"}, "a model can't be b'demo'"),
    ],
    ids=repr,
)
def test_wrong_kinds_given_to_load(runtime: Runtime, given: dict[str, Any], words: str) -> None:
    """Loading starts nothing for a call that can't be meant, and says what can."""
    arguments: dict[str, Any] = {"model": "demo", "runtime": runtime, **given}
    with pytest.raises(UsageError, match=words) as caught:
        modelplug.load(**arguments)
    assert caught.value.why
    assert caught.value.advice


def test_a_model_without_a_template_is_for_run(runtime: Runtime) -> None:
    """Where no chat template is applied, the advice is what works: continuing a prompt."""
    with load(runtime) as model:
        model.capabilities = attrs.evolve(model.capabilities, chat=False)
        with pytest.raises(CapabilityError, match="no chat template") as caught:
            model.chat([Message("user", "x")])
    assert "modelplug run" in caught.value.advice


def test_a_closed_model_says_so(runtime: Runtime) -> None:
    """Every method of a closed model raises the same clear error; closing again is harmless."""
    model = load(runtime)
    model.close()
    model.close()
    for use in (
        lambda: list(model.generate("x")),
        lambda: list(model.chat([Message("user", "x")])),
        lambda: model.tokenize("x"),
        lambda: model.embed(["x"]),
        lambda: model.stats,
    ):
        with pytest.raises(BackendError, match="the model has been closed") as caught:
            use()
        assert caught.value.why


def test_a_model_serves_several_threads(runtime: Runtime) -> None:
    """Requests of several threads at the same time don't mix."""
    with load(runtime) as model:
        answers: dict[int, str] = {}

        def ask(number: int) -> None:
            answers[number] = model.complete(f"n{number}", GenerateParams(max_tokens=40, temperature=0.0))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: f"n{number} " * 40 for number in range(6)}


def test_cancelling_with_a_token(runtime: Runtime) -> None:
    """The stream ends with `cancelled` and statistics."""
    with load(runtime, pace=0.01) as model:
        token = CancelToken()
        chunks = []
        for chunk in model.generate("a", GenerateParams(max_tokens=100_000, temperature=0.0), cancel=token):
            chunks.append(chunk)
            if len(chunks) == 3:
                token.cancel()
    assert chunks[-1].finish_reason == "cancelled"
    assert chunks[-1].stats is not None


# The record of runs ---------------------------------------------------------------------------------------


def test_runs_are_remembered(runtime: Runtime) -> None:
    """Each finished request is in the history after closing, and a failed one is there as failed."""
    with load(runtime, "sound") as model:
        model.complete("a b", FEW)
        model.complete("a", FEW)
    with load(runtime) as model, pytest.raises(WorkerCrashedError):
        model.complete("!sigkill middle", FEW)
    runs = Runtime().history.runs()
    assert sorted((run.backend, run.success, run.completion_tokens) for run in runs) == [
        ("misbehaving", False, 0),
        ("sound", True, 3),
        ("sound", True, 3),
    ]
    failed = next(run for run in runs if not run.success)
    assert "SIGKILL" in failed.error
    good = next(run for run in runs if run.success)
    assert good.fingerprint == model.info.fingerprint
    assert good.first_token_seconds is not None
    assert good.resident_bytes is not None


def test_runs_are_written_in_batches(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is not touched at the end of each request, yet a long session is not kept in memory."""
    written: list[object] = []
    history = runtime.history
    real = history.record_runs

    def record(runs: Any, failures: Any = ()) -> bool:
        written.extend(runs)
        return real(runs, failures)

    monkeypatch.setattr(history, "record_runs", record)
    with load(runtime, isolation="inline") as model:
        for _ in range(31):
            model.complete("a", GenerateParams(max_tokens=1, temperature=0.0))
        assert not written
        model.complete("a", GenerateParams(max_tokens=1, temperature=0.0))
        assert len(written) == 32
        model.complete("a", GenerateParams(max_tokens=1, temperature=0.0))
    assert len(written) == 33


def test_a_history_that_can_not_be_written_does_not_matter(runtime: Runtime, tmp_path: Path) -> None:
    """Generation works without a place for the record."""
    (tmp_path / "file").write_text("in the way")
    broken = Runtime(environ={"MODELPLUG_HOME": str(tmp_path / "file")})
    broken.backends.reports = runtime.backends.reports  # type: ignore[method-assign]
    with load(broken) as model:
        assert model.complete("a", FEW) == "a a a "
