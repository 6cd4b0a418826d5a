"""Generating through a llamafile program, in each of the three dialects its servers speak."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from modelplug.backends.model import CancelToken, Chunk, GenerateParams, Message, Model
from modelplug.errors import (
    BackendError,
    CapabilityError,
    ContextOverflowError,
    UnsupportedParameterError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PROMPT = "ROMEO:\nBut soft, what"
DIALECTS = ("modern", "v1", "v2")
WITH_TOKENS = ("modern", "v1")
GREEDY = GenerateParams(temperature=0, max_tokens=48)


def text_of(chunks: Sequence[Chunk]) -> str:
    """The text of all chunks."""
    return "".join(chunk.text for chunk in chunks)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_greedy_output_is_what_llama_cpp_itself_gives(
    load: Callable[..., Model], oracle: str, dialect: str
) -> None:
    """The same weights, decoded greedily, give the same text as the engine without a server."""
    chunks = list(load(dialect).generate(PROMPT, GREEDY))
    assert text_of(chunks) == oracle
    assert len(chunks) > 10
    assert [chunk.finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    last = chunks[-1]
    assert last.finish_reason == "length"
    assert last.stats is not None
    assert last.stats.completion_tokens == 48
    assert last.stats.prompt_tokens > 3
    assert last.stats.first_token_seconds is not None
    assert last.stats.total_seconds is not None
    assert 0 < last.stats.first_token_seconds <= last.stats.total_seconds


def test_token_ids_are_the_greedy_tokens(load: Callable[..., Model]) -> None:
    """Chunks carry the ids of all tokens, and they spell the text that was streamed."""
    model = load("modern")
    chunks = list(model.generate(PROMPT, GenerateParams(temperature=0, max_tokens=30, return_tokens=True)))
    tokens = [token for chunk in chunks for token in chunk.tokens]
    assert len(tokens) == 30
    assert model.detokenize(tokens) == text_of(chunks)


def test_token_ids_are_complete_where_several_make_one_character(load: Callable[..., Model]) -> None:
    """A character of several tokens comes whole, with the ids of all its tokens."""
    model = load("modern")
    params = GenerateParams(
        temperature=0, max_tokens=40, grammar="root ::= [é-ü] [é-ü] [é-ü] [é-ü]", return_tokens=True
    )
    chunks = list(model.generate(PROMPT, params))
    tokens = [token for chunk in chunks for token in chunk.tokens]
    text = text_of(chunks)
    assert len(text) == 4
    assert all("é" <= character <= "ü" for character in text)
    assert chunks[-1].stats is not None
    assert chunks[-1].stats.warnings == ()
    assert len(tokens) == chunks[-1].stats.completion_tokens >= 2 * len(text)
    assert model.detokenize(tokens) == text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_same_seed_gives_the_same_text(load: Callable[..., Model], dialect: str) -> None:
    """A seed decides the text, also when the prompt could be taken from a cache."""
    model = load(dialect)
    params = GenerateParams(seed=7, max_tokens=40)
    first = text_of(list(model.generate(PROMPT, params)))
    assert text_of(list(model.generate(PROMPT, params))) == first
    others = {text_of(list(model.generate(PROMPT, GenerateParams(seed=n, max_tokens=40)))) for n in (8, 9)}
    assert others - {first}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_generation_ends_before_a_stop_string(load: Callable[..., Model], oracle: str, dialect: str) -> None:
    """Output ends before the stop string, wherever tokens begin and end, and the model goes on working."""
    model = load(dialect)
    stop = oracle[12:17]
    params = GenerateParams(temperature=0, max_tokens=48, stop=(stop,))
    chunks = list(model.generate(PROMPT, params))
    assert text_of(chunks) == oracle[: oracle.index(stop)]
    assert chunks[-1].finish_reason == "stop"
    assert text_of(list(model.generate(PROMPT, GREEDY))) == oracle


@pytest.mark.parametrize("dialect", DIALECTS)
def test_cancelling_stops_the_server(
    load: Callable[..., Model], in_time: Callable[..., Any], dialect: str
) -> None:
    """After cancelling, the last chunk says so, and the server is free for the next request at once."""
    model = load(dialect)
    cancel = CancelToken()
    seen: list[Chunk] = []
    for chunk in model.generate(PROMPT, GenerateParams(temperature=0, max_tokens=None), cancel=cancel):
        seen.append(chunk)
        if len(seen) == 3:
            cancel.cancel()
    assert seen[-1].finish_reason == "cancelled"
    assert seen[-1].stats is not None
    two = GenerateParams(temperature=0, max_tokens=2)
    assert in_time(5, lambda: text_of(list(model.generate(PROMPT, two))))


def test_cancelling_from_another_thread_wakes_a_request_that_waits(load: Callable[..., Model]) -> None:
    """A request that has not had a token yet ends when another thread cancels it."""
    model = load("modern")
    blocker = model.generate(PROMPT, GenerateParams(max_tokens=None))
    next(blocker)
    cancel = CancelToken()
    timer = threading.Timer(0.2, cancel.cancel)
    timer.start()
    chunks = list(model.generate(PROMPT, GREEDY, cancel=cancel))
    timer.join()
    assert chunks[-1].finish_reason in {"cancelled", "length"}
    blocker.close()  # type: ignore[attr-defined]


def test_a_request_cancelled_beforehand_generates_nothing(load: Callable[..., Model]) -> None:
    """A token that is already cancelled gives one chunk that says so."""
    cancel = CancelToken()
    cancel.cancel()
    (only,) = load("modern").generate(PROMPT, GREEDY, cancel=cancel)
    assert (only.text, only.finish_reason) == ("", "cancelled")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_prompt_longer_than_the_context_is_an_error(load: Callable[..., Model], dialect: str) -> None:
    """Nothing is cut in silence: the error says how long the prompt is and what there is room for."""
    model = load(dialect, context_size=256)
    with pytest.raises(ContextOverflowError) as caught:
        list(model.generate("word " * 400, GREEDY))
    assert caught.value.prompt_tokens > 256
    assert caught.value.context_size == 256


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_long_prompt_is_cut_when_asked(load: Callable[..., Model], dialect: str) -> None:
    """With overflow=truncate the beginning goes, a warning is recorded, and output follows."""
    model = load(dialect, context_size=256)
    params = GenerateParams(temperature=0, max_tokens=8, overflow="truncate")
    chunks = list(model.generate("word " * 400 + PROMPT, params))
    stats = chunks[-1].stats
    assert stats is not None
    # The second server does not count: only tokens that show are known there.
    assert stats.completion_tokens == 8 or (dialect == "v2" and 1 <= stats.completion_tokens < 8)
    assert stats.prompt_tokens <= 248
    assert len(stats.warnings) == 1
    assert "dropped" in stats.warnings[0]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_generation_without_a_limit_ends_with_the_context(load: Callable[..., Model], dialect: str) -> None:
    """Without max_tokens, generation ends when the context is full, and never shifts it."""
    model = load(dialect, context_size=256)
    chunks = list(model.generate(PROMPT, GenerateParams(temperature=0, max_tokens=None)))
    stats = chunks[-1].stats
    assert chunks[-1].finish_reason in {"length", "stop"}
    assert stats is not None
    assert stats.prompt_tokens + stats.completion_tokens <= 256


@pytest.mark.parametrize("dialect", WITH_TOKENS)
def test_tokens_round_trip(load: Callable[..., Model], dialect: str) -> None:
    """Tokenising and detokenising gives the text back, with the start token in front if asked."""
    model = load(dialect)
    for text in ("Hello, world!", "ROMEO:\nBut soft", "naïve café"):
        tokens = model.tokenize(text)
        assert tokens[0] == 1
        assert model.tokenize(text, add_special=False) == tokens[1:]
        assert model.detokenize(tokens) == text
    assert model.detokenize([]) == ""
    assert model.detokenize([1, 2]) == ""


@pytest.mark.parametrize("dialect", WITH_TOKENS)
def test_a_prompt_of_token_ids_is_taken_as_it_is(
    load: Callable[..., Model], oracle: str, dialect: str
) -> None:
    """Token ids as a prompt give the same as their text."""
    model = load(dialect)
    assert text_of(list(model.generate(model.tokenize(PROMPT), GREEDY))) == oracle


def test_the_second_server_has_no_token_ids_and_says_so(load: Callable[..., Model]) -> None:
    """What the second server can't do is declared and refused, not guessed."""
    model = load("v2")
    assert not model.capabilities.tokenize
    for call in (lambda: model.tokenize("a"), lambda: model.detokenize([1]), lambda: model.generate([1, 2])):
        with pytest.raises(CapabilityError, match="llamafile server"):
            call()


