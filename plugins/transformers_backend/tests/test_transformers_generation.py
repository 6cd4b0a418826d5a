"""Generating, tokenising, chatting and embedding with transformers on the demo model."""

from __future__ import annotations

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
    "a\0b",
    "O, speak again, bright angel! for thou art",
]


def run(model: Model, prompt: str | list[int], params: GenerateParams) -> tuple[str, list[int], Chunk]:
    """Generate, and join the chunks."""
    chunks = list(model.generate(prompt, params))
    text = "".join(chunk.text for chunk in chunks)
    return text, [token for chunk in chunks for token in chunk.tokens], chunks[-1]


@pytest.mark.parametrize("form", ["hf", "f32", "f16", "q8_0"])
def test_every_form_of_the_demo_model_gives_the_same_greedy_tokens(
    load: Callable[..., Model], demo: Callable[[str], Path], shared_model: Model, form: str
) -> None:
    """Directory and GGUF files hold the same numbers, so they give the same 64 tokens."""
    params = GenerateParams(max_tokens=64, temperature=0, return_tokens=True)
    model = load(demo(form))
    for prompt in ("ROMEO:", "Once upon a time", " JULIET:\n"):
        assert run(model, prompt, params)[:2] == run(shared_model, prompt, params)[:2]


def test_greedy_tokens_equal_those_of_the_engines_own_generate(shared_model: Model) -> None:
    """The sampling loop gives what `generate` of transformers gives."""
    prompt = shared_model.tokenize("First Citizen:\nWe are")
    loaded = shared_model._loaded  # type: ignore[attr-defined]
    given = loaded.torch.tensor([prompt])
    with loaded.torch.inference_mode():
        expected = loaded.model.generate(
            given, attention_mask=loaded.torch.ones_like(given), max_new_tokens=24, do_sample=False
        )
    assert run(shared_model, prompt, GREEDY)[1] == expected[0, len(prompt) :].tolist()


def test_streams_text_tokens_and_statistics(shared_model: Model) -> None:
    """Every chunk but the last has text, and the last one says how it ended and what it took."""
    chunks = list(shared_model.generate("ROMEO:", GREEDY))
    assert len(chunks) > 10
    assert all(chunk.text and chunk.finish_reason is None for chunk in chunks[:-1])
    last = chunks[-1]
    assert last.finish_reason == "length"
    assert last.stats is not None
    assert last.stats.completion_tokens == 24
    assert last.stats.prompt_tokens == len(shared_model.tokenize("ROMEO:"))
    assert last.stats.first_token_seconds is not None
    assert sum(len(chunk.tokens) for chunk in chunks) == 24


def test_streamed_text_is_the_text_of_the_tokens(shared_model: Model) -> None:
    """Token by token, nothing is lost, doubled or shifted, whatever the text."""
    prompt = shared_model.tokenize("ROMEO:")
    for seed in range(5):
        params = GenerateParams(
            max_tokens=80, temperature=3.0, top_k=0, top_p=1.0, seed=seed, return_tokens=True
        )
        text, tokens, _last = run(shared_model, prompt, params)
        whole = shared_model.detokenize([*prompt, *tokens])[len("ROMEO:") :]
        # A character that the limit cuts off is left out of the stream.
        assert whole.rstrip("\ufffd").startswith(text.rstrip("\ufffd"))
        assert len(whole) - len(text) <= 4


def test_output_does_not_depend_on_what_was_generated_before(shared_model: Model) -> None:
    """The same request gives the same log probabilities after other requests."""
    params = GenerateParams(max_tokens=12, temperature=0, logprobs=3)

    def figures() -> list[dict[str, float]]:
        return [found for chunk in shared_model.generate("ROMEO: I", params) for found in chunk.logprobs]

    first = figures()
    run(shared_model, "ROMEO: If", GREEDY)
    assert figures() == first


def test_a_long_prompt_is_reused_in_whole_blocks(
    load: Callable[..., Model], demo: Callable[[str], Path]
) -> None:
    """A prompt known from the last request is not evaluated again, and the output stays the same."""
    model = load(demo("hf"), settings={"batch_size": 16})
    prompt = "ROMEO: I have a word with you, and then we go to the city. " * 3
    first = run(model, prompt, GREEDY)
    again = run(model, prompt, GREEDY)
    other = run(model, prompt[:60] + "JULIET", GREEDY)
    assert again[:2] == first[:2]
    assert first[2].stats is not None
    assert again[2].stats is not None
    assert other[2].stats is not None
    assert first[2].stats.cached_tokens == 0
    assert again[2].stats.cached_tokens >= 16
    assert again[2].stats.cached_tokens % 16 == 0
    assert 16 <= other[2].stats.cached_tokens < again[2].stats.cached_tokens
    assert other[:2] == run(load(demo("hf"), settings={"batch_size": 16}), prompt[:60] + "JULIET", GREEDY)[:2]


