"""The error for a model that no backend can run as asked: why for each, and what to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.backends.compatibility import incompatibility, not_runnable
from modelplug.backends.types import BackendState
from modelplug.errors import DoesNotFitError, NothingSuitableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.backends.types import BackendReport, Recommendation
    from modelplug.backends.wishes import Wishes
    from modelplug.formats.model_info import ModelInfo

__all__ = ["refusal"]


def refusal(
    info: ModelInfo | None,
    recommendation: Recommendation,
    reports: Mapping[str, BackendReport],
    wishes: Wishes,
) -> NothingSuitableError | DoesNotFitError:
    """Make the error for a recommendation of nothing.

    It is a matter of memory if a backend could run the model otherwise; else nothing suitable is installed.

    Args:
        info: The model; None if the question was a general one.
        recommendation: The verdicts.
        reports: Every backend.
        wishes: What was asked for.
    """
    reasons = {candidate.backend: candidate.reason for candidate in recommendation.candidates}
    why = _why(reasons, reports)
    starved = [candidate for candidate in recommendation.candidates if candidate.needed is not None]
    if starved and info is not None:
        least = min(starved, key=lambda candidate: candidate.needed or 0)
        return DoesNotFitError(
            f"{info.path.name} does not fit into memory",
            needed=least.needed or 0,
            available=least.available or 0,
            why=f"{least.backend}: {least.reason}" if len(starved) == 1 else why,
            advice=_memory_advice(wishes),
        )
    who = f"{wishes.backend} can't" if wishes.backend else "no installed backend can"
    what = f"{info.path.name} ({_described(info)})" if info is not None else "models on this machine"
    asked = " as asked" if wishes.explicit else ""
    return NothingSuitableError(
        f"{who} run {what}{asked}",
        reasons=reasons,
        why=why,
        advice=_advice(info, reports, wishes),
    )


def _why(reasons: Mapping[str, str], reports: Mapping[str, BackendReport]) -> str:
    """The reasons in one line: what is installed first, and what is not as a mere list."""
    absent = {name for name in reasons if name in reports and _absent(reports[name])}
    if len(reasons) == 1 or len(absent) == len(reasons):
        return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    parts = [f"{name}: {reason}" for name, reason in reasons.items() if name not in absent]
    if absent:
        parts.append(f"not installed: {', '.join(name for name in reasons if name in absent)}")
    return "; ".join(parts)


def _absent(report: BackendReport) -> bool:
    return report.state is BackendState.NOT_INSTALLED


def _described(info: ModelInfo) -> str:
    parts = (info.format, info.architecture, info.quantization)
    return ", ".join(part for part in parts if part)


def _memory_advice(wishes: Wishes) -> str:
    steps = ["Close other programs"]
    if wishes.context_size is not None:
        steps.append("ask for a smaller context (--context-size)")
    if wishes.gpu_layers not in (None, 0):
        steps.append("leave out --gpu-layers, which places as many as fit")
    return ", ".join(steps) + ", or use a smaller quantisation of the model."


def _advice(info: ModelInfo | None, reports: Mapping[str, BackendReport], wishes: Wishes) -> str:
    if info is not None and not_runnable(info):
        return "Name the model that belongs to it instead."
    see = "Run `modelplug recommend MODEL` for the verdict on every backend"
    if wishes.backend is not None:
        report = reports.get(wishes.backend)
        if report is not None and not report.usable and report.install:
            return _how_to_have(report)
        return f"Leave the backend out to let modelplug choose. {see}."
    obstructed = "" if wishes.embeddings else _obstructed(info, reports)
    if obstructed and not wishes.explicit:
        return f"{obstructed} is installed and knows the model: correct the setting that keeps it from it."
    if obstructed:
        asked = " and ".join(wishes.explicit)
        return f"Correct or leave out what was asked for ({asked}); {obstructed} can run it without. {see}."
    helpful = [
        report
        for report in reports.values()
        if not report.usable and report.install and _might_run(report, info)
    ]
    if helpful:
        # One made for this very architecture helps more than one that may know it.
        return _how_to_have(min(helpful, key=lambda report: report.architectures is None))
    return f"{see}, and leave out the options that no backend grants." if wishes.explicit else f"{see}."


def _obstructed(info: ModelInfo | None, reports: Mapping[str, BackendReport]) -> str:
    """The best working backend that knows the model, and was ruled out for the settings or the wishes."""
    for report in reports.values():
        if report.usable and (info is None or not incompatibility(report, info)):
            return report.name
    return ""


def _how_to_have(report: BackendReport) -> str:
    if report.install[0].isupper():
        return report.install  # a sentence that stands by itself, and no command
    verb = "get" if _absent(report) else "repair"
    return f"To {verb} {report.name}: {report.install}"


def _might_run(report: BackendReport, info: ModelInfo | None) -> bool:
    """Whether a backend that does not work now would be likely to run the model if it did."""
    from modelplug.backends.known import KNOWN_BACKENDS

    if info is None:
        return True
    known = KNOWN_BACKENDS.get(report.name)
    formats = report.formats or (known.formats if known else ())
    architectures = report.architectures or (known.architectures if known else None)
    return info.format in formats and (architectures is None or info.architecture in architectures)
