"""Generating, tokenising and embedding with ctransformers on the demo model."""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from modelplug.backends.model import CancelToken, Chunk, GenerateParams, Message, Model
from modelplug.errors import BackendError, CapabilityError, ContextOverflowError, UnsupportedParameterError

GREEDY = GenerateParams(max_tokens=24, temperature=0, return_tokens=True)
TEXTS = [
    "ROMEO:",
    "",
    " ",
    "  two  spaces ",
    "\n\n",
    "naïve café",
    "日本語 and 😀",
    "tab\tand\r\nlines",
    "x" * 300,
    "a\0b\x01\0",
    "O, speak again, bright angel! for thou art",
]


def run(model: Model, prompt: str | list[int], params: GenerateParams) -> tuple[str, list[int], Chunk]:
    """Generate, and join the chunks."""
    chunks = list(model.generate(prompt, params))
    text = "".join(chunk.text for chunk in chunks)
    return text, [token for chunk in chunks for token in chunk.tokens], chunks[-1]


def test_greedy_tokens_are_the_most_probable_ones(model: Model) -> None:
    """At temperature 0 each token is the one with the highest log probability, whatever the filters."""
    params = GenerateParams(max_tokens=20, temperature=0, logprobs=1, top_k=3, top_p=0.1, seed=4)
    for chunk in list(model.generate("ROMEO:", params))[:-1]:
        for candidates in chunk.logprobs:
            assert len(candidates) == 1


@pytest.mark.parametrize("precision", ["f32", "f16", "q8_0"])
def test_same_weights_give_the_same_greedy_tokens(
    load: Callable[..., Model], demo: Callable[[str], Path], precision: str
) -> None:
    """F32, F16 and Q8_0 hold the same numbers, and greedy decoding gives the same tokens."""
    expected = run(load(demo("f16")), "JULIET:\n", GREEDY)[1]
    assert run(load(demo(precision)), "JULIET:\n", GREEDY)[1] == expected


def test_streams_text_tokens_and_statistics(model: Model) -> None:
    """Every chunk but the last has text, and the last one says how it ended and what it took."""
    chunks = list(model.generate("ROMEO:", GREEDY))
    assert len(chunks) > 10
    assert all(chunk.text and chunk.finish_reason is None for chunk in chunks[:-1])
    last = chunks[-1]
    assert last.finish_reason == "length"
    assert last.stats is not None
    assert last.stats.completion_tokens == 24
    assert last.stats.prompt_tokens == len(model.tokenize("ROMEO:"))
    assert last.stats.total_seconds is not None
    assert sum(len(chunk.tokens) for chunk in chunks) == 24


def test_output_does_not_depend_on_what_was_generated_before(model: Model) -> None:
    """The same request gives the same log probabilities after other requests as on a fresh model."""
    params = GenerateParams(max_tokens=12, temperature=0, logprobs=3)

    def figures() -> list[dict[str, float]]:
        return [found for chunk in model.generate("ROMEO: I", params) for found in chunk.logprobs]

    first = figures()
    run(model, "ROMEO: If", GREEDY)
    assert figures() == first


def test_a_long_prompt_is_reused_in_whole_blocks(
    load: Callable[..., Model], demo: Callable[[str], Path]
) -> None:
    """A prompt known from the last request is not evaluated again, and the output stays the same."""
    model = load(demo("f16"), settings={"batch_size": 16})
    prompt = "ROMEO: I have a word with you, and then we go to the city. " * 3
    first = run(model, prompt, GREEDY)
    again = run(model, prompt, GREEDY)
    assert again[:2] == first[:2]
    assert first[2].stats is not None
    assert again[2].stats is not None
    assert first[2].stats.cached_tokens == 0
    assert again[2].stats.cached_tokens >= 16
    assert again[2].stats.cached_tokens % 16 == 0


def test_a_seed_makes_sampling_repeatable(model: Model) -> None:
    """Same seed, same text; other seeds, other texts; no seed, a fresh one."""

    def text(seed: int | None) -> str:
        return run(model, "ROMEO:", GenerateParams(max_tokens=20, temperature=1.2, seed=seed))[0]

    assert text(7) == text(7)
    assert len({text(seed) for seed in range(5)}) > 1
    assert len({text(None) for _ in range(5)}) > 1


def test_one_seed_gives_each_token_its_own_random_number(model: Model) -> None:
    """Tokens of one request are drawn independently, not all with the same first random number.

    With one number for all, each draw would be at the same place in its distribution.
    """
    params = GenerateParams(max_tokens=200, temperature=1.0, top_k=0, top_p=1.0, seed=3, logprobs=1)
    ranks = Counter(len(found) == 1 for chunk in model.generate("ROMEO:", params) for found in chunk.logprobs)
    # The most probable token is alone in the mapping; any other comes with it.
    assert ranks[True] > 10
    assert ranks[False] > 10


