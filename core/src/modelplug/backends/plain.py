"""Records of this room as plain data, for JSON output."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from modelplug.backends.types import BackendReport, Candidate, Estimate, Recommendation

__all__ = ["candidate_to_dict", "plain", "recommendation_to_dict", "report_to_dict"]


def plain(value: Any) -> Any:
    """Turn a record, or anything made of records, into what `json.dumps` accepts.

    Args:
        value: Records, mappings, lists, sets, paths, enumerations, numbers or text.
    """
    if attrs.has(type(value)):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def report_to_dict(report: BackendReport) -> dict[str, Any]:
    """A backend report, with `usable` beside its state."""
    fields: dict[str, Any] = plain(report)
    return {"name": fields.pop("name"), "state": fields.pop("state"), "usable": report.usable, **fields}


def candidate_to_dict(candidate: Candidate) -> dict[str, Any]:
    """A verdict, with the plans and the estimate behind it."""
    fields: dict[str, Any] = plain(candidate)
    return fields


def recommendation_to_dict(recommendation: Recommendation) -> dict[str, Any]:
    """A recommendation; the estimate is an object, or text where nothing is known."""
    return {
        "backend": recommendation.backend or None,
        "reason": recommendation.reason,
        "settings": plain(recommendation.settings),
        "performance_estimate": _estimate(recommendation.performance_estimate),
        "alternatives": [candidate.backend for candidate in recommendation.alternatives],
        "plans": plain(recommendation.plans),
        "candidates": [candidate_to_dict(candidate) for candidate in recommendation.candidates],
    }


def _estimate(estimate: Estimate | str) -> Any:
    return estimate if isinstance(estimate, str) else plain(estimate)
