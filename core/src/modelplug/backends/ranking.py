"""Puts suitable candidates in order: the user's word first, then where the model runs, then measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from modelplug.backends.types import BackendReport, Candidate

__all__ = ["CPU_ONLY", "Preference", "placement", "rank"]

WHOLE_GPU, PART_GPU, CPU_ONLY = 0, 1, 2


@attrs.frozen(kw_only=True)
class Preference:
    """What the user has said about the order of backends.

    Attributes:
        preferred: The backend to use whenever it can run the model; None if none was named.
        order: Backends in the order to try them, which comes next.
    """

    preferred: str | None = None
    order: tuple[str, ...] = ()

    @classmethod
    def from_settings(cls, settings: Mapping[str, object], format: str | None) -> Preference:  # noqa: A002
        """Read the preference from effective settings.

        Args:
            settings: `preferred_backend`, `fallback_order` and `fallback_order_by_format` are read.
            format: The model's format, whose own order comes before the general one; None without a model.
        """
        preferred = settings.get("preferred_backend")
        by_format = settings.get("fallback_order_by_format")
        special = by_format.get(format) if isinstance(by_format, dict) and format is not None else None
        general = settings.get("fallback_order")
        names = [*_names(special), *_names(general)]
        return cls(
            preferred=preferred if isinstance(preferred, str) and preferred else None,
            order=tuple(dict.fromkeys(names)),
        )

    def position(self, backend: str) -> int:
        """Where the user put a backend: lower is earlier, and unnamed ones come last."""
        if backend == self.preferred:
            return -1
        return self.order.index(backend) if backend in self.order else len(self.order)

    def named(self, backend: str) -> bool:
        """Whether the user has said where this backend stands."""
        return backend == self.preferred or backend in self.order


def _names(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


def placement(candidate: Candidate) -> int:
    """How good the place of a candidate's first plan is: whole on a GPU, partly, or on the CPU."""
    if not candidate.plans or candidate.plans[0].gpu_layers == 0:
        return CPU_ONLY
    return WHOLE_GPU if candidate.plans[0].gpu_layers < 0 else PART_GPU


def rank(
    candidates: Iterable[Candidate], reports: Mapping[str, BackendReport], preference: Preference
) -> tuple[Candidate, ...]:
    """Order candidates, best first; those that are not suitable come last.

    The order is: the preferred backend, the user's order, then the rest by where they run and by the
    priority their plugins claim, except that one measured to be clearly faster here overtakes. Only
    measurements of the same model on this machine count, and only where their intervals do not overlap:
    a prediction never overtakes anything.

    Args:
        candidates: The verdicts, in any order.
        reports: Name -> report, for the priorities.
        preference: What the user has said.
    """

    def by_default(candidate: Candidate) -> tuple[bool, int, int, int, str]:
        report = reports.get(candidate.backend)
        return (
            not candidate.suitable,
            preference.position(candidate.backend),
            placement(candidate),
            -(report.priority if report else 0),
            candidate.backend,
        )

    ordered = sorted(candidates, key=by_default)
    said = [c for c in ordered if c.suitable and preference.named(c.backend)]
    free = [c for c in ordered if c.suitable and not preference.named(c.backend)]
    rest = [c for c in ordered if not c.suitable]
    return (*said, *_measured_first(free), *rest)


def _measured_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Let each candidate overtake those before it that were measured to be clearly slower."""
    result: list[Candidate] = []
    for candidate in candidates:
        position = len(result)
        for index in range(len(result) - 1, -1, -1):
            if _clearly_faster(candidate, result[index]):
                position = index
        result.insert(position, candidate)
    return result


def _clearly_faster(one: Candidate, other: Candidate) -> bool:
    return (
        one.estimate is not None
        and other.estimate is not None
        and one.estimate.basis == other.estimate.basis == "measured"
        and one.estimate.low > other.estimate.high
    )
