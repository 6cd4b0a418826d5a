"""The records of a test: how each model did with each engine, and whether the engines agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.benchmark.comparison import finite_or_none
from modelplug.benchmark.sanity import FAILED
from modelplug.errors import ModelplugError

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.benchmark.answers import Answer
    from modelplug.benchmark.parity import Parity
    from modelplug.benchmark.sanity import Check

__all__ = ["SCHEMA", "SCHEMA_VERSION", "ModelTestReport", "ModelTestResult"]

SCHEMA = "modelplug-test"
SCHEMA_VERSION = 1


@attrs.frozen(kw_only=True)
class ModelTestResult:
    """How one model did with one engine.

    Attributes:
        success: Whether it was loaded, answered, and no check failed. Whether other engines say the same is
            another question: see `Parity`.
        backend: The engine; empty if none suits the model, or there is no model.
        tokens_per_second: The median over a few short requests, not a benchmark; NaN, which prints as `nan`,
            where nothing was generated: nothing is made up for it.
        error: What went wrong; empty on success.
        suggestion: What to do about it; empty on success.
        model: What the model is called: its registered name, or what was typed.
        path: Where it lies; what was typed, where nothing does.
        label: Model and engine, as tables call them.
        fingerprint: Hash of the model's content; empty if it could not be inspected.
        engine_version: The engine's version.
        device: Where it ran: `cpu` or a `Device.id`; empty if it was never loaded.
        load_seconds: From the request to load until it was ready; NaN if it never was.
        memory_bytes: Memory of the engine's process after loading, main and device; 0 if it never loaded.
        seconds: How long the test took.
        checks: The outcome of every check.
        remarks: What else to know, in sentences.
        failure: The error, with everything it knows; None on success.
        answers: The greedy answers, one for each prompt.
        files: The model's weight files.
    """

    success: bool
    backend: str
    tokens_per_second: float = math.nan
    error: str = ""
    suggestion: str = ""
    model: str = ""
    path: str = ""
    label: str = ""
    fingerprint: str = ""
    engine_version: str = ""
    device: str = ""
    load_seconds: float = math.nan
    memory_bytes: int = 0
    seconds: float = 0.0
    checks: tuple[Check, ...] = ()
    remarks: tuple[str, ...] = ()
    failure: ModelplugError | None = None
    answers: tuple[Answer, ...] = attrs.field(default=(), repr=False)
    files: tuple[Path, ...] = attrs.field(default=(), repr=False)

    @property
    def performance(self) -> float:
        """Tokens per second, to order engines by: minus infinity if it failed, 0 if its speed is unknown."""
        if not self.success:
            return -math.inf
        return self.tokens_per_second if math.isfinite(self.tokens_per_second) else 0.0

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome == FAILED)


@attrs.frozen(kw_only=True)
class ModelTestReport:
    """One test of models, with everything that was found.

    Attributes:
        results: Each model with each engine, in the order of testing.
        parities: Whether the engines agree, for each content that was tested more than once.
        untested: The labels of those that were not tested any more, because the user ended the test.
        interrupted: Whether the user ended it early.
        created: When it began, as ISO 8601 in UTC.
        seconds: How long it took.
    """

    results: tuple[ModelTestResult, ...]
    parities: tuple[Parity, ...] = ()
    untested: tuple[str, ...] = ()
    interrupted: bool = False
    created: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> tuple[ModelTestResult, ...]:
        """The results that are no success."""
        return tuple(result for result in self.results if not result.success)

    @property
    def disagreements(self) -> tuple[Parity, ...]:
        """Where engines disagree by more than different rounding explains."""
        return tuple(parity for parity in self.parities if parity.outcome == "different")

    @property
    def success(self) -> bool:
        """Whether everything was tested, nothing failed, and no engine disagrees with another."""
        return not (self.failed or self.disagreements or self.interrupted)

    def to_dict(self) -> dict[str, Any]:
        """All but answers and files as plain data that `json.dumps` accepts; what is unknown is None."""

        def plain(_instance: object, _attribute: object, value: object) -> object:
            if isinstance(value, float):
                return finite_or_none(value)
            if isinstance(value, ModelplugError):
                return value.to_dict()
            return list(value) if isinstance(value, tuple) else value

        def wanted(attribute: attrs.Attribute[Any], _value: object) -> bool:
            return attribute.name not in ("answers", "files")

        document = attrs.asdict(self, value_serializer=plain, filter=wanted)
        return {"schema": SCHEMA, "version": SCHEMA_VERSION, "success": self.success, **document}
