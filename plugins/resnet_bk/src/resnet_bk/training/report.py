"""Says what was seen when and what was tried, after training failed for good."""

from __future__ import annotations

import datetime
import json
import platform
from pathlib import Path
from typing import Any

import torch

from modelplug.atomic import write_atomically
from resnet_bk._version import __version__
from resnet_bk.training.recovery import OUT_OF_MEMORY, Failure, RecoveryState

__all__ = ["advice_for", "write_report"]

_ADVICE = {
    "non-finite-loss": "Look for broken data around that step; train in float32 (precision); lower the rate.",
    "non-finite-gradient": "Train in float32 (precision); lower the learning rate or the gradient clip.",
    "gradient-explosion": "Lower the learning rate, lengthen the warm-up, or raise recovery.gradient_factor.",
    "loss-divergence": "Lower the learning rate, lengthen the warm-up, or raise recovery.loss_rise.",
    OUT_OF_MEMORY: "Raise the accumulation, shorten the sequences, or use more processes with FSDP2.",
}


def advice_for(kind: str) -> str:
    """What to change after a failure of a kind."""
    return _ADVICE.get(kind, "See the report.")


def write_report(
    folder: Path,
    *,
    failure: Failure,
    verdict: str,
    state: RecoveryState,
    config: dict[str, Any],
    recent: dict[str, Any],
    checkpoint: Path | None,
) -> Path:
    """Write `failure-report.json`, and the same as text for people.

    Args:
        folder: Where to.
        failure: The last failure.
        verdict: Why it was the last.
        state: Everything that happened before, and what was changed.
        config: The settings of the run.
        recent: The last losses, norms and the like.
        checkpoint: The last checkpoint that is good.

    Returns:
        The text file.
    """
    content = {
        "written": datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "kind": failure.kind,
        "step": failure.step,
        "message": failure.message,
        "verdict": verdict,
        "advice": advice_for(failure.kind),
        "last_good_checkpoint": None if checkpoint is None else str(checkpoint),
        "failures": state.history,
        "changed": {
            "learning_rate_scale": state.learning_rate_scale,
            "epsilon": state.epsilon,
            "accumulation": state.accumulation,
        },
        "counts": {"not_finite": state.nan_count, "out_of_memory": state.oom_count},
        "recent": recent,
        "config": config,
        "environment": {
            "modelplug-resnet-bk": __version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "platform": platform.platform(),
            "threads": torch.get_num_threads(),
        },
    }
    write_atomically(folder / "failure-report.json", json.dumps(_plain(content), indent=1) + "\n")
    text = folder / "failure-report.txt"
    write_atomically(text, _as_text(content))
    return text


def _plain(value: Any) -> Any:
    """The value with numbers that JSON lacks written as text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value


def _as_text(content: dict[str, Any]) -> str:
    lines = [
        f"Training stopped at step {content['step']}: {content['message']}.",
        f"It was given up because {content['verdict']}.",
        "",
        "What was seen, and what was done about it:",
    ]
    for number, entry in enumerate(content["failures"], 1):
        place = "" if entry.get("rolled_back_to") is None else f", from step {entry['rolled_back_to']} on"
        lines.append(f"  {number}. step {entry['step']}: {entry['message']} ({entry['kind']})")
        lines.append(f"     {entry['done']}{place if entry['remedy'] else ''}")
    changed = content["changed"]
    epsilon = "unchanged" if changed["epsilon"] is None else changed["epsilon"]
    lines += [
        "",
        f"The learning rate at the end: x {changed['learning_rate_scale']:g}. The epsilon: {epsilon}.",
        f"Each batch in {changed['accumulation']} part(s).",
        f"The last good checkpoint: {content['last_good_checkpoint'] or 'there is none'}.",
        f"Advice: {content['advice']}",
        "",
        "Losses of the last steps: " + _numbers(content["recent"].get("losses", [])),
        "Gradient norms of the last steps: " + _numbers(content["recent"].get("gradient_norms", [])),
        "",
    ]
    return "\n".join(lines)


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values[-20:]) or "none"