def test_top_k_0_keeps_every_token(model: Model) -> None:
    """0 means all candidates, although the engine takes 0 as 1."""
    params = GenerateParams(max_tokens=60, temperature=50.0, top_k=0, top_p=1.0, seed=1, return_tokens=True)
    assert len(set(run(model, "ROMEO:", params)[1])) > 40


def test_top_k_1_and_a_tiny_top_p_are_greedy(model: Model) -> None:
    """With one candidate left there is nothing to draw."""
    greedy = run(model, "ROMEO:", GREEDY)[1]
    for top_k, top_p in ((1, 1.0), (0, 0.0)):
        params = GenerateParams(
            max_tokens=24, temperature=2.0, seed=1, return_tokens=True, top_k=top_k, top_p=top_p
        )
        assert run(model, "ROMEO:", params)[1] == greedy


def test_temperature_applies_after_top_p(model: Model) -> None:
    """The nucleus is taken from the model's own distribution, not from the flattened one."""
    prompt = model.tokenize("ROMEO:\nI have a")
    wide = GenerateParams(max_tokens=1, temperature=0, logprobs=1024)
    ranked = sorted(next(iter(model.generate(prompt, wide))).logprobs[0].values(), reverse=True)
    total, nucleus = 0.0, 0
    while total < 0.5:
        total += math.exp(ranked[nucleus])
        nucleus += 1
    drawn = {
        run(
            model,
            prompt,
            GenerateParams(max_tokens=1, temperature=5.0, top_k=0, top_p=0.5, seed=seed, return_tokens=True),
        )[1][0]
        for seed in range(300)
    }
    assert 1 < len(drawn) <= nucleus


def test_the_repeat_penalty_divides_positive_logits(model: Model) -> None:
    """A penalty far above 1 keeps greedy decoding from repeating the tokens it has just used."""
    params = GenerateParams(max_tokens=40, temperature=0, repeat_penalty=10.0, return_tokens=True)
    tokens = run(model, "ROMEO:", params)[1]
    assert max(Counter(tokens).values()) == 1


def test_log_probabilities_are_those_of_the_model(model: Model) -> None:
    """They add up to 1 over the vocabulary, and do not change with temperature or filters."""
    prompt = model.tokenize("ROMEO:")
    every = GenerateParams(max_tokens=1, temperature=0, logprobs=1024)
    plain = next(iter(model.generate(prompt, every))).logprobs[0]
    # Several byte tokens read as the same broken character and share one entry.
    assert math.fsum(math.exp(value) for value in plain.values()) == pytest.approx(1.0, abs=0.01)
    hot = GenerateParams(max_tokens=1, temperature=3.0, top_k=1, logprobs=1024)
    assert next(iter(model.generate(prompt, hot))).logprobs[0] == plain


@pytest.mark.parametrize("text", TEXTS)
def test_tokenising_goes_both_ways(model: Model, text: str) -> None:
    """The text of a text's tokens is the text, beyond ASCII too."""
    tokens = model.tokenize(text)
    assert tokens[0] == 1
    assert model.detokenize(tokens) == text
    assert model.tokenize(text, add_special=False) == tokens[1:]


def test_text_and_its_tokens_are_the_same_prompt(model: Model) -> None:
    """A prompt may be given either way."""
    assert run(model, "ROMEO:", GREEDY)[1] == run(model, model.tokenize("ROMEO:"), GREEDY)[1]


@pytest.mark.parametrize("token", [-1, 1024, 2**31 - 1])
def test_tokens_beyond_the_vocabulary_are_refused(model: Model, token: int) -> None:
    """The engine would read memory that is not its own."""
    with pytest.raises(BackendError, match="there is no token"):
        model.generate([1, token])
    with pytest.raises(BackendError, match="there is no token"):
        model.detokenize([1, token])


def test_a_stop_string_ends_the_output_before_it(model: Model) -> None:
    """What precedes the stop string is the output, even if the string ends within a token."""
    whole = run(model, "ROMEO:", GREEDY)[0]
    stop = whole[10:13]
    text, _tokens, last = run(model, "ROMEO:", GenerateParams(max_tokens=24, temperature=0, stop=(stop,)))
    assert text == whole[: whole.index(stop)]
    assert last.finish_reason == "stop"


def test_output_ends_when_the_context_is_full(
    load: Callable[..., Model], demo: Callable[[str], Path]
) -> None:
    """Prompt and output together never exceed the context."""
    model = load(demo("f16"), context_size=40)
    prompt = model.tokenize("ROMEO: I have a word")
    params = GenerateParams(max_tokens=None, temperature=1.0, seed=1, return_tokens=True)
    _text, tokens, last = run(model, prompt, params)
    assert last.finish_reason in ("length", "stop")
    assert len(prompt) + len(tokens) <= 40
    assert last.finish_reason == "stop" or len(prompt) + len(tokens) == 40


