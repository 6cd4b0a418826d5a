"""Whether engines that ran the same weights say the same."""

from __future__ import annotations

import filecmp
from typing import TYPE_CHECKING

import attrs

from modelplug.benchmark.parting import Parting, part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from modelplug.benchmark.tested import ModelTestResult

__all__ = ["DIFFERENT", "ROUNDING", "SAME", "Parity", "ParityDifference", "compare_results", "joined"]

SAME, ROUNDING, DIFFERENT = "same", "rounding", "different"


@attrs.frozen(kw_only=True)
class ParityDifference:
    """One answer that is not that of the others.

    Attributes:
        prompt: What was to be continued.
        label: Whose answer it is, as in `Parity.labels`.
        path: The model's file.
        backend: The engine.
        others: Whose answer it is not.
        majority: Whether the others are the larger part, so that this one stands out.
        parting: Where the answers part, and whether rounding explains it; `expected` is of the others.
    """

    prompt: str
    label: str
    path: str
    backend: str
    others: tuple[str, ...]
    majority: bool
    parting: Parting

    @property
    def outcome(self) -> str:
        """`rounding` if different rounding is shown to explain it, else `different`."""
        return ROUNDING if self.parting.rounding else DIFFERENT


@attrs.frozen(kw_only=True)
class Parity:
    """Whether several runs of the same weights gave the same greedy answers.

    Attributes:
        model: What the model is called.
        fingerprint: Hash of its content, which all of them loaded.
        labels: Who was compared: the engines, or models and engines where there are several files.
        outcome: `same`; `rounding` if all differences are shown to come from rounding; or `different`.
        tokens: Tokens of the answers that were compared, of one of them.
        differences: Every answer that is not that of the others.
    """

    model: str
    fingerprint: str
    labels: tuple[str, ...]
    outcome: str
    tokens: int
    differences: tuple[ParityDifference, ...] = ()


def compare_results(results: Sequence[ModelTestResult]) -> tuple[Parity, ...]:
    """Compare the greedy answers of all results on the same weights.

    The same weights are those of the same file, or of files of the same bytes. A model in two formats may
    hold the same numbers, but that can't be told from its files, and so it is not compared.

    Args:
        results: Those that failed are left out.
    """
    groups: dict[str, list[ModelTestResult]] = {}
    for result in results:
        if result.success and result.fingerprint:
            groups.setdefault(result.fingerprint, []).append(result)
    return tuple(parity for group in groups.values() for parity in _parities(group))


def joined(labels: Sequence[str]) -> str:
    """Names in a row, as a sentence has them."""
    return " and ".join([", ".join(labels[:-1]), labels[-1]] if len(labels) > 1 else labels)


def _parities(group: Sequence[ModelTestResult]) -> Iterator[Parity]:
    if len(group) < 2:
        return
    parity = _compared(group)
    if not parity.differences or len({result.path for result in group}) == 1:
        yield parity
        return
    # A fingerprint samples large files: before engines are blamed, make sure that they had the same bytes.
    same: list[list[ModelTestResult]] = []
    for result in group:
        found = next((others for others in same if _same_bytes(others[0].files, result.files)), None)
        if found is None:
            same.append([result])
        else:
            found.append(result)
    yield from (_compared(others) for others in same if len(others) > 1)


def _same_bytes(one: Sequence[Path], other: Sequence[Path]) -> bool:
    if one == other:
        return True
    try:
        pairs = zip(one, other, strict=True)
        return all(
            first.samefile(second) or filecmp.cmp(first, second, shallow=False) for first, second in pairs
        )
    except (OSError, ValueError):
        # Removed meanwhile, or of another number of files: nothing can be said.
        return False


def _compared(group: Sequence[ModelTestResult]) -> Parity:
    count = min(len(result.answers) for result in group)
    one_file = len({result.path for result in group}) == 1
    names = {id(result): result.backend if one_file else result.label for result in group}
    differences = tuple(found for place in range(count) for found in _differences(group, place, names))
    outcomes = {difference.outcome for difference in differences}
    return Parity(
        model=group[0].model,
        fingerprint=group[0].fingerprint,
        labels=tuple(names.values()),
        outcome=DIFFERENT if DIFFERENT in outcomes else ROUNDING if outcomes else SAME,
        tokens=sum(answer.stats.completion_tokens for answer in group[0].answers[:count]),
        differences=differences,
    )


def _differences(
    group: Sequence[ModelTestResult], place: int, names: Mapping[int, str]
) -> Iterator[ParityDifference]:
    camps: list[list[ModelTestResult]] = []
    for result in group:
        camp = next((c for c in camps if part(c[0].answers[place], result.answers[place]) is None), None)
        if camp is None:
            camps.append([result])
        else:
            camp.append(result)
    # Of camps of equal size the first is the measure, and none of them stands out.
    largest = max(camps, key=len)
    for camp in camps:
        if camp is largest:
            continue
        for result in camp:
            parting = part(largest[0].answers[place], result.answers[place])
            if parting is not None:
                yield ParityDifference(
                    prompt=result.answers[place].prompt,
                    label=names[id(result)],
                    path=result.path,
                    backend=result.backend,
                    others=tuple(names[id(other)] for other in largest),
                    majority=len(largest) > len(group) / 2,
                    parting=parting,
                )
