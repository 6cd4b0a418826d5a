"""How fast an engine should run a model here, learned from the models it has run here before.

The time that a token takes is taken to be a sum: so much for each byte read, for each weight unpacked and
multiplied, for each layer, and for the token itself. What each of these costs on this machine, with this
engine, is fitted to the models measured so far, by least squares of the logarithms' errors. Costs can't be
negative. With few models they are drawn towards what a model of the hardware expects, which data soon
outweighs. Models of about the same size and format weigh most, because costs are not quite constant: a small
model lives in the processor's cache. What models of one format are off by then corrects the rest, because
each format takes arithmetic of its own.

The interval comes from how well each of the known models would have been predicted from the others.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelplug.history import RunRecord

__all__ = ["Work", "WorkSample", "learn", "samples_of"]

FEWEST_MODELS = 2
"""One model alone does not tell the cost of a byte from the cost of a token."""

FEWEST_UNGUIDED = 3
"""So many are needed where nothing is known of the hardware."""

MOST_MODELS = 24
"""The most like ones of more models say nearly all there is to say, and take less time to ask."""

PULL = 0.2
"""The weight of what is expected of the hardware, against that of one model measured."""

ALIKE = (math.log(4.0), math.log(2.0))
"""A model whose size differs by the first factor, or whose weights' size by the second, weighs 0.6 of one
that differs in neither."""

KIN = (math.log(3.0), math.log(1.1))
"""The same for what is left when the costs are known: models of one format are off by the same factor."""

ALONE = 0.5
"""How many models of one kind it takes to believe half of what they are off by."""

DOUBT, DOUBTS = 0.35, 2.0
"""The relative error to be expected of a first prediction, and how many models it takes to outweigh it."""

FLOOR = 0.05
"""No interval is narrower: the machine itself varies that much from one day to the next."""

ENOUGH_ROOM = 3.0
"""A model may be larger or smaller than any measured by this factor before the interval widens."""

KINDS = 5

CACHED = 16e6
"""Bytes that may lie in the processor's own cache."""

IN_CACHE = 0.25
"""What reading a byte there is expected to cost, of what it costs to read one from memory."""

OUTLIER = 0.3
"""A model whose time is further off than this (as a logarithm) counts for less."""

# How the costs are approached: so many times, each time correcting no error larger than this.
ROUNDS, LARGEST_ERROR = 12, 2.0


@attrs.frozen(kw_only=True)
class Work:
    """What an engine has to do for one token.

    Attributes:
        bytes: Bytes of weights, keys and values that it reads.
        weights: Weights that it unpacks and multiplies.
        layers: Layers that it goes through.
    """

    bytes: float
    weights: float
    layers: float

    @property
    def bytes_per_weight(self) -> float:
        """How large a weight is, which tells how it is stored."""
        return max(self.bytes, 1.0) / max(self.weights, 1.0)


@attrs.frozen(kw_only=True)
class WorkSample:
    """One model as it was measured here.

    Attributes:
        fingerprint: The model.
        work: What it takes for one token.
        seconds: What one token took, the median of its runs.
        depth: Tokens of context that there were meanwhile, the median likewise.
        runs: How many runs there are.
    """

    fingerprint: str
    work: Work
    seconds: float
    depth: float = 0.0
    runs: int = 1


@attrs.frozen(kw_only=True)
class Learned:
    """What was learned for one model.

    Attributes:
        seconds: The time that a token should take.
        spread: The standard deviation of its logarithm: about the relative error to expect.
        models: How many models it rests on.
        runs: How many runs of these.
    """

    seconds: float
    spread: float
    models: int
    runs: int


