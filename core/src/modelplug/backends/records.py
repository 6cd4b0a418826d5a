"""Remembers what runs took, so that the next choice of an engine rests on measurements."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelplug.backends.cooldown import Cooldown
    from modelplug.backends.model import GenerationStats
    from modelplug.backends.types import LoadPlan, LoadResult
    from modelplug.errors import ModelplugError
    from modelplug.formats.model_info import ModelInfo
    from modelplug.history import HistoryStore

__all__ = ["RunLog"]

BATCH = 32


class RunLog:
    """Collects the runs of one loaded model and writes them to the history in batches.

    Writing waits until the model is closed, or until some have come together: a database commit would
    delay the end of a request by milliseconds.

    Args:
        history: Where runs are kept.
        info: The model.
        plan: What was loaded.
        result: How loading went.
        cooldown: Told when the engine's process dies, and when a request has succeeded.
    """

    def __init__(
        self,
        history: HistoryStore,
        info: ModelInfo,
        plan: LoadPlan,
        result: LoadResult,
        cooldown: Cooldown | None = None,
    ) -> None:
        self._history = history
        self._info = info
        self._plan = plan
        self._result = result
        self._cooldown = cooldown
        self._lock = threading.Lock()
        self._proven = False
        self._waiting: list[tuple[str, GenerationStats | None, str]] = []

    def add(self, stats: GenerationStats) -> None:
        """Remember one finished request."""
        self._keep(stats, "")
        # Loading alone proves little: an engine may load a model well and die of its first token.
        if not self._proven and self._cooldown is not None:
            self._proven = True
            self._cooldown.worked(self._plan.backend, self._info.fingerprint)

    def failed(self, error: ModelplugError) -> None:
        """Remember that the engine failed in the middle of a request."""
        from modelplug.errors import WorkerCrashedError

        self._keep(None, str(error))
        if isinstance(error, WorkerCrashedError) and self._cooldown is not None:
            self._cooldown.crashed(self._plan.backend, self._info.fingerprint)

    def _keep(self, stats: GenerationStats | None, error: str) -> None:
        from modelplug.history.records import now

        with self._lock:
            self._waiting.append((now(), stats, error))
            full = len(self._waiting) >= BATCH
        if full:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for moment, stats, error in waiting:
            self._write(moment, stats, error)

    def _write(self, moment: str, stats: GenerationStats | None, error: str) -> None:
        from modelplug.history import RunRecord

        effective = self._result.effective
        assert effective is not None
        self._history.record_run(
            RunRecord(
                time=moment,
                fingerprint=self._info.fingerprint,
                backend=effective.backend,
                engine_version=effective.engine_version,
                device=effective.device,
                gpu_layers=effective.gpu_layers or 0,
                context_size=effective.context_size,
                threads=effective.threads,
                load_seconds=self._result.load_time,
                resident_bytes=self._result.resident_bytes,
                device_bytes=self._result.device_bytes,
                prompt_tokens=stats.prompt_tokens if stats else 0,
                completion_tokens=stats.completion_tokens if stats else 0,
                prompt_seconds=stats.prompt_seconds if stats else None,
                generate_seconds=stats.generate_seconds if stats else None,
                first_token_seconds=stats.first_token_seconds if stats else None,
                success=stats is not None,
                error=error,
                estimated_bytes=self._plan.needed,
            )
        )
