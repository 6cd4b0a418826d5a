"""Whether an engine can run a model at all: state, format, architecture, tensor types, stated limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug.backends.types import BackendState

if TYPE_CHECKING:
    from modelplug.backends.types import BackendReport
    from modelplug.formats.model_info import ModelInfo

__all__ = ["as_standalone", "incompatibility", "not_runnable", "unusable"]

_NOT_RUNNABLE = {
    "adapter": "this is an adapter (LoRA), which only changes a model and can't run alone",
    "vocabulary": "the file holds a vocabulary and no weights",
    "projector": "this is the projector of a multimodal model, which can't run alone",
}


def not_runnable(info: ModelInfo) -> str:
    """Why no engine can run what this file holds; empty if one might."""
    return _NOT_RUNNABLE.get(info.kind, "")


def unusable(report: BackendReport) -> str:
    """Why a backend can run nothing on this machine; empty if it can."""
    if report.usable:
        return ""
    state = "not installed" if report.state.value == "not-installed" else report.state.value
    return f"{state}: {report.cause}" if report.cause else state


def as_standalone(report: BackendReport, info: ModelInfo) -> BackendReport:
    """The report as it holds for this model: one that brings its engine along needs none installed.

    Args:
        report: What detection said of the backend.
        info: What inspection said of the model.
    """
    if report.usable or info.format not in report.standalone_formats:
        return report
    on_gpu = bool(report.devices) and report.gpu_offload != "none"
    return attrs.evolve(report, state=BackendState.GPU if on_gpu else BackendState.CPU, cause="")


def incompatibility(report: BackendReport, info: ModelInfo) -> str:
    """Why a backend can't run a model whatever the memory; empty if it can.

    Args:
        report: What detection said of the backend.
        info: What inspection said of the model.
    """
    return (
        not_runnable(info)
        or unusable(as_standalone(report, info))
        or _format(report, info)
        or _architecture(report, info)
        or _tensor_types(report, info)
        or _stated_limits(report, info)
    )


def _format(report: BackendReport, info: ModelInfo) -> str:
    if info.format in report.formats:
        return ""
    loads = ", ".join(report.formats) or "no format it has told of"
    return f"it does not load the format {info.format} (it loads {loads})"


def _architecture(report: BackendReport, info: ModelInfo) -> str:
    if report.architectures is None or info.architecture is None:
        return ""
    if {info.architecture, f"{info.format}:{info.architecture}"} & report.architectures:
        return ""
    known = sorted(report.architectures)
    shown = ", ".join(known[:6]) + (f" and {len(known) - 6} more" if len(known) > 6 else "")
    named = " ".join(part for part in (report.engine, report.version) if part)
    return f"{named} does not know the architecture {info.architecture} (it knows {shown or 'none'})"


def _tensor_types(report: BackendReport, info: ModelInfo) -> str:
    if report.tensor_types is None:
        return ""
    unknown = sorted(name for name in info.tensor_types if name not in report.tensor_types)
    if not unknown:
        return ""
    named = " ".join(part for part in (report.engine, report.version) if part)
    kind = "type" if len(unknown) == 1 else "types"
    return f"{named} does not know the tensor {kind} {', '.join(unknown)} in this model"


def _stated_limits(report: BackendReport, info: ModelInfo) -> str:
    for attribute, value, reason in report.rejects:
        # A limit is text in the contract, whatever type the attribute has: "2" shards, "big" byte order.
        if str(getattr(info, attribute, None)) == value:
            return reason
    return ""
