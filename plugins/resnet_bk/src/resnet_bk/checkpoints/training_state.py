"""Where a training run stands and how it has been doing: the content of `training_state.json`."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["TrainingState"]


@attrs.define(kw_only=True)
class TrainingState:
    """Where a training run stands, and what was seen on the way.

    Attributes:
        epoch: Passes over the data that were finished.
        step: Updates of the parameters so far.
        epsilon: The model's epsilon; None if it has none.
        best_ppl: The lowest validation perplexity; None before the first evaluation.
        schatten_norms: Recent Schatten norms, where the model measures them.
        condition_numbers: Recent condition numbers, where the model measures them.
        gradient_norms: Recent norms of the gradient, oldest first.
        routing_entropy: Recent entropies of the router in nats, where there is one.
        expert_usage: The share of tokens each expert got, where there are experts.
        nan_count: Steps whose loss or gradient was not finite.
        oom_count: Steps that ran out of memory.
        last_stable_checkpoint: The name of the last checkpoint written while nothing was wrong.
        rng: States of the random number generators, one entry for each process.
        extras: Further entries of the file, kept as they were.
    """

    epoch: int = 0
    step: int = 0
    epsilon: float | None = None
    best_ppl: float | None = None
    schatten_norms: list[float] = attrs.field(factory=list)
    condition_numbers: list[float] = attrs.field(factory=list)
    gradient_norms: list[float] = attrs.field(factory=list)
    routing_entropy: list[float] = attrs.field(factory=list)
    expert_usage: list[float] = attrs.field(factory=list)
    nan_count: int = 0
    oom_count: int = 0
    last_stable_checkpoint: str | None = None
    rng: list[dict[str, Any]] = attrs.field(factory=list)
    extras: dict[str, Any] = attrs.field(factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Everything as data for JSON; the extras stand beside the known entries."""
        known = {field.name: getattr(self, field.name) for field in attrs.fields(TrainingState)}
        extras = known.pop("extras")
        return {**known, **{key: value for key, value in extras.items() if key not in known}}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainingState:
        """The record that `to_dict` turned into data; unknown entries are kept as extras."""
        names = {field.name for field in attrs.fields(cls)} - {"extras"}
        known = {key: value for key, value in data.items() if key in names}
        return cls(**known, extras={key: value for key, value in data.items() if key not in names})
