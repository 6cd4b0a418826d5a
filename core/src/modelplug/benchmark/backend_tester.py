"""`BackendTester`: tries every backend out on one model, as the migration guide has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from modelplug.benchmark.candidates import ALL_BACKENDS
from modelplug.benchmark.model_tester import DEADLINE_SECONDS, TOKENS, ModelTester
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelplug.benchmark.model_tester import ModelProgress
    from modelplug.benchmark.tested import ModelTestReport, ModelTestResult
    from modelplug.runtime import Runtime

__all__ = ["BackendTester"]


class BackendTester:
    """Runs one model with every backend that suits it, and says how fast each is and whether they agree.

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

    def benchmark_all_backends(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        tokens: int = TOKENS,
        deadline: float = DEADLINE_SECONDS,
        settings: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> dict[str, ModelTestResult]:
        """Test every backend that suits a model, and measure its speed over a few short requests.

        Args:
            model: A path, `demo`, or a registered name; None takes the settings' `model_path`, else the
                registered model that was run or added last, else `demo`.
            tokens: Tokens of each answer.
            deadline: Seconds for each backend, loading included.
            settings: Settings for all of them.
            force: Whether to try even what does not fit into memory by estimate.

        Returns:
            Backend -> how it went. `.performance` orders them: tokens per second, and minus infinity for a
            backend that failed, so that it is never the best. At least one of them is a success.

        Raises:
            ModelplugError: There is no such model, it can't be used, or every backend failed with it.
            KeyboardInterrupt: The user ended it; the attribute `report` has everything until then.
        """
        tester = ModelTester(self._runtime, on_progress=self._on_progress)
        chosen = self._usual_model() if model is None else model
        try:
            report = tester.run(
                [chosen],
                backends=[ALL_BACKENDS],
                tokens=tokens,
                deadline=deadline,
                settings=settings,
                force=force,
            )
        finally:
            self.report = tester.report
        if all(not result.success for result in report.results):
            raise _nothing_works(report)
        return {result.backend: result for result in report.results}

    def _usual_model(self) -> str:
        from modelplug.data import DEMO

        configured = self._runtime.config.settings.model_path
        if configured:
            return str(configured)
        seen = self._runtime.history.seen()
        moments = {
            str(model.path): seen[model.fingerprint].last_seen
            if model.fingerprint in seen
            else model.last_seen
            for model in self._runtime.history.models()
            if model.path.exists()
        }
        return max(moments, key=moments.__getitem__) if moments else DEMO


def _nothing_works(report: ModelTestReport) -> ModelplugError:
    """The error to end with if no backend could run the model."""
    first = report.results[0]
    if len(report.results) == 1 and first.failure is not None:
        return first.failure
    return ModelplugError(
        f"no backend passes the test with {first.model}",
        why="; ".join(f"{result.backend}: {result.error}" for result in report.results),
        advice=first.suggestion,
    )
