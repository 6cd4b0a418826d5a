"""Draws the conclusion from a search: who has won, what would change, and the reason in words."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import attrs

from modelplug.benchmark.optimizing.confirmation import rounds_for_evidence
from modelplug.benchmark.optimizing.proposal import TriedSettings

if TYPE_CHECKING:
    from modelplug.benchmark.candidates import BenchmarkCandidate
    from modelplug.benchmark.comparison import MetricComparison
    from modelplug.benchmark.optimizing.confirmation import Confirmation
    from modelplug.benchmark.optimizing.trials import Contestant, Trials
    from modelplug.history.wizard import SettingChange
    from modelplug.runtime import Runtime

__all__ = ["CONFIRMING_SHARE", "Conclusion"]

CONFIRMING_SHARE = 0.55
"""This part of the time is left for the confirmation."""

_KEPT = "The settings in force are to be kept"


@attrs.frozen(kw_only=True)
class Conclusion:
    """What a search says, whether it came to its end or not.

    Attributes:
        base: The model, the backend, and the settings in force.
        trials: Everything that was measured while searching.
        confirmation: What was measured in turn; None if it did not come to that.
        budget: Seconds there were.
        ran_out: Whether they were too few to try everything.
        interrupted: Whether the user ended it early.
    """

    base: BenchmarkCandidate
    trials: Trials
    confirmation: Confirmation | None
    budget: float
    ran_out: bool
    interrupted: bool

    @property
    def winner(self) -> Contestant | None:
        """Whoever is proposed; None if nobody is."""
        if self.confirmation is None or self.interrupted:
            return None
        return self.confirmation.winner()

    @property
    def _shown(self) -> Contestant | None:
        """Whose figures stand beside those of the settings in force."""
        return self.winner or (self.confirmation.finalists[1] if self.confirmation is not None else None)

    @property
    def gain(self) -> MetricComparison | None:
        """How the figure that counts has changed; None without a confirmation."""
        if self.confirmation is None or self._shown is None:
            return None
        return self.confirmation.gain(self._shown)

    @property
    def figures(self) -> tuple[MetricComparison, ...]:
        """How every figure has changed, the one that counts first."""
        if self.confirmation is None or self._shown is None:
            return ()
        counts = self.confirmation.figure
        found = self.confirmation.comparisons(self._shown)
        return tuple(sorted(found, key=lambda figure: figure.name != counts))

    @property
    def reason(self) -> str:
        """What is proposed and why, or why nothing is."""
        winner, shown, gain = self.winner, self._shown, self.gain
        if self.interrupted:
            return "Nothing is proposed, because the measuring was ended early."
        if winner is not None and gain is not None:
            return f"With {winner.label}: {_gain_text(gain)}."
        if advice := self._advice():
            return f"{_KEPT}: {advice}."
        if shown is not None and (failure := self._tried(shown).error):
            return f"{_KEPT}: with {shown.label}, the engine failed: {failure}."
        if shown is not None and gain is not None:
            none = f"{_KEPT}: there is no evidence of a gain worth a change"
            return f"{none}. With {shown.label}: {_gain_text(gain)}."
        if shown is not None:
            return f"{_KEPT}: {shown.label} could not be measured to the end."
        if self.trials.figure(self.trials.contestant({})) is None:
            return f"{_KEPT}: the {self.budget:g} s were used up before anything was measured."
        return f"{_KEPT}: nothing else could be tried."

    def _advice(self) -> str:
        """How much time there should be; empty if there was enough to confirm something."""
        confirmation = self.confirmation
        if confirmation is None:
            if not self.ran_out or not self.trials.expected:
                return ""
            finalists, round_seconds = 2, self.trials.expected
        else:
            finalists = len(confirmation.finalists)
            results = [result for one in confirmation.finalists if (result := confirmation.result(one))]
            rounds = min((len(result.rounds) for result in results), default=0)
            if rounds >= rounds_for_evidence(finalists - 1) or any(result.error for result in results):
                return ""
            taken = [record.seconds for result in results for record in result.rounds]
            round_seconds = statistics.median(taken) if taken else self.trials.expected
        needed = finalists * rounds_for_evidence(finalists - 1) * round_seconds / CONFIRMING_SHARE
        seconds = 10 * math.ceil(max(needed, 1.5 * self.budget) / 10)
        return (
            f"the {self.budget:g} s were too few to confirm anything, because a round takes "
            f"{round_seconds:.1f} s here. Try a budget of {seconds} s"
        )

    def changes(self, runtime: Runtime) -> tuple[SettingChange, ...]:
        """The settings that the winner would change; none without a winner.

        Args:
            runtime: Its settings are those in force.
        """
        from modelplug.history.wizard import SettingChange

        winner = self.winner
        if winner is None:
            return ()
        keys = {f"backends.{self.base.backend}.{name}": value for name, value in winner.settings.items()}
        return tuple(
            SettingChange(key=key, old=runtime.config.get(key), new=value, reason=self.reason)
            for key, value in keys.items()
        )

    @property
    def tried(self) -> tuple[TriedSettings, ...]:
        """Everything that was measured, in that order."""
        return tuple(map(self._tried, self.trials.contestants))

    def _tried(self, contestant: Contestant) -> TriedSettings:
        confirmation, error = self.confirmation, contestant.collected.error
        result = confirmation.result(contestant) if confirmation is not None else None
        failure = str(error) if error is not None else ""
        if not failure and result is not None and result.error is not None:
            failure = ": ".join(str(result.error[part]) for part in ("what", "why") if result.error.get(part))
        return TriedSettings(
            settings=contestant.settings,
            label=contestant.label,
            rounds=len(contestant.collected.rounds) + (len(result.rounds) if result is not None else 0),
            searched=self.trials.figure(contestant),
            confirmed=confirmation.metric(contestant) if confirmation is not None else None,
            error=failure,
        )


def _gain_text(gain: MetricComparison) -> str:
    from modelplug.benchmark.reports.wording import value_text

    base, new = value_text(gain.base, gain.unit), value_text(gain.new, gain.unit)
    interval = ""
    if math.isfinite(gain.low) and gain.confidence > 0:
        sure = f"{100 * min(gain.confidence, 0.95):.0f} %"
        interval = f", {gain.low:+.1f} to {gain.high:+.1f} % with a confidence of {sure}"
    return f"{gain.label.lower()} goes from {base} to {new} ({gain.change:+.1f} %{interval})"
