"""What a search for better settings came to: a proposal, and the evidence for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.benchmark.comparison import LEVEL, finite_or_none

if TYPE_CHECKING:
    from modelplug.benchmark.comparison import MetricComparison
    from modelplug.benchmark.optimizing.space import LeftOut
    from modelplug.benchmark.records import BenchmarkReport, Metric, ModelFacts
    from modelplug.history.wizard import SettingChange

__all__ = ["OptimizationProposal", "TriedSettings"]

_PRICES = {
    "use_mlock": "The weights stay in main memory as long as the model is loaded, whatever else needs it.",
    "kv_type": "Another type of keys and values changes what the model says.",
    "context_size": "Prompt and answer together have less room than before.",
}


@attrs.frozen(kw_only=True)
class TriedSettings:
    """Settings that were measured.

    Attributes:
        settings: What differs from the settings in force; empty for these themselves.
        label: The same for people.
        rounds: How often the model was loaded and measured with them, the confirmation included.
        searched: The figure that counts, as it was measured while searching; None without a measurement.
        confirmed: The same in the confirmation; None if they were not in it.
        error: Why the engine failed with them; empty if it did not.
    """

    settings: dict[str, Any]
    label: str
    rounds: int
    searched: Metric | None = None
    confirmed: Metric | None = None
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "settings": self.settings,
            "label": self.label,
            "rounds": self.rounds,
            "searched": _figure(self.searched),
            "confirmed": _figure(self.confirmed),
            "error": self.error,
        }


@attrs.frozen(kw_only=True)
class OptimizationProposal:
    """Settings proposed for a model here, or the finding that those in force are to be kept.

    Attributes:
        model: The model.
        backend: The backend.
        goal: What the search was for: `generation`, `prompt` or `memory`.
        changes: The settings that would change; empty if those in force are to be kept. Nothing is changed
            before `apply_config`.
        reason: Why, in a sentence or two.
        gain: How the figure that counts changed in the confirmation, where the settings in force are the
            base; None if there was no confirmation.
        figures: How every figure changed in it.
        tried: Everything that was measured, the settings in force first.
        left_out: What was not tried, with the reason.
        seconds: How long it took.
        budget: How long it was allowed to take.
        interrupted: Whether the user ended it early; what was measured until then is here.
        benchmark: The number of the confirmation in the history; None if it is not there.
        report: The confirmation, with every sample; None if there was none.
    """

    model: ModelFacts
    backend: str
    goal: str
    changes: tuple[SettingChange, ...] = ()
    reason: str = ""
    gain: MetricComparison | None = None
    figures: tuple[MetricComparison, ...] = ()
    tried: tuple[TriedSettings, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    seconds: float = 0.0
    budget: float = 0.0
    interrupted: bool = False
    benchmark: int | None = None
    report: BenchmarkReport | None = attrs.field(default=None, repr=False)

    @property
    def improves(self) -> bool:
        """Whether there is evidence for a gain, and so something to apply."""
        return bool(self.changes)

    @property
    def prices(self) -> tuple[str, ...]:
        """What the gain costs, in sentences: figures that got worse, and what no figure shows."""
        from modelplug.benchmark.reports.wording import value_text

        if not self.changes:
            return ()
        worse = [
            f"{figure.label}: {value_text(figure.base, figure.unit)} before, "
            f"{value_text(figure.new, figure.unit)} with it ({figure.change:+.1f} %)."
            for figure in self.figures
            if figure != self.gain and figure.worse_by > 0 and figure.p <= LEVEL
        ]
        names = [change.key.rpartition(".")[2] for change in self.changes]
        return (*worse, *(_PRICES[name] for name in names if name in _PRICES))

    def to_dict(self) -> dict[str, Any]:
        """The proposal as plain data that `json.dumps` accepts; the samples are in the report."""
        return {
            "model": attrs.asdict(self.model),
            "backend": self.backend,
            "goal": self.goal,
            "improves": self.improves,
            "reason": self.reason,
            "changes": [attrs.asdict(change) for change in self.changes],
            "prices": list(self.prices),
            "gain": None if self.gain is None else _comparison(self.gain),
            "figures": [_comparison(figure) for figure in self.figures],
            "tried": [tried.to_dict() for tried in self.tried],
            "left_out": [attrs.asdict(left_out) for left_out in self.left_out],
            "seconds": round(self.seconds, 3),
            "budget": self.budget,
            "interrupted": self.interrupted,
            "benchmark": self.benchmark,
        }

    def __str__(self) -> str:
        lines = [self.reason, *map(str, self.changes), *self.prices]
        return "\n".join(line for line in lines if line)


def _comparison(figure: MetricComparison) -> dict[str, Any]:
    plain = attrs.asdict(figure)
    # These are a matter of comparing many figures at once, and this is one that was chosen beforehand.
    del plain["corrected"], plain["verdict"]
    return {
        name: finite_or_none(value) if isinstance(value, float) else value for name, value in plain.items()
    }


def _figure(metric: Metric | None) -> dict[str, Any] | None:
    if metric is None:
        return None
    names = ("name", "unit", "better", "median", "low", "high", "confidence", "stable")
    return {name: getattr(metric, name) for name in names}