@pytest.mark.parametrize(
    ("dialect", "wish"),
    [
        ("v1", {"logprobs": 2}),
        ("v2", {"top_k": 5}),
        ("v2", {"min_p": 0.1}),
        ("v2", {"repeat_penalty": 1.2}),
        ("v2", {"grammar": 'root ::= "a"'}),
    ],
)
def test_what_a_server_can_not_honour_is_refused(
    load: Callable[..., Model], dialect: str, wish: dict[str, Any]
) -> None:
    """A parameter without effect is an error, or a warning where the caller prefers that."""
    model = load(dialect)
    with pytest.raises(UnsupportedParameterError) as caught:
        list(model.generate(PROMPT, GenerateParams(max_tokens=4, **wish)))
    assert caught.value.parameter in wish
    chunks = list(model.generate(PROMPT, GenerateParams(max_tokens=4, unsupported="warn", **wish)))
    assert chunks[-1].stats is not None
    assert any(next(iter(wish)) in warning for warning in chunks[-1].stats.warnings)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_defaults_work_everywhere(load: Callable[..., Model], dialect: str) -> None:
    """Parameters that were left alone are no demand on any server."""
    chunks = list(load(dialect).generate(PROMPT))
    assert text_of(chunks)
    assert chunks[-1].stats is not None
    assert chunks[-1].stats.warnings == ()


