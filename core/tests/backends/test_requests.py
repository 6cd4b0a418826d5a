"""What every request needs besides its text."""

from __future__ import annotations

import time

import pytest

from modelplug.backends.model import ModelStats
from modelplug.backends.requests import RequestClock, check_tokens, with_request
from modelplug.errors import BackendError


def test_the_clock_divides_a_request_at_its_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompt, generation and total are the seconds between the moments noted; the first token counts once."""
    moments = iter([10.0, 12.0, 12.5, 15.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    clock = RequestClock()
    clock.prompt_done()
    clock.token_drawn()
    clock.token_drawn()
    stats = clock.stats(prompt_tokens=3, completion_tokens=2, cached_tokens=1, warnings=("w",))
    assert (stats.prompt_seconds, stats.generate_seconds, stats.total_seconds) == (2.0, 3.0, 5.0)
    assert stats.first_token_seconds == 2.5
    assert (stats.prompt_tokens, stats.completion_tokens, stats.cached_tokens) == (3, 2, 1)
    assert stats.warnings == ("w",)


def test_a_request_without_tokens_has_no_first_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that ends before its prompt is done has spent its time on the prompt, and no first token."""
    moments = iter([1.0, 4.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    stats = RequestClock().stats(prompt_tokens=3, completion_tokens=0)
    assert (stats.prompt_seconds, stats.generate_seconds, stats.first_token_seconds) == (3.0, 0.0, None)


def test_a_tally_counts_requests_and_keeps_the_rest() -> None:
    """One more request adds its tokens; what the tally says about memory stays."""
    before = ModelStats(requests=2, prompt_tokens=10, completion_tokens=20, resident_bytes=7)
    after = with_request(before, prompt_tokens=3, completion_tokens=4)
    assert (after.requests, after.prompt_tokens, after.completion_tokens) == (3, 13, 24)
    assert after.resident_bytes == 7
    assert before.requests == 2


@pytest.mark.parametrize("token", [-1, 5, 1 << 40, True, 1.0, "1", None])
def test_tokens_the_vocabulary_lacks_are_refused(token: int) -> None:
    """A number outside the vocabulary, or no number at all, is named in an error that says what there is."""
    with pytest.raises(BackendError) as caught:
        check_tokens([0, token], 5, "some", "generate")
    assert repr(token) in caught.value.what
    assert caught.value.why == "the vocabulary has the tokens 0 to 4"
    assert (caught.value.backend, caught.value.phase) == ("some", "generate")


def test_known_tokens_pass() -> None:
    """The first and the last token of the vocabulary are tokens; without a known size every id from 0 is."""
    check_tokens([0, 4], 5, "some", "tokenize")
    check_tokens([1 << 40], None, "some", "tokenize")
    with pytest.raises(BackendError, match="no token -1"):
        check_tokens([-1], None, "some", "tokenize")