def test_a_prompt_longer_than_the_context_is_an_error_or_a_recorded_cut(
    load: Callable[..., Model], demo: Callable[[str], Path]
) -> None:
    """The caller decides, and a cut is in the statistics."""
    model = load(demo("f16"), context_size=32)
    with pytest.raises(ContextOverflowError):
        model.generate("a long prompt " * 50)
    params = GenerateParams(max_tokens=4, temperature=0, overflow="truncate")
    last = run(model, "a long prompt " * 50, params)[2]
    assert last.stats is not None
    assert last.stats.prompt_tokens < 32
    assert "dropped" in last.stats.warnings[0]


def test_parameters_the_engine_lacks_are_refused_or_recorded(model: Model) -> None:
    """min_p and grammars are unknown to this engine."""
    with pytest.raises(UnsupportedParameterError) as caught:
        model.generate("ROMEO:", GenerateParams(min_p=0.1))
    assert caught.value.parameter == "min_p"
    params = GenerateParams(max_tokens=2, grammar="root ::= [a-z]", unsupported="warn")
    stats = run(model, "ROMEO:", params)[2].stats
    assert stats is not None
    assert "grammar" in stats.warnings[0]


def test_cancelling_ends_the_request_between_two_tokens(model: Model) -> None:
    """The last chunk says so, and the model serves the next request."""
    cancel = CancelToken()
    stream = model.generate("ROMEO:", GenerateParams(max_tokens=200, temperature=0), cancel=cancel)
    next(stream)
    cancel.cancel()
    rest = list(stream)
    assert rest[-1].finish_reason == "cancelled"
    assert len(rest) <= 2
    assert run(model, "ROMEO:", GREEDY)[2].finish_reason == "length"


def test_requests_that_take_turns_do_not_mix(model: Model) -> None:
    """Two streams read alternately in one thread give what each gives alone, and nothing waits for ever."""
    alone = [run(model, prompt, GREEDY)[0] for prompt in ("ROMEO:", "JULIET:")]
    streams = [model.generate(prompt, GREEDY) for prompt in ("ROMEO:", "JULIET:")]
    heads = [next(stream).text for stream in streams]
    tails = ["".join(chunk.text for chunk in stream) for stream in streams]
    assert [head + tail for head, tail in zip(heads, tails, strict=True)] == alone


def test_requests_from_several_threads_do_not_mix(model: Model) -> None:
    """Each thread gets the text it would get alone."""
    prompts = ["ROMEO:", "JULIET:", "First Citizen:", "KING"]
    alone = {prompt: run(model, prompt, GREEDY)[0] for prompt in prompts}
    found: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda p=prompt: found.__setitem__(p, run(model, p, GREEDY)[0]))
        for prompt in prompts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == alone


def test_closing_a_stream_early_frees_the_engine(model: Model) -> None:
    """After `close` on the iterator the next request starts at once."""
    stream = model.generate("ROMEO:", GenerateParams(max_tokens=200))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert run(model, "ROMEO:", GREEDY)[2].finish_reason == "length"


def test_embeddings_tell_texts_apart(model: Model) -> None:
    """Vectors have length 1, are repeatable, and like texts are closer than unlike ones."""
    texts = ["My lord, I love thee", "My lord, I love you", "Enter two soldiers with drums"]
    one, like, unlike = model.embed(texts)
    assert len(one) == 128
    assert math.fsum(value * value for value in one) == pytest.approx(1.0, abs=1e-5)
    assert model.embed(texts[:1]) == [one]

    def dot(a: list[float], b: list[float]) -> float:
        return math.fsum(x * y for x, y in zip(a, b, strict=True))

    assert dot(one, like) > dot(one, unlike)


def test_chat_is_not_claimed(model: Model) -> None:
    """The engine can't read the special tokens of chat templates, and says so."""
    assert not model.capabilities.chat
    with pytest.raises(CapabilityError) as caught:
        model.chat([Message("user", "Hello")])
    assert caught.value.capability == "chat"


def test_statistics_add_up(model: Model) -> None:
    """The model counts what its requests took."""
    assert model.stats.requests == 0
    for _ in itertools.repeat(None, 2):
        run(model, "ROMEO:", GREEDY)
    assert model.stats.requests == 2
    assert model.stats.completion_tokens == 48
    assert model.stats.prompt_tokens == 2 * len(model.tokenize("ROMEO:"))


def test_a_closed_model_says_so(model: Model) -> None:
    """Closing twice is fine; using it afterwards is an error, even in the middle of a stream."""
    stream = model.generate("ROMEO:", GREEDY)
    next(stream)
    model.close()
    model.close()
    with pytest.raises(BackendError, match="closed"):
        list(stream)
    with pytest.raises(BackendError, match="closed"):
        model.tokenize("a")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_loading_and_closing_leaves_nothing_open(
    load: Callable[..., Model], demo: Callable[[str], Path]
) -> None:
    """Open files are as many after ten loads as after one."""
    path = demo("f16")
    load(path).close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        load(path).close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
