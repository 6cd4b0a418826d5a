"""Stop strings, whole characters, refused parameters and long prompts, for any engine."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug.backends.model import Capabilities, GenerateParams, GenerationStats
from modelplug.backends.streaming import (
    ChunkBuilder,
    StopFilter,
    Utf8Decoder,
    check_demands,
    fit_prompt,
    room_for_output,
)
from modelplug.errors import BackendError, ContextOverflowError, UnsupportedParameterError

# A small alphabet makes overlaps and near misses frequent.
TEXT = st.text(alphabet="abcé ", max_size=40)
STOPS = st.lists(st.text(alphabet="abcé ", min_size=1, max_size=5), max_size=4)
CUTS = st.lists(st.integers(min_value=0, max_value=40), max_size=12)


def pieces(text: str, cuts: list[int]) -> list[str]:
    """Cut text into pieces."""
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def expected(text: str, stops: list[str]) -> tuple[str, bool]:
    """Apply the same rule by reading the text one character at a time."""
    for end in range(1, len(text) + 1):
        hits = [stop for stop in stops if text[:end].endswith(stop)]
        if hits:
            return text[: end - max(len(stop) for stop in hits)], True
    return text, False


@given(text=TEXT, stops=STOPS, cuts=CUTS)
def test_stop_filter_gives_the_text_before_the_first_stop_string(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    """Whatever the cuts, what comes out is the text up to the stop string that is complete first."""
    stop_filter = StopFilter(stops)
    out: list[str] = []
    for piece in pieces(text, cuts):
        emit, stopped = stop_filter.feed(piece)
        out.append(emit)
        if stopped:
            break
    out.append(stop_filter.flush())
    assert ("".join(out), stop_filter.matched is not None) == expected(text, stops)


@given(text=TEXT, stops=STOPS)
def test_stop_filter_holds_back_only_what_may_become_a_stop_string(text: str, stops: list[str]) -> None:
    """Held text begins a stop string, so that nothing is delayed without need."""
    stop_filter = StopFilter(stops)
    for character in text:
        _emit, stopped = stop_filter.feed(character)
        if stopped:
            break
        assert not stop_filter.held or any(stop.startswith(stop_filter.held) for stop in stops)


def test_stop_filter_without_stop_strings_passes_everything_on_at_once() -> None:
    """No stop strings means no delay."""
    stop_filter = StopFilter(())
    assert stop_filter.feed("abc") == ("abc", False)
    assert stop_filter.flush() == ""


def test_stop_filter_drops_what_comes_after_the_stop_string() -> None:
    """Text after the stop string is never passed on, in the same piece or in a later one."""
    stop_filter = StopFilter(["END"])
    assert stop_filter.feed("oneEN") == ("one", False)
    assert stop_filter.feed("Dtwo") == ("", True)
    assert stop_filter.feed("three") == ("", True)
    assert stop_filter.flush() == ""
    assert stop_filter.matched == "END"


@given(data=st.binary(max_size=40) | st.text(max_size=20).map(str.encode), cuts=CUTS)
def test_utf8_decoder_does_not_depend_on_the_cuts(data: bytes, cuts: list[int]) -> None:
    """Bytes decode to the same text in one piece or in many."""
    decoder = Utf8Decoder()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    text = "".join(decoder.feed(data[a:b]) for a, b in itertools.pairwise(edges))
    assert text + decoder.flush() == data.decode("utf-8", errors="replace")


def test_utf8_decoder_waits_for_whole_characters() -> None:
    """A character cut in two comes out once, when it is complete."""
    decoder = Utf8Decoder()
    assert decoder.feed("é".encode()[:1]) == ""
    assert decoder.feed("é".encode()[1:]) == "é"
    assert decoder.flush() == ""


STATS = GenerationStats(prompt_tokens=1, completion_tokens=1)


@given(words=st.lists(st.text(alphabet="abc", max_size=3), max_size=20), stops=STOPS)
def test_chunks_hold_every_token_and_the_text_before_the_stop(words: list[str], stops: list[str]) -> None:
    """Chunks joined give the text before the stop string and each token id once, in order."""
    builder = ChunkBuilder(GenerateParams(stop=stops, return_tokens=True))
    chunks = []
    fed = 0
    for number, word in enumerate(words):
        chunk = builder.add(word, token=number)
        fed += 1
        if chunk is not None:
            chunks.append(chunk)
        if builder.stopped:
            break
    assert all(chunk.text for chunk in chunks)
    last = builder.finish("length", STATS)
    text, stopped = expected("".join(words), stops)
    assert "".join(chunk.text for chunk in [*chunks, last]) == text
    assert [token for chunk in [*chunks, last] for token in chunk.tokens] == list(range(fed))
    assert last.finish_reason == ("stop" if stopped else "length")
    assert builder.completion_tokens == fed


def test_chunks_carry_no_ids_unless_asked() -> None:
    """Token ids are left out unless the request wants them."""
    builder = ChunkBuilder(GenerateParams())
    chunk = builder.add("word", token=3, logprobs={"word": -0.5})
    assert chunk is not None
    assert chunk.tokens == ()
    assert chunk.logprobs == ({"word": -0.5},)


def test_a_parameter_the_engine_lacks_is_an_error_that_names_it() -> None:
    """Asking for what can't be honoured fails, and says what can."""
    with pytest.raises(UnsupportedParameterError) as caught:
        check_demands(GenerateParams(min_p=0.1, grammar="root ::= 'a'"), Capabilities(), "engine")
    assert caught.value.parameter == "min_p"
    assert caught.value.value == 0.1
    assert "top_k" in caught.value.supported
    assert "grammar" in str(caught.value)
    assert caught.value.backend == "engine"


