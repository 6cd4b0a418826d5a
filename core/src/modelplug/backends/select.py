"""Chooses the backend for a model from evidence, and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.compatibility import as_standalone, incompatibility, unusable
from modelplug.backends.estimate import estimate_plan, machine_of
from modelplug.backends.plans import make_plans
from modelplug.backends.ranking import CPU_ONLY, Preference, placement, rank
from modelplug.backends.refusal import refusal
from modelplug.backends.resources import default_threads
from modelplug.backends.types import BackendState, Candidate, Estimate, LoadPlan, Recommendation
from modelplug.backends.wishes import Wishes, demand_of, unmet_wish
from modelplug.errors import ConfigError, ModelplugError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modelplug.backends.types import BackendReport
    from modelplug.errors import DoesNotFitError, NothingSuitableError
    from modelplug.formats.model_info import ModelInfo
    from modelplug.runtime import Runtime

__all__ = ["BackendSelector"]


class BackendSelector:
    """Chooses backends, for a model or in general.

    Args:
        runtime: Plugins, settings, history and system to use; None makes a runtime of its own.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime as NewRuntime

            runtime = NewRuntime()
        self._runtime = runtime
        self._measured_bandwidth: float | None = None

    def get_recommendation(
        self,
        path: str | Path | ModelInfo | None = None,
        *,
        backend: str | None = None,
        gpu_layers: int | None = None,
        context_size: int | None = None,
        threads: int | None = None,
        batch_size: int | None = None,
        settings: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> Recommendation:
        """Say which backend to use, with which settings, and why.

        Args:
            path: The model: a path, `demo`, a registered name, or what inspection returned. None asks for the
                best backend of this machine in general.
            backend: Consider this one only.
            gpu_layers: Layers on the GPU: -1 all, 0 none, None as many as fit.
            context_size: Tokens the context must hold.
            threads: CPU threads.
            batch_size: Prompt tokens at once.
            settings: Further settings of the backend.
            force: Whether to plan even what does not fit into memory.

        Returns:
            The recommendation. Where nothing is suitable, its `backend` is empty, and `reason` and
            `candidates` say why; `select` raises instead.

        Raises:
            ModelFileError: The model can't be read.
            UsageError: The backend is unknown, or a number makes no sense.
        """
        wishes = Wishes.of(
            settings=settings,
            backend=backend,
            gpu_layers=gpu_layers,
            context_size=context_size,
            threads=threads,
            batch_size=batch_size,
            force=force,
        )
        if path is None:
            return self._recommend(None, wishes)
        info = self._inspected(path)
        recommendation = self._recommend(info, wishes)
        if self._bandwidth is None and any(_on_cpu_unestimated(c) for c in recommendation.candidates):
            self._measure_bandwidth()
            recommendation = self._recommend(info, wishes)
        return recommendation

    def select(self, info: ModelInfo, wishes: Wishes | None = None, **given: Any) -> Recommendation:
        """Choose as `get_recommendation` does, and fail if there is nothing to choose.

        Args:
            info: What inspection returned.
            wishes: What the caller asks for.
            given: The same as keywords of `get_recommendation`, where `wishes` is None.

        Raises:
            NothingSuitableError: No installed and healthy backend can run the model as asked.
            DoesNotFitError: One could if there were more memory.
            UsageError: The backend is unknown, or a number makes no sense.
        """
        wishes = wishes or Wishes.of(**given)
        recommendation = self._recommend(info, wishes)
        if not recommendation.backend:
            raise refusal(info, recommendation, self._runtime.backends.reports(), wishes)
        return recommendation

    def failure(
        self, info: ModelInfo | None, recommendation: Recommendation, **given: Any
    ) -> NothingSuitableError | DoesNotFitError:
        """The error that `select` raises for a recommendation of nothing.

        Args:
            info: The model, or None.
            recommendation: What `get_recommendation` returned.
            given: What it was given.
        """
        reports = self._runtime.backends.reports()
        return refusal(info, recommendation, reports, Wishes.of(**given))

    def candidates(
        self, info: ModelInfo | None, wishes: Wishes | None = None, **given: Any
    ) -> tuple[Candidate, ...]:
        """Judge every backend, best first; those that are not suitable come last, with the reason.

        Args:
            info: What inspection returned; None judges without a model.
            wishes: What the caller asks for.
            given: The same as keywords of `get_recommendation`, where `wishes` is None.
        """
        wishes = wishes or Wishes.of(**given)
        reports = self._runtime.backends.reports()
        if wishes.backend is not None:
            reports = {wishes.backend: _named(wishes.backend, reports)}
        # Only engines that come into question are worth the seconds that asking them may take.
        eligible = {name for name, report in reports.items() if not _ruled_out(report, info)}
        informed = self._runtime.backends.informed_reports(eligible)
        reports = {name: informed[name] for name in reports}
        judged = [self._judge(report, info, wishes) for report in reports.values()]
        return rank(judged, reports, self._preference(info))

    # Judging

    def _inspected(self, model: str | Path | ModelInfo) -> ModelInfo:
        from modelplug.backends.inspection import inspected
        from modelplug.formats.model_info import ModelInfo as Inspected

        return model if isinstance(model, Inspected) else inspected(model, self._runtime)

    @property
    def _bandwidth(self) -> float | None:
        return self._runtime.system.memory.bandwidth or self._measured_bandwidth

    def _measure_bandwidth(self) -> None:
        """Measure the memory's bandwidth, which takes a second once per machine: a prediction rests on it."""
        from modelplug.system import bandwidth

        system = self._runtime.system
        try:
            measured = bandwidth.measure(system.cpu, system.memory)
        except ModelplugError:
            # It can't be measured here: the estimate then says that nothing is known.
            return
        self._measured_bandwidth = measured.bytes_per_second
        file = self._runtime.paths.cache / bandwidth.default_cache_file().name
        try:
            bandwidth.store(file, bandwidth.cache_key(system.cpu, system.memory), measured)
        except OSError:
            # The next run measures again, and `doctor` reports the directory.
            return

    def _preference(self, info: ModelInfo | None) -> Preference:
        settings = self._runtime.config.effective
        return Preference.from_settings(settings, info.format if info is not None else None)

    def _judge(self, report: BackendReport, info: ModelInfo | None, wishes: Wishes) -> Candidate:
        def no(reason: str) -> Candidate:
            return Candidate(backend=report.name, suitable=False, reason=reason)

        against = _ruled_out(report, info)
        if against:
            return no(against)
        if info is not None:
            report = as_standalone(report, info)
        try:
            demand = demand_of(report, wishes, self._runtime)
        except ConfigError as error:
            return no(f"{error} (try: {error.advice})")
        if not demand.enabled and wishes.backend is None:
            switch = f"modelplug config set backends.{report.name}.enabled true"
            return no(f"switched off in the settings (`{switch}` switches it on)")
        unmet = unmet_wish(report, wishes, self._runtime)
        if unmet:
            return no(unmet)
        if info is None:
            return Candidate(backend=report.name, suitable=True, reason=_general_reason(report))
        try:
            made = make_plans(info, report, demand, self._runtime.system, force=wishes.force)
        except UsageError as error:
            # This call's own numbers were checked before: it is one of the settings that makes no sense.
            return no(f"a setting of backends.{report.name} makes no sense: {error}")
        if not made.plans:
            return attrs.evolve(no(made.reason), needed=made.needed, available=made.available)
        estimate = estimate_plan(
            info,
            report,
            made.plans[0],
            self._runtime.history,
            bandwidth=self._bandwidth,
            context_bytes=made.context_bytes,
            machine=machine_of(self._runtime),
        )
        return Candidate(
            backend=report.name, suitable=True, reason=made.reason, plans=made.plans, estimate=estimate
        )

    # Choosing

    def _recommend(self, info: ModelInfo | None, wishes: Wishes) -> Recommendation:
        candidates = self.candidates(info, wishes)
        suitable = [candidate for candidate in candidates if candidate.suitable]
        if not suitable:
            reason = "nothing is suitable: " + "; ".join(f"{c.backend}: {c.reason}" for c in candidates)
            return Recommendation(
                backend="",
                reason=reason,
                performance_estimate="unknown: nothing here can run it",
                candidates=candidates,
            )
        chosen = suitable[0]
        plans = tuple(plan for candidate in suitable for plan in candidate.plans)
        return Recommendation(
            backend=chosen.backend,
            reason=self._reason(chosen, candidates, info, wishes),
            settings=self._settings(chosen, wishes),
            performance_estimate=self._estimate(chosen, info),
            plans=plans,
            candidates=candidates,
        )

    def _reason(
        self, chosen: Candidate, verdicts: tuple[Candidate, ...], info: ModelInfo | None, wishes: Wishes
    ) -> str:
        preference = self._preference(info)
        if wishes.backend is not None:
            why = "it was asked for"
        elif chosen.backend == preference.preferred:
            why = "it is the preferred backend in the settings"
        elif preference.named(chosen.backend):
            why = "it comes first in the settings' fallback_order"
        elif sum(candidate.suitable for candidate in verdicts) == 1:
            why = "it is the only suitable backend"
        elif chosen.estimate is not None and chosen.estimate.basis == "measured":
            why = "it ran this model here before, and nothing suitable was measured to be clearly faster"
        elif info is None:
            why = "it has the highest priority among the backends that work here"
        else:
            why = "it places the model best and has the highest priority among the suitable backends"
        return f"{why}; {chosen.reason}{_passed_over(preference.preferred, chosen, verdicts, wishes)}"

    def _settings(self, chosen: Candidate, wishes: Wishes) -> dict[str, Any]:
        if chosen.plans:
            return plan_settings(chosen.plans[0])
        report = self._runtime.backends.reports()[chosen.backend]
        demand = demand_of(report, wishes, self._runtime)
        settings = dict(demand.settings)
        settings["threads"] = demand.threads or default_threads(self._runtime.system)
        if report.state is BackendState.GPU and demand.gpu_layers is None:
            settings["gpu_layers"] = None
        return settings

    def _estimate(self, chosen: Candidate, info: ModelInfo | None) -> Estimate | str:
        if chosen.estimate is not None:
            return chosen.estimate
        bandwidth = self._bandwidth
        if info is None:
            if bandwidth is None:
                return "unknown: no model was given and nothing was measured"
            return (
                f"depends on the model: on the CPU at most {bandwidth / 1e9:.3g} tokens/s divided by its "
                "size in GB (predicted from measured memory bandwidth)"
            )
        if chosen.plans and chosen.plans[0].gpu_layers != 0:
            return "unknown: this model has not run on this GPU yet"
        return "unknown: this model has not run here yet and the memory bandwidth was not measured"


def plan_settings(plan: LoadPlan) -> dict[str, Any]:
    """The settings of a plan as one mapping: the backend's own, and where and how large it runs."""
    return {
        **plan.settings,
        "device": plan.device,
        "gpu_layers": plan.gpu_layers,
        "context_size": plan.context_size,
        "threads": plan.threads,
    }


def _named(backend: str, reports: Mapping[str, BackendReport]) -> BackendReport:
    if backend in reports:
        return reports[backend]
    import difflib

    near = difflib.get_close_matches(backend, reports, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UsageError(
        f"there is no backend named {backend!r}",
        why=f"the known ones are {', '.join(sorted(reports))}",
        advice=f"Run `modelplug backends` to see them.{hint}",
    )


def _on_cpu_unestimated(candidate: Candidate) -> bool:
    return candidate.suitable and candidate.estimate is None and placement(candidate) == CPU_ONLY


def _passed_over(
    preferred: str | None, chosen: Candidate, verdicts: tuple[Candidate, ...], wishes: Wishes
) -> str:
    """Why the preferred backend was not chosen, to put behind the reason; empty if it was."""
    if not preferred or wishes.backend is not None or chosen.backend == preferred:
        return ""
    reasons = {candidate.backend: candidate.reason for candidate in verdicts}
    against = reasons.get(preferred, "there is no such backend")
    return f". The preferred backend {preferred} is passed over: {against}"


def _ruled_out(report: BackendReport, info: ModelInfo | None) -> str:
    """Why a backend can't do it whatever is asked for; empty if it can."""
    return unusable(report) if info is None else incompatibility(report, info)


def _general_reason(report: BackendReport) -> str:
    named = " ".join(part for part in (report.engine, report.version) if part)
    if report.state is BackendState.GPU:
        return f"{named} works, on {', '.join(report.devices) or 'a GPU'}"
    return f"{named} works on the CPU" + (f" ({report.cause})" if report.cause else "")