@pytest.mark.parametrize("dialect", WITH_TOKENS)
def test_a_grammar_is_followed(load: Callable[..., Model], dialect: str) -> None:
    """Output follows the grammar, and a grammar with a fault is refused as such."""
    model = load(dialect)
    params = GenerateParams(max_tokens=20, grammar='root ::= "yes" | "no"')
    assert text_of(list(model.generate(PROMPT, params))) in {"yes", "no"}
    with pytest.raises(BackendError, match="grammar") as caught:
        list(model.generate(PROMPT, GenerateParams(max_tokens=5, grammar="root ::= (")))
    assert caught.value.cause == "unsupported"


def test_log_probabilities_come_one_row_per_token(load: Callable[..., Model]) -> None:
    """Each token has as many alternatives as were asked for, none of them more probable than certain."""
    params = GenerateParams(temperature=0, max_tokens=6, logprobs=3)
    rows = [row for chunk in load("modern").generate(PROMPT, params) for row in chunk.logprobs]
    assert len(rows) == 6
    assert all(len(row) == 3 and all(value <= 0 for value in row.values()) for row in rows)


@pytest.mark.parametrize("dialect", WITH_TOKENS)
def test_the_repeat_penalty_changes_what_repeats(load: Callable[..., Model], dialect: str) -> None:
    """A strong penalty makes greedy output differ, and a penalty of 1 does not."""
    model = load(dialect)
    plain = text_of(list(model.generate(PROMPT, GREEDY)))
    same = GenerateParams(temperature=0, max_tokens=48, repeat_penalty=1.0)
    other = GenerateParams(temperature=0, max_tokens=48, repeat_penalty=1.8)
    assert text_of(list(model.generate(PROMPT, same))) == plain
    assert text_of(list(model.generate(PROMPT, other))) != plain