def test_the_way_out_is_named_for_callers_and_for_the_command_line() -> None:
    """What was typed can be left out; what is a default needs its neutral value, as keyword and as option."""
    basic = Capabilities(parameters=frozenset({"max_tokens", "temperature", "seed"}))
    with pytest.raises(UnsupportedParameterError) as caught:
        check_demands(GenerateParams(), basic, "engine")
    assert "Pass top_k=0 and top_p=1.0 (--top-k 0 --top-p 1), choose" in caught.value.advice
    assert check_demands(GenerateParams(top_k=0, top_p=1), basic, "engine") == ()
    with pytest.raises(UnsupportedParameterError) as caught:
        check_demands(GenerateParams(min_p=0.1, top_k=0), basic, "engine")
    assert "Leave min_p out and pass top_p=1.0 (--top-p 1)" in caught.value.advice
    assert "unsupported='warn' (--unsupported warn)" in caught.value.advice
    with pytest.raises(UnsupportedParameterError) as caught:
        check_demands(GenerateParams(top_k=0, top_p=1), Capabilities(parameters=frozenset()), "engine")
    assert caught.value.advice.startswith("Choose another backend")


def test_a_parameter_the_engine_lacks_is_a_warning_if_the_caller_said_so() -> None:
    """With `unsupported='warn'` each refused parameter gives one sentence."""
    params = GenerateParams(min_p=0.1, logprobs=2, unsupported="warn")
    warnings = check_demands(params, Capabilities(), "engine")
    assert len(warnings) == 2
    assert all("engine can't honour it" in warning for warning in warnings)


def test_declared_capabilities_are_honoured() -> None:
    """Grammar and logprobs pass where they are declared, and defaults always do."""
    everything = Capabilities(grammar=True, logprobs=True)
    assert check_demands(GenerateParams(grammar="root ::= 'a'", logprobs=1), everything, "engine") == ()
    assert check_demands(GenerateParams(), Capabilities(), "engine") == ()


def test_greedy_decoding_asks_nothing_of_the_filters() -> None:
    """At temperature 0 a min_p the engine lacks changes nothing, so it is no error."""
    assert check_demands(GenerateParams(temperature=0, min_p=0.2), Capabilities(), "engine") == ()


def test_a_prompt_that_fills_the_context_is_an_error() -> None:
    """A prompt as long as the context leaves no room for output."""
    assert fit_prompt(range(7), 8, GenerateParams(), "engine") == (list(range(7)), ())
    with pytest.raises(ContextOverflowError) as caught:
        fit_prompt(range(8), 8, GenerateParams(), "engine")
    assert (caught.value.prompt_tokens, caught.value.context_size) == (8, 8)
    assert "overflow='truncate' (--overflow truncate)" in caught.value.advice
    assert "--context-size" in caught.value.advice


@given(
    count=st.integers(1, 60),
    context=st.integers(2, 30),
    max_tokens=st.none() | st.integers(1, 40),
    start=st.integers(0, 1),
)
def test_a_cut_prompt_keeps_its_start_and_its_end(
    count: int, context: int, max_tokens: int | None, start: int
) -> None:
    """Truncation keeps start tokens and the end, leaves room for output, and records a warning."""
    params = GenerateParams(max_tokens=max_tokens, overflow="truncate")
    tokens, warnings = fit_prompt(range(count), context, params, "engine", start_tokens=start)
    assert 1 <= len(tokens) < context
    assert tokens[-1] == count - 1
    assert bool(warnings) == (count >= context)
    assert room_for_output(len(tokens), context, params) >= 1
    if count >= context:
        assert len(tokens) >= context // 2
        if start and len(tokens) > 1:
            assert tokens[0] == 0


def test_an_empty_prompt_is_an_error() -> None:
    """No token at all gives nothing to continue."""
    with pytest.raises(BackendError, match="empty"):
        fit_prompt([], 8, GenerateParams(), "engine")


def test_output_ends_at_max_tokens_or_at_the_end_of_the_context() -> None:
    """The smaller of the two limits holds."""
    assert room_for_output(5, 8, GenerateParams(max_tokens=2)) == 2
    assert room_for_output(5, 8, GenerateParams(max_tokens=20)) == 3
    assert room_for_output(5, 8, GenerateParams(max_tokens=None)) == 3
