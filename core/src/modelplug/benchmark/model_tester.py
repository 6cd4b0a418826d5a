"""`ModelTester`: tries models out, as the migration guide and `modelplug test` have it."""

from __future__ import annotations

import datetime
import math
import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.benchmark.candidates import ALL_BACKENDS, choose_candidates
from modelplug.benchmark.examine import Subject, examine
from modelplug.benchmark.parity import DIFFERENT, compare_results, joined
from modelplug.benchmark.tested import ModelTestReport
from modelplug.errors import ModelFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from modelplug.benchmark.parity import Parity
    from modelplug.benchmark.tested import ModelTestResult
    from modelplug.runtime import Runtime

__all__ = ["DEADLINE_SECONDS", "TOKENS", "ModelProgress", "ModelTester"]

TOKENS = 16
"""Tokens of each answer."""

DEADLINE_SECONDS = 600.0
"""For each model with each engine, loading included."""


@attrs.frozen(kw_only=True)
class ModelProgress:
    """Where a test is.

    Attributes:
        label: What is being tested.
        number: Its number, from 0.
        count: How many there are.
        step: What is being done with it, for example `loading`.
    """

    label: str
    number: int
    count: int
    step: str


class ModelTester:
    """Loads models, lets them generate, and checks what they say.

    Args:
        runtime: Plugins, settings and history; None makes a runtime of its own.
        on_progress: Told of every step.

    Attributes:
        report: What the latest test found, also where Ctrl-C ended it; None before the first.
    """

    def __init__(
        self, runtime: Runtime | None = None, *, on_progress: Callable[[ModelProgress], None] | None = None
    ) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime as NewRuntime

            runtime = NewRuntime()
        self._runtime = runtime
        self._on_progress = on_progress
        self.report: ModelTestReport | None = None

    def test_all_models(
        self,
        models: Sequence[str | os.PathLike[str]] = (),
        *,
        tokens: int = TOKENS,
        deadline: float = DEADLINE_SECONDS,
        settings: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> dict[str, ModelTestResult]:
        """Test every model with the engine that selection picks for it.

        Args:
            models: What `run` takes.
            tokens: Tokens of each answer.
            deadline: Seconds for each model.
            settings: Settings for all of them.
            force: Whether to try even what does not fit into memory by estimate.

        Returns:
            Path -> how it went; look at `.success` first. A model that is missing or can't be used is among
            them, and never an exception.

        Raises:
            UsageError: A setting makes no sense.
            KeyboardInterrupt: The user ended it; the attribute `report` has everything until then.
        """
        report = self.run(models, tokens=tokens, deadline=deadline, settings=settings, force=force)
        return {result.path: result for result in report.results}

    def run(
        self,
        models: Sequence[str | os.PathLike[str]] = (),
        *,
        backends: Sequence[str] = (),
        tokens: int = TOKENS,
        deadline: float = DEADLINE_SECONDS,
        settings: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> ModelTestReport:
        """Test models, and compare the answers of engines that ran the same weights.

        Args:
            models: Paths, bundled or registered names; none takes all registered ones and the settings'
                `model_path`, and where there are none of these, `demo`.
            backends: Names, or `all` for every backend that suits; none takes what selection picks.
            tokens: Tokens of each answer.
            deadline: Seconds for each model with each engine, loading included.
            settings: Settings for all of them: `gpu_layers`, `context_size`, `threads`, `batch_size`, and a
                backend's own.
            force: Whether to try even what does not fit into memory by estimate.

        Raises:
            UsageError: A backend is unknown, or a setting makes no sense; nothing was tested then.
            KeyboardInterrupt: The user ended it; the attribute `report` has everything until then.
        """
        _check_numbers(tokens, deadline)
        began = time.perf_counter()
        created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self.report = None
        # A string is a sequence of strings too, and would name a model for each character.
        listed = [models] if isinstance(models, str) else models
        texts = [os.fspath(model) for model in listed]
        named = [(text, text) for text in texts] or self._known_models()
        subjects = self._subjects(named, backends, settings or {}, force=force)
        results: list[ModelTestResult] = []
        interrupted = False
        try:
            for number, subject in enumerate(subjects):
                results.append(self._examined(subject, number, len(subjects), tokens, deadline))
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            parities = compare_results(results)
            self.report = ModelTestReport(
                results=tuple(_with_parity(result, parities) for result in results),
                parities=parities,
                untested=tuple(subject.label for subject in subjects[len(results) :]),
                interrupted=interrupted,
                created=created,
                seconds=time.perf_counter() - began,
            )
        return self.report

    def _examined(
        self, subject: Subject, number: int, count: int, tokens: int, deadline: float
    ) -> ModelTestResult:
        def tell(step: str) -> None:
            if self._on_progress is not None:
                self._on_progress(ModelProgress(label=subject.label, number=number, count=count, step=step))

        return examine(subject, self._runtime, tokens=tokens, deadline=deadline, on_step=tell)

    def _known_models(self) -> list[tuple[str, str]]:
        """Every model of the user's, as (what it is called, how to reach it)."""
        from modelplug.data import DEMO

        configured = self._runtime.config.settings.model_path
        # A name could also be that of a file where the program was started, so the path is taken.
        known = [
            (model.name, str(model.path) if model.path.exists() else model.name)
            for model in self._runtime.history.models()
        ]
        if configured:
            known.append((str(configured), str(configured)))
        return known or [(DEMO, DEMO)]

    # Choosing -----------------------------------------------------------------------------------------

    def _subjects(
        self,
        named: Sequence[tuple[str, str]],
        backends: Sequence[str],
        settings: Mapping[str, Any],
        *,
        force: bool,
    ) -> list[Subject]:
        """What is to be tested, nothing of it twice, each with a label of its own."""
        found: dict[tuple[str, str], Subject] = {}
        for name, model in named:
            for subject in self._of_model(name, model, backends, settings, force=force):
                found.setdefault((subject.path, subject.backend), subject)
        subjects = list(found.values())
        taken = Counter(subject.label for subject in subjects)
        return [
            attrs.evolve(subject, label=_label(subject.name, subject.backend))
            if taken[subject.label] > 1
            else subject
            for subject in subjects
        ]

    def _of_model(
        self, name: str, model: str, backends: Sequence[str], settings: Mapping[str, Any], *, force: bool
    ) -> Iterator[Subject]:
        short = Path(name).name or name
        try:
            candidates = choose_candidates([model], backends, settings, self._runtime, force=force)
        except ModelFileError as error:
            yield Subject(name=name, path=str(error.path), label=_label(short, ""), problem=error)
            return
        for candidate in candidates:
            yield Subject(
                name=name,
                path=str(candidate.info.path),
                label=_label(short, candidate.backend),
                candidate=candidate,
                problem=candidate.problem,
                alone=len(backends) <= 1 and ALL_BACKENDS not in backends,
            )


def _label(name: str, backend: str) -> str:
    # A file's name may hold line ends and worse.
    shown = name if name and name.isprintable() else repr(name)
    return f"{shown} on {backend}" if backend else shown


def _check_numbers(tokens: int, deadline: float) -> None:
    counted: object = tokens
    if isinstance(counted, bool) or not isinstance(counted, int) or counted < 1:
        raise UsageError(
            f"{tokens!r} is no number of tokens",
            why="each answer has at least one token",
            advice=f"Give a whole number such as {TOKENS}.",
        )
    timed: object = deadline
    if not isinstance(timed, (int, float)) or not math.isfinite(timed) or timed <= 0:
        raise UsageError(
            f"the deadline {deadline!r} is not a number of seconds above 0",
            why="each model has that long, loading included",
            advice=f"Give a number such as {DEADLINE_SECONDS:g}.",
        )


def _with_parity(result: ModelTestResult, parities: Sequence[Parity]) -> ModelTestResult:
    """The result, with a remark if it stands out among engines that ran the same weights."""
    remarks = tuple(
        f"Its answer to {difference.prompt!r} is not that of {joined(difference.others)}."
        for parity in parities
        for difference in parity.differences
        if (difference.path, difference.backend) == (result.path, result.backend)
        and difference.majority
        and difference.outcome == DIFFERENT
    )
    return attrs.evolve(result, remarks=(*result.remarks, *remarks)) if remarks else result