@pytest.mark.parametrize("dialect", DIALECTS)
def test_chat_uses_the_models_own_template(load: Callable[..., Model], dialect: str) -> None:
    """A conversation gives what its text, formatted by the template, gives as a prompt."""
    messages = [Message("user", "Who are you?")]
    model = load(dialect)
    answer = text_of(list(model.chat(messages, GREEDY)))
    formatted = "USER:\nWho are you?\n\nASSISTANT:\n"
    assert answer == text_of(list(model.generate(formatted, GREEDY)))


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_a_conversation_that_can_not_fit_is_an_error(load: Callable[..., Model], dialect: str) -> None:
    """An older server would cut a long conversation in silence; it is refused before."""
    model = load(dialect, context_size=256)
    with pytest.raises(ContextOverflowError):
        list(model.chat([Message("user", "word " * 400)], GREEDY))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_embeddings_are_unit_vectors_of_a_model_loaded_for_them(
    load: Callable[..., Model], dialect: str
) -> None:
    """Loaded for embeddings, each text gives a vector of length one; otherwise that is refused."""
    model = load(dialect, embeddings=True)
    assert model.capabilities.embeddings
    first, second, again = model.embed(["a king", "a horse", "a king"])
    assert len(first) == 128
    assert sum(value * value for value in first) == pytest.approx(1.0)
    assert first == pytest.approx(again)
    assert first != pytest.approx(second)


def test_without_being_loaded_for_them_there_are_no_embeddings(load: Callable[..., Model]) -> None:
    """A model that was not loaded for embeddings refuses to make them."""
    with pytest.raises(CapabilityError, match="embeddings"):
        load("modern").embed(["a"])


def test_requests_of_several_threads_all_finish(load: Callable[..., Model], oracle: str) -> None:
    """Requests made at the same time take turns and give the same as alone."""
    model = load("modern")
    found: list[str] = []

    def work() -> None:
        found.append(text_of(list(model.generate(PROMPT, GREEDY))))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [oracle] * 4
    assert model.stats.requests == 4
    assert model.stats.completion_tokens == 4 * 48


def test_statistics_know_the_memory_of_the_server(load: Callable[..., Model]) -> None:
    """The memory of the program that runs the model is measured, not this process's."""
    model = load("modern")
    memory = model.stats.resident_bytes
    assert memory is not None
    assert 10_000_000 < memory < 1_000_000_000


def test_closing_an_iterator_early_frees_the_server(
    load: Callable[..., Model], in_time: Callable[..., Any], oracle: str
) -> None:
    """A caller that walks away does not keep the next one waiting."""
    model = load("modern")
    stream = model.generate(PROMPT, GenerateParams(temperature=0, max_tokens=None))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert in_time(5, lambda: text_of(list(model.generate(PROMPT, GREEDY)))) == oracle


def test_after_close_nothing_is_left_and_nothing_works(load: Callable[..., Model]) -> None:
    """Closing ends the process tree and its port; what comes later is a clear error."""
    model = load("modern")
    server: Any = model._server  # type: ignore[attr-defined]
    pid, port = server.process.pid, server.client.port
    model.close()
    model.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(ConnectionError):
        server.client.ask("GET", "/health", timeout=1.0)
    for call in (lambda: list(model.generate(PROMPT)), lambda: model.tokenize("a")):
        with pytest.raises(BackendError, match="closed"):
            call()
    assert port > 0
    assert model.stats.resident_bytes is None


def test_closing_during_a_request_ends_it_with_an_error(load: Callable[..., Model]) -> None:
    """A request that is cut off by `close` says that the model was closed."""
    model = load("modern")
    stream = model.generate(PROMPT, GenerateParams(temperature=0, max_tokens=None))
    next(stream)
    model.close()
    with pytest.raises(BackendError, match="closed"):
        list(stream)


def test_closing_ends_a_request_whose_answer_has_arrived_but_was_not_taken(
    load: Callable[..., Model],
) -> None:
    """What a fast server has sent ahead is no output any more: the request ends with the same error."""
    model = load("modern")
    stream = model.generate(PROMPT, GenerateParams(temperature=0, max_tokens=16))
    next(stream)
    time.sleep(0.5)
    model.close()
    with pytest.raises(BackendError, match="closed"):
        list(stream)
