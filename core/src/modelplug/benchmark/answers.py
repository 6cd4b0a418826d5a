"""Asks a model the same few things in every test, and keeps what it answers."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import attrs

from modelplug.backends.model import GenerateParams
from modelplug.benchmark.session import statistics_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelplug.backends.loaded import LoadedModel
    from modelplug.backends.model import GenerationStats

__all__ = ["ALTERNATIVES", "PROMPTS", "SEED", "Answer", "Answers", "ask_all"]

PROMPTS = ("Once upon a time", "The capital of France is")
"""What every model is asked to continue."""

ALTERNATIVES = 5
"""For how many tokens at each position the log probability is asked."""

SEED = 42

MOST_SEEDED = 8
"""Tokens of a sampled answer at most: two that differ do so early."""


@attrs.frozen(kw_only=True)
class Answer:
    """What a model said to one prompt.

    Attributes:
        prompt: The prompt.
        text: The continuation.
        tokens: Its token ids; empty where the engine does not tell them.
        finish_reason: `length`, or `stop` where the model ended by itself.
        stats: What it took.
        alternatives: For each token the most probable ones by text, with their log probability as the engine
            gave it; empty if it was not asked, or does not tell.
    """

    prompt: str
    text: str
    tokens: tuple[int, ...]
    finish_reason: str
    stats: GenerationStats
    alternatives: tuple[Mapping[str, object], ...] = ()


@attrs.define(kw_only=True)
class Answers:
    """Everything one loaded model was asked, one answer for each prompt in the order of `PROMPTS`.

    Attributes:
        greedy: Greedy decoding.
        again: The same a second time, with log probabilities where the engine has them.
        seeded: Sampled with a seed; empty where the engine takes none.
        reseeded: The same a second time.
        tells_probabilities: Whether the engine has log probabilities.
        takes_seed: Whether the engine says that it takes a seed, and so that it repeats itself.
    """

    greedy: list[Answer] = attrs.field(factory=list)
    again: list[Answer] = attrs.field(factory=list)
    seeded: list[Answer] = attrs.field(factory=list)
    reseeded: list[Answer] = attrs.field(factory=list)
    tells_probabilities: bool = False
    takes_seed: bool = False

    @property
    def tokens_per_second(self) -> float:
        """The median speed after the first token of requests without log probabilities; NaN if none tells."""
        timed = [*self.greedy, *self.seeded, *self.reseeded]
        if not self.tells_probabilities:
            timed += self.again
        speeds = [speed for answer in timed if (speed := _speed(answer.stats)) is not None]
        return statistics.median(speeds) if speeds else math.nan

    def with_alternatives(self) -> list[Answer]:
        """The greedy answers, with log probabilities where asking for them changed nothing."""
        found = list(self.greedy)
        for place, (first, second) in enumerate(zip(self.greedy, self.again, strict=False)):
            if (first.text, first.tokens) == (second.text, second.tokens):
                found[place] = attrs.evolve(first, alternatives=second.alternatives)
        return found


def ask_all(model: LoadedModel, answers: Answers, tokens: int, on_step: Callable[[str], None]) -> None:
    """Ask a model everything; what it has answered is in `answers`, whatever ends it.

    Args:
        model: The model.
        answers: Where to keep the answers.
        tokens: Tokens of each answer.
        on_step: Told what is being asked.

    Raises:
        ModelplugError: The engine failed.
    """
    can = model.capabilities
    answers.tells_probabilities = can.logprobs
    answers.takes_seed = {"seed", "temperature"} <= can.parameters
    greedy = GenerateParams(max_tokens=tokens, temperature=0.0, return_tokens=can.token_ids)
    rounds: list[tuple[str, list[Answer], GenerateParams]] = [
        ("greedy decoding", answers.greedy, greedy),
        (
            "greedy decoding again",
            answers.again,
            attrs.evolve(greedy, logprobs=ALTERNATIVES if can.logprobs else 0),
        ),
    ]
    if answers.takes_seed:
        # Every token may come, and none of the filters that an engine may lack is asked for.
        sampled = GenerateParams(
            max_tokens=min(tokens, MOST_SEEDED), temperature=1.0, top_k=0, top_p=1.0, seed=SEED
        )
        rounds.append(("sampling with a seed", answers.seeded, sampled))
        rounds.append(("sampling with the seed again", answers.reseeded, sampled))
    for step, kept, params in rounds:
        on_step(step)
        # Prompts take turns: one that is still in the engine's cache would be evaluated in other pieces,
        # which may round differently.
        for prompt in PROMPTS:
            kept.append(_ask(model, prompt, params))


def _ask(model: LoadedModel, prompt: str, params: GenerateParams) -> Answer:
    chunks = list(model.generate(prompt, params))
    last = chunks[-1] if chunks else None
    if last is None or last.stats is None or last.finish_reason is None:
        raise statistics_missing(model.effective.backend)
    return Answer(
        prompt=prompt,
        text="".join(chunk.text for chunk in chunks),
        tokens=tuple(token for chunk in chunks for token in chunk.tokens),
        finish_reason=last.finish_reason,
        stats=last.stats,
        alternatives=tuple(row for chunk in chunks for row in chunk.logprobs),
    )


def _speed(stats: GenerationStats) -> float | None:
    """Tokens per second after the first one, which comes out of the prompt's last pass."""
    seconds = stats.generate_seconds
    if not seconds and stats.total_seconds is not None and stats.first_token_seconds is not None:
        seconds = stats.total_seconds - stats.first_token_seconds
    if not seconds or seconds < 0 or stats.completion_tokens < 2:
        return None
    return (stats.completion_tokens - 1) / seconds