def test_a_seed_makes_sampling_repeatable(shared_model: Model) -> None:
    """Same seed, same text; other seeds, other texts; no seed, a fresh one."""

    def text(seed: int | None) -> str:
        return run(shared_model, "ROMEO:", GenerateParams(max_tokens=20, temperature=1.2, seed=seed))[0]

    assert text(7) == text(7)
    assert text(2**32 - 1) == text(2**32 - 1)
    assert len({text(seed) for seed in range(5)}) > 1
    assert len({text(None) for _ in range(5)}) > 1


def test_top_k_1_and_a_tiny_top_p_and_min_p_1_are_greedy(shared_model: Model) -> None:
    """With one candidate left there is nothing to draw."""
    greedy = run(shared_model, "ROMEO:", GREEDY)[1]
    for top_k, top_p, min_p in ((1, 1.0, 0.0), (0, 0.0, 0.0), (0, 1.0, 1.0)):
        params = GenerateParams(
            max_tokens=24, temperature=2.0, seed=1, return_tokens=True, top_k=top_k, top_p=top_p, min_p=min_p
        )
        assert run(shared_model, "ROMEO:", params)[1] == greedy


def test_the_repeat_penalty_looks_back_64_tokens(shared_model: Model) -> None:
    """A penalty far above 1 keeps greedy decoding from repeating the tokens it has just used."""
    params = GenerateParams(max_tokens=40, temperature=0, repeat_penalty=10.0, return_tokens=True)
    assert max(Counter(run(shared_model, "ROMEO:", params)[1]).values()) == 1


def test_log_probabilities_are_those_of_the_model(shared_model: Model) -> None:
    """They add up to 1 over the vocabulary, and do not change with temperature or filters."""
    prompt = shared_model.tokenize("ROMEO:")
    every = GenerateParams(max_tokens=1, temperature=0, logprobs=5000)
    plain = next(iter(shared_model.generate(prompt, every))).logprobs[0]
    # Several byte tokens read as the same broken character and share one entry.
    assert math.fsum(math.exp(value) for value in plain.values()) == pytest.approx(1.0, abs=0.01)
    hot = GenerateParams(max_tokens=1, temperature=3.0, top_k=1, logprobs=5000)
    assert next(iter(shared_model.generate(prompt, hot))).logprobs[0] == plain


@pytest.mark.parametrize("form", ["hf", "f16"])
@pytest.mark.parametrize("text", TEXTS)
def test_tokenising_goes_both_ways(
    load: Callable[..., Model], demo: Callable[[str], Path], form: str, text: str
) -> None:
    """The text of a text's tokens is the text, and directory and GGUF file agree on the tokens."""
    model = load(demo(form))
    tokens = model.tokenize(text)
    assert tokens[0] == 1
    assert model.detokenize(tokens) == text
    assert model.tokenize(text, add_special=False) == tokens[1:]
    if text.startswith(" "):
        assert len(tokens) > len(model.tokenize(text[1:]))


@pytest.mark.parametrize("token", [-1, 1024, 2**40, "a"])
def test_tokens_beyond_the_vocabulary_are_refused(shared_model: Model, token: int) -> None:
    """A GPU would fail for good on them."""
    with pytest.raises(BackendError, match="there is no token"):
        shared_model.generate([1, token])
    with pytest.raises(BackendError, match="there is no token"):
        shared_model.detokenize([token])


def test_a_stop_string_ends_the_output_before_it(shared_model: Model) -> None:
    """What precedes the stop string is the output, even if the string ends within a token."""
    whole = run(shared_model, "ROMEO:", GREEDY)[0]
    stop = whole[10:13]
    params = GenerateParams(max_tokens=24, temperature=0, stop=(stop,))
    text, _tokens, last = run(shared_model, "ROMEO:", params)
    assert text == whole[: whole.index(stop)]
    assert last.finish_reason == "stop"


def test_output_ends_when_the_context_is_full(
    load: Callable[..., Model], demo: Callable[[str], Path]
) -> None:
    """Prompt and output together never exceed the context."""
    model = load(demo("hf"), context_size=40)
    prompt = model.tokenize("ROMEO: I have a word")
    params = GenerateParams(max_tokens=None, temperature=1.0, seed=1, return_tokens=True)
    _text, tokens, last = run(model, prompt, params)
    assert len(prompt) + len(tokens) <= 40
    assert last.finish_reason == "stop" or len(prompt) + len(tokens) == 40


def test_a_prompt_longer_than_the_context_is_an_error_or_a_recorded_cut(
    load: Callable[..., Model], demo: Callable[[str], Path]
) -> None:
    """The caller decides, and a cut is in the statistics."""
    model = load(demo("hf"), context_size=32)
    with pytest.raises(ContextOverflowError):
        model.generate("a long prompt " * 50)
    params = GenerateParams(max_tokens=4, temperature=0, overflow="truncate")
    last = run(model, "a long prompt " * 50, params)[2]
    assert last.stats is not None
    assert last.stats.prompt_tokens < 32
    assert "dropped" in last.stats.warnings[0]


