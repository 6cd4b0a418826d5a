"""Turns the way models are used into a proposal for the settings, and applies it when that is wanted."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.history.insights import Evidence, find_insights
from modelplug.history.insights.evidence import numbers

if TYPE_CHECKING:
    from modelplug.history.insights import Suggestion
    from modelplug.runtime import Runtime

__all__ = ["AppliedChanges", "OptimizationWizard", "SettingChange", "UsagePatterns", "UsageRecommendations"]

ENOUGH_RUNS = 10
MAIN_MODEL_SHARE = 0.5


@attrs.frozen(kw_only=True)
class UsagePatterns:
    """How models are used here.

    Attributes:
        runs: Runs that were looked at.
        since: When the oldest of them was recorded; empty if there is none.
        models: Model -> its runs, the one used most first.
        backends: Backend -> its runs, the one used most first.
        prompt_tokens: Median tokens of a prompt; None without any.
        longest: Most tokens that a prompt and its answer took together; None without any.
        completion_tokens: Median tokens of an answer; None without any.
        failures: Failures that were looked at.
    """

    runs: int
    since: str = ""
    models: dict[str, int] = attrs.field(factory=dict)
    backends: dict[str, int] = attrs.field(factory=dict)
    prompt_tokens: float | None = None
    longest: int | None = None
    completion_tokens: float | None = None
    failures: int = 0


@attrs.frozen(kw_only=True)
class SettingChange:
    """One setting that would change.

    Attributes:
        key: Its dotted key.
        old: Its value in force.
        new: The value proposed.
        reason: Why.
        runs: The numbers of the runs behind it.
        failures: The numbers of the failures behind it.
        overridden: The environment variable or option that would override the file; empty if none does.
    """

    key: str
    old: Any
    new: Any
    reason: str
    runs: tuple[int, ...] = ()
    failures: tuple[int, ...] = ()
    overridden: str = ""

    def __str__(self) -> str:
        parts = [("runs", self.runs), ("failures", self.failures)]
        evidence = "; ".join(f"{what} {numbers(which)}" for what, which in parts if which)
        change = f"{self.key}: {json.dumps(self.old)} -> {json.dumps(self.new)}: {self.reason}"
        return f"{change} ({evidence})" if evidence else change


@attrs.frozen(kw_only=True)
class UsageRecommendations:
    """What the wizard proposes.

    Attributes:
        patterns: How models are used here.
        changes: The settings that would change; nothing is changed before `apply_recommendations`.
        suggestions: Everything else that was found, which no setting can change.
    """

    patterns: UsagePatterns
    changes: tuple[SettingChange, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()


@attrs.frozen(kw_only=True)
class AppliedChanges:
    """What was changed.

    Attributes:
        changes: The settings that were changed, in order.
        undo: What to type to have each as it was before.
    """

    changes: tuple[SettingChange, ...]
    undo: tuple[str, ...]


class OptimizationWizard:
    """Proposes settings from how models are used here.

    Args:
        runtime: Settings and history to use; None makes a runtime of its own.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime as NewRuntime

            runtime = NewRuntime()
        self._runtime = runtime

    def analyze_usage_patterns(self) -> UsageRecommendations:
        """What the history says of how models are used, and what to change; changes nothing.

        Raises:
            ConfigError: The settings in force are not valid.
        """
        evidence = Evidence.of(self._runtime.history)
        insights = find_insights(self._runtime.history)
        proposed = [change for one in insights.suggestions for change in self._changes(one)]
        proposed += self._default_model(evidence)
        # Of two proposals for one setting, the more pressing one counts.
        changes = {change.key: change for change in reversed(proposed)}
        return UsageRecommendations(
            patterns=_patterns(evidence),
            changes=tuple(reversed(changes.values())),
            suggestions=tuple(one for one in insights.suggestions if not one.changes),
        )

    def apply_recommendations(self, recommendations: UsageRecommendations) -> AppliedChanges:
        """Write the proposed changes into the settings file, all of them or none.

        Args:
            recommendations: What `analyze_usage_patterns` returned, or a part of it.

        Raises:
            ConfigError: A value is not allowed any more, or the file can't be written; it is as it was.
        """
        config = self._runtime.config
        undo = []
        try:
            for change in recommendations.changes:
                origin = config.origin(change.key)
                if origin.layer == "file":
                    undo.append(f"modelplug config set {change.key} '{json.dumps(change.old)}'")
                else:
                    undo.append(f"modelplug config unset {change.key}")
                config.set(change.key, change.new)
        except BaseException:
            config.load()
            raise
        if recommendations.changes:
            config.save()
        return AppliedChanges(changes=recommendations.changes, undo=tuple(undo))

    def _changes(self, suggestion: Suggestion) -> list[SettingChange]:
        return [
            change
            for key, value in suggestion.changes.items()
            if (change := self._change(key, value, suggestion.text, suggestion.runs, suggestion.failures))
        ]

    def _change(
        self, key: str, new: Any, reason: str, runs: tuple[int, ...], failures: tuple[int, ...] = ()
    ) -> SettingChange | None:
        config = self._runtime.config
        old = config.get(key)
        if old == new:
            return None
        origin = config.origin(key)
        overridden = str(origin) if origin.layer in ("environment", "command line") else ""
        return SettingChange(
            key=key, old=old, new=new, reason=reason, runs=runs, failures=failures, overridden=overridden
        )

    def _default_model(self, evidence: Evidence) -> list[SettingChange]:
        """The model that most runs were made with, for `chat` without a model."""
        runs = [run for run in evidence.used if run.success]
        if len(runs) < ENOUGH_RUNS or self._runtime.config.get("model_path"):
            return []
        fingerprint, count = Counter(run.fingerprint for run in runs).most_common(1)[0]
        named = [m.name for m in self._runtime.history.models() if m.fingerprint == fingerprint]
        seen = evidence.seen.get(fingerprint)
        model = named[0] if named else str(seen.path) if seen is not None and seen.path.exists() else ""
        if not model or count < MAIN_MODEL_SHARE * len(runs):
            return []
        reason = f"{count} of {len(runs)} runs were made with it, and none is set for `modelplug chat`."
        ids = tuple(run.id for run in runs if run.fingerprint == fingerprint)
        change = self._change("model_path", model, reason, ids)
        return [change] if change is not None else []


def _patterns(evidence: Evidence) -> UsagePatterns:
    runs = [run for run in evidence.used if run.success]
    prompts = [run.prompt_tokens for run in runs if run.prompt_tokens is not None]
    answers = [run.completion_tokens for run in runs if run.completion_tokens is not None]
    lengths = [(run.prompt_tokens or 0) + (run.completion_tokens or 0) for run in runs]
    models = Counter(evidence.name(run.fingerprint) for run in evidence.used)
    backends = Counter(run.backend for run in evidence.used)
    return UsagePatterns(
        runs=len(evidence.used),
        since=evidence.used[-1].time if evidence.used else "",
        models=dict(models.most_common()),
        backends=dict(backends.most_common()),
        prompt_tokens=statistics.median(prompts) if prompts else None,
        longest=max(lengths, default=None),
        completion_tokens=statistics.median(answers) if answers else None,
        failures=len(evidence.failures),
    )
