"""The monitors as callbacks of the transformers Trainer."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from modelplug.logs import get_logger
from resnet_bk.training.monitors import Alert, GradientStabilityMonitor, LossSpikeMonitor

__all__ = ["GradientStabilityCallback", "LossSpikeCallback"]


class _MonitorCallback(TrainerCallback):  # type: ignore[misc]
    """Feeds one entry of the logs to a monitor.

    Args:
        monitor: The monitor.
        stop: Whether training stops at the first alert.

    Attributes:
        alerts: Everything that was wrong, in order.
    """

    entry = ""

    def __init__(self, monitor: Any, *, stop: bool = False) -> None:
        self.monitor = monitor
        self.stop = stop
        self.alerts: list[Alert] = []

    def on_log(
        self,
        args: Any,  # noqa: ARG002  the Trainer passes it
        state: Any,
        control: Any,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> Any:
        """Take in what the Trainer logs."""
        value = (logs or {}).get(self.entry)
        if value is None:
            return control
        alert = self.monitor.observe(state.global_step, float(value))
        if alert is not None:
            self.alerts.append(alert)
            get_logger("resnet_bk.training").warning(alert.message, step=alert.step, kind=alert.kind)
            control.should_training_stop = control.should_training_stop or self.stop
        return control


class GradientStabilityCallback(_MonitorCallback):
    """Tells when the norm of the gradient is far above its running median.

    Args:
        monitor: What watches; None makes one with the usual limits.
        stop: Whether training stops at the first alert.

    Attributes:
        alerts: Everything that was wrong, in order.
    """

    entry = "grad_norm"

    def __init__(self, monitor: GradientStabilityMonitor | None = None, *, stop: bool = False) -> None:
        super().__init__(monitor or GradientStabilityMonitor(), stop=stop)


class LossSpikeCallback(_MonitorCallback):
    """Tells when the loss has risen within a window of steps.

    Args:
        monitor: What watches; None makes one with the usual limits.
        stop: Whether training stops at the first alert.

    Attributes:
        alerts: Everything that was wrong, in order.
    """

    entry = "loss"

    def __init__(self, monitor: LossSpikeMonitor | None = None, *, stop: bool = False) -> None:
        super().__init__(monitor or LossSpikeMonitor(), stop=stop)