def test_a_grammar_is_refused_or_recorded(shared_model: Model) -> None:
    """The engine has none, and min_p is honoured."""
    with pytest.raises(UnsupportedParameterError) as caught:
        shared_model.generate("ROMEO:", GenerateParams(min_p=0.1, grammar="root ::= [a-z]"))
    assert caught.value.parameter == "grammar"
    assert "min_p" in caught.value.supported


def test_cancelling_ends_the_request_between_two_tokens(shared_model: Model) -> None:
    """The last chunk says so, and the model serves the next request."""
    cancel = CancelToken()
    stream = shared_model.generate("ROMEO:", GenerateParams(max_tokens=200, temperature=0), cancel=cancel)
    next(stream)
    cancel.cancel()
    rest = list(stream)
    assert rest[-1].finish_reason == "cancelled"
    assert len(rest) <= 2
    assert run(shared_model, "ROMEO:", GREEDY)[2].finish_reason == "length"


def test_requests_that_take_turns_do_not_mix(shared_model: Model) -> None:
    """Two streams read alternately in one thread give what each gives alone."""
    prompts = ("ROMEO:", "JULIET:")
    alone = [run(shared_model, prompt, GREEDY)[0] for prompt in prompts]
    streams = [shared_model.generate(prompt, GREEDY) for prompt in prompts]
    heads = [next(stream).text for stream in streams]
    tails = ["".join(chunk.text for chunk in stream) for stream in streams]
    assert [head + tail for head, tail in zip(heads, tails, strict=True)] == alone


def test_requests_from_several_threads_do_not_mix(shared_model: Model) -> None:
    """Each thread gets the text it would get alone."""
    prompts = ["ROMEO:", "JULIET:", "First Citizen:", "KING"]
    alone = {prompt: run(shared_model, prompt, GREEDY)[0] for prompt in prompts}
    found: dict[str, str] = {}
    threads = [
        threading.Thread(target=lambda p=prompt: found.__setitem__(p, run(shared_model, p, GREEDY)[0]))
        for prompt in prompts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == alone


def test_chat_uses_the_models_own_template(load: Callable[..., Model], demo: Callable[[str], Path]) -> None:
    """The conversation is written as the template says, with one start token; directory and GGUF agree."""
    messages = [Message("user", "Hello there")]
    prompt = "USER:\nHello there\n\nASSISTANT:\n"
    for form in ("hf", "f16"):
        model = load(demo(form))
        assert model.capabilities.chat
        chunks = list(model.chat(messages, GREEDY))
        stats = chunks[-1].stats
        assert stats is not None
        assert stats.prompt_tokens == len(model.tokenize(prompt))
        assert "".join(chunk.text for chunk in chunks) == run(model, prompt, GREEDY)[0]


def test_chat_without_a_template_is_refused(
    load: Callable[..., Model], directory: Callable[..., Path]
) -> None:
    """No template is made up."""
    model = load(directory(drop=("tokenizer_config.json",)))
    assert not model.capabilities.chat
    with pytest.raises(CapabilityError) as caught:
        model.chat([Message("user", "Hello")])
    assert caught.value.capability == "chat"


def test_embeddings_tell_texts_apart(shared_model: Model) -> None:
    """Vectors have length 1, are repeatable, and like texts are closer than unlike ones."""
    texts = ["My lord, I love thee", "My lord, I love you", "Enter two soldiers with drums"]
    one, like, unlike = shared_model.embed(texts)
    assert len(one) == 128
    assert math.fsum(value * value for value in one) == pytest.approx(1.0, abs=1e-5)
    assert shared_model.embed(texts[:1]) == [one]

    def dot(a: list[float], b: list[float]) -> float:
        return math.fsum(x * y for x, y in zip(a, b, strict=True))

    assert dot(one, like) > dot(one, unlike)


def test_statistics_add_up(load: Callable[..., Model], demo: Callable[[str], Path]) -> None:
    """The model counts what its requests took."""
    model = load(demo("hf"))
    assert model.stats.requests == 0
    run(model, "ROMEO:", GREEDY)
    next(stream := model.generate("ROMEO:", GREEDY))
    stream.close()  # type: ignore[attr-defined]
    assert model.stats.requests == 2
    assert 24 < model.stats.completion_tokens < 48


def test_a_closed_model_says_so(load: Callable[..., Model], demo: Callable[[str], Path]) -> None:
    """Closing twice is fine; using it afterwards is an error, even in the middle of a stream."""
    model = load(demo("hf"))
    stream = model.generate("ROMEO:", GREEDY)
    next(stream)
    model.close()
    model.close()
    with pytest.raises(BackendError, match="closed"):
        list(stream)
    with pytest.raises(BackendError, match="closed"):
        model.tokenize("a")
