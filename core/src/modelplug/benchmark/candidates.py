"""What is to be measured: which model, with which backend and settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.benchmark.records import ModelFacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelplug.backends.types import BackendReport, Estimate
    from modelplug.errors import ModelplugError
    from modelplug.formats.model_info import ModelInfo
    from modelplug.runtime import Runtime

__all__ = ["ALL_BACKENDS", "BenchmarkCandidate", "choose_candidates"]

ALL_BACKENDS = "all"
"""Instead of a backend's name: every backend that suits the model."""


@attrs.frozen(kw_only=True)
class BenchmarkCandidate:
    """One model with one backend and settings.

    Attributes:
        label: What tables and plots call it.
        name: The model as the user named it.
        info: What inspection found.
        backend: The backend's name; empty if none suits.
        report: What detection says of it; None if there is none.
        settings: The settings asked for.
        force: Whether to try it even if it does not fit into memory by estimate.
        estimate: The generation speed expected; None without a basis.
        problem: Why it can't be run; None if it can be tried.
    """

    label: str
    name: str
    info: ModelInfo
    backend: str
    report: BackendReport | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)
    force: bool = False
    estimate: Estimate | None = None
    problem: ModelplugError | None = None

    @property
    def model(self) -> ModelFacts:
        """The model, as results tell of it."""
        info = self.info
        return ModelFacts(
            name=self.name,
            path=str(info.path),
            fingerprint=info.fingerprint,
            format=info.format,
            architecture=info.architecture or "",
            quantization=info.quantization or "",
            size=info.size,
            parameters=info.parameters,
        )


def choose_candidates(
    models: Sequence[str],
    backends: Sequence[str],
    settings: Mapping[str, Any],
    runtime: Runtime,
    *,
    force: bool = False,
) -> tuple[BenchmarkCandidate, ...]:
    """Every model with every backend named; without names, with the backend that selection picks.

    A backend that does not suit a model becomes a candidate with a problem: its row says why.

    Args:
        models: Paths, bundled or registered names.
        backends: Names, or `all` for every backend that suits.
        settings: Settings asked for, neutral ones and a backend's own.
        runtime: Plugins, settings and history.
        force: Whether to try even what does not fit into memory by estimate.

    Raises:
        ModelFileError: A model can't be used.
        UsageError: A backend is unknown, or a setting makes no sense.
    """
    from modelplug.backends.inspection import inspected

    found: list[BenchmarkCandidate] = []
    for model in models:
        info = inspected(model, runtime)
        wanted: Sequence[str | None] = tuple(backends) or (None,)
        for backend in dict.fromkeys(wanted):
            found += _candidates(model, info, backend, settings, runtime, force=force)
    return _with_labels(found)


def _candidates(
    model: str,
    info: ModelInfo,
    backend: str | None,
    settings: Mapping[str, Any],
    runtime: Runtime,
    *,
    force: bool,
) -> list[BenchmarkCandidate]:
    from modelplug.backends.select import BackendSelector

    given: dict[str, Any] = {"settings": dict(settings), "force": force}
    if backend not in (None, ALL_BACKENDS):
        given["backend"] = backend
    selector = BackendSelector(runtime)
    recommendation = selector.get_recommendation(info, **given)
    suitable = [candidate for candidate in recommendation.candidates if candidate.suitable]
    common: dict[str, Any] = {"label": "", "name": model, "info": info}
    common |= {"settings": dict(settings), "force": force}
    reports = runtime.backends.reports()
    if not suitable:
        problem = selector.failure(info, recommendation, **given)
        named = given.get("backend", "")
        return [BenchmarkCandidate(backend=named, report=reports.get(named), problem=problem, **common)]
    return [
        BenchmarkCandidate(
            backend=candidate.backend,
            report=reports[candidate.backend],
            estimate=candidate.estimate,
            **common,
        )
        for candidate in (suitable if backend == ALL_BACKENDS else suitable[:1])
    ]


def _with_labels(candidates: Sequence[BenchmarkCandidate]) -> tuple[BenchmarkCandidate, ...]:
    """The candidates, none twice, each with a label that no other has."""
    found: dict[str, BenchmarkCandidate] = {}
    seen = set()
    for candidate in candidates:
        identity = (candidate.info.path, candidate.backend)
        if identity in seen:
            continue
        seen.add(identity)
        label = f"{Path(candidate.name).name} on {candidate.backend or 'no backend'}"
        if label in found:
            label = f"{candidate.name} on {candidate.backend or 'no backend'}"
        found[label] = attrs.evolve(candidate, label=label)
    return tuple(found.values())