def samples_of(
    runs: Iterable[RunRecord], *, machine: str = "", threads: int | None = None
) -> list[WorkSample]:
    """One sample for each model that earlier runs measured.

    Args:
        runs: Runs of one engine on one device.
        machine: Only of this processor; runs of which it is not known count too.
        threads: Only with so many threads, if at least three models were run with that many.
    """
    telling = [
        run
        for run in runs
        if run.tokens_per_second is not None and run.weight_bytes and run.machine in ("", machine)
    ]
    same = [run for run in telling if run.threads == threads]
    if len({run.fingerprint for run in same}) >= FEWEST_UNGUIDED:
        telling = same
    models: dict[str, list[RunRecord]] = {}
    for run in telling:
        models.setdefault(run.fingerprint, []).append(run)
    return [_sample(fingerprint, found) for fingerprint, found in models.items()]


def _sample(fingerprint: str, runs: Sequence[RunRecord]) -> WorkSample:
    speeds = [speed for run in runs if (speed := run.tokens_per_second) is not None]
    newest = runs[0]
    depth = statistics.median((run.prompt_tokens or 0) + (run.completion_tokens or 0) / 2 for run in runs)
    weight_bytes = newest.weight_bytes or 0.0
    return WorkSample(
        fingerprint=fingerprint,
        work=Work(
            bytes=weight_bytes + (newest.cache_bytes or 0.0) * depth,
            weights=newest.weight_count or weight_bytes,
            layers=float(newest.layers or 0),
        ),
        seconds=1 / statistics.median(speeds),
        depth=depth,
        runs=len(speeds),
    )


def learn(
    work: Work, samples: Sequence[WorkSample], expected: Work | None, constant: float
) -> Learned | None:
    """The time that a token of one model should take; None if too few others were measured.

    Args:
        work: What the model takes.
        samples: The models measured so far.
        expected: The cost, in seconds, of a byte, of a weight and of a layer that the hardware lets expect;
            None if nothing is known of it.
        constant: The same for what each token costs whatever the model.
    """
    if len(samples) < (FEWEST_MODELS if expected is not None else FEWEST_UNGUIDED):
        return None
    samples = sorted(samples, key=lambda sample: -_likeness(sample.work, work, ALIKE))[:MOST_MODELS]
    errors = []
    for number, sample in enumerate(samples):
        others = [*samples[:number], *samples[number + 1 :]]
        errors.append(math.log(_seconds(sample.work, others, expected, constant) / sample.seconds))
    scatter = sum(error * error for error in errors) + DOUBTS * DOUBT * DOUBT
    spread = math.sqrt(scatter / (len(errors) + DOUBTS)) * _farness(work, samples)
    return Learned(
        seconds=_seconds(work, samples, expected, constant),
        spread=max(FLOOR, spread),
        models=len(samples),
        runs=sum(sample.runs for sample in samples),
    )


def _seconds(work: Work, samples: Sequence[WorkSample], expected: Work | None, constant: float) -> float:
    """The time of a token by its costs, corrected by what models of the same kind are off by."""
    costs = _costs(work, samples, expected, constant)
    off, weights = 0.0, ALONE
    for sample in samples:
        weight = _likeness(sample.work, work, KIN)
        off += weight * math.log(sample.seconds / _dot(costs, sample.work))
        weights += weight
    return _dot(costs, work) * math.exp(off / weights)


def _costs(work: Work, samples: Sequence[WorkSample], expected: Work | None, constant: float) -> list[float]:
    """What each kind of work costs, for the logarithms of the times to be met, near what is expected."""
    guess = _guess(samples, expected, constant)
    shares = [[amount * cost for amount, cost in zip(_amounts(s.work), guess, strict=True)] for s in samples]
    likeness = [0.02 + _likeness(sample.work, work, ALIKE) for sample in samples]
    factors = _least_squares(
        [
            ([share / sample.seconds for share in row], 1.0, weight)
            for row, sample, weight in zip(shares, samples, likeness, strict=True)
        ]
    )
    for _ in range(ROUNDS):
        rows = []
        for row, sample, weight in zip(shares, samples, likeness, strict=True):
            time = max(1e-12, sum(share * factor for share, factor in zip(row, factors, strict=True)))
            error = min(max(math.log(sample.seconds / time), -LARGEST_ERROR), LARGEST_ERROR)
            # A model that was measured while something else was going on must not spoil the rest.
            trust = min(1.0, OUTLIER / abs(error)) if error else 1.0
            rows.append(([share / time for share in row], 1.0 + error, weight * trust))
        better = _least_squares(rows)
        factors = [(old + new) / 2 for old, new in zip(factors, better, strict=True)]
    return [factor * cost for factor, cost in zip(factors, guess, strict=True)]


def _guess(samples: Sequence[WorkSample], expected: Work | None, constant: float) -> list[float]:
    """Costs to begin with; where nothing is known of the hardware, each kind of work takes as long."""
    if expected is not None:
        cached = IN_CACHE * expected.bytes
        return [cached, expected.weights, expected.layers, constant, expected.bytes - cached]
    guess: list[float] = []
    for j in range(KINDS):
        each = [sample.seconds / amount for sample in samples if (amount := _amounts(sample.work)[j]) > 0]
        # Where no model had any of it, it costs what the first kind does, which is a byte.
        guess.append(statistics.median(each) / KINDS if each else guess[0])
    return guess


def _likeness(one: Work, other: Work, widths: tuple[float, float]) -> float:
    """How much a model says of another, from 0 to 1: by their sizes, and by those of their weights."""
    size = math.log(max(one.bytes, 1.0) / max(other.bytes, 1.0)) / widths[0]
    weight = math.log(one.bytes_per_weight / other.bytes_per_weight) / widths[1]
    return math.exp(-0.5 * (size * size + weight * weight))


def _least_squares(rows: Sequence[tuple[Sequence[float], float, float]]) -> list[float]:
    """Factors of at least 0, near 1, that bring each row's sum near its target, by the row's weight.

    A factor may leave 1 the more easily, the less of the time its kind of work was expected to take.
    """
    every = sum(weight for _, _, weight in rows)
    pulls = [
        PULL * sum(row[j] * row[j] * weight for row, _, weight in rows) / every + 1e-12 for j in range(KINDS)
    ]
    left = [
        [sum(row[j] * row[k] * weight for row, _, weight in rows) for k in range(KINDS)] for j in range(KINDS)
    ]
    for j in range(KINDS):
        left[j][j] += pulls[j]
    right = [sum(row[j] * target * weight for row, target, weight in rows) + pulls[j] for j in range(KINDS)]
    free = list(range(KINDS))
    while free:
        found = _solve([[left[j][k] for k in free] for j in free], [right[j] for j in free])
        lowest = min(range(len(free)), key=found.__getitem__)
        if found[lowest] >= 0:
            break
        del free[lowest]
    factors = [0.0] * KINDS
    for position, j in enumerate(free):
        factors[j] = found[position]
    return factors


def _solve(left: list[list[float]], right: list[float]) -> list[float]:
    """The solution of a symmetric positive definite system, which needs no pivots."""
    size = len(right)
    for j in range(size):
        for k in range(j + 1, size):
            factor = left[k][j] / left[j][j]
            left[k] = [left[k][i] - factor * left[j][i] for i in range(size)]
            right[k] -= factor * right[j]
    solution = [0.0] * size
    for j in reversed(range(size)):
        rest = sum(left[j][k] * solution[k] for k in range(j + 1, size))
        solution[j] = (right[j] - rest) / left[j][j]
    return solution


def _farness(work: Work, samples: Sequence[WorkSample]) -> float:
    """How much wider the interval must be for a model unlike any that was measured."""
    nearest = min(abs(math.log(max(s.work.bytes, 1.0) / max(work.bytes, 1.0))) for s in samples)
    return 1.0 + max(0.0, nearest - math.log(ENOUGH_ROOM))


def _dot(costs: Sequence[float], work: Work) -> float:
    return max(1e-9, sum(cost * amount for cost, amount in zip(costs, _amounts(work), strict=True)))


def _amounts(work: Work) -> tuple[float, ...]:
    """How much there is of each kind of work; bytes that no cache holds are a kind of their own."""
    return work.bytes, work.weights, work.layers, 1.0, max(0.0, work.bytes - CACHED)
