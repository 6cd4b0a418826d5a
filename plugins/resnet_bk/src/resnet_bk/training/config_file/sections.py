"""The sections of a configuration file, and what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs
from attrs import validators

from modelplug.config.structure import Problem, find_problems, nearest
from resnet_bk.configuration.checks import RENAMED
from resnet_bk.configuration.rules import CHECKS
from resnet_bk.training.config import RecoverySettings, TrainingConfig
from resnet_bk.training.errors import TrainingConfigError

__all__ = ["SECTIONS", "CheckpointSection", "DataSection", "MonitoringSection", "QuantizationSection"]

_BITS: Any = validators.optional([validators.ge(2), validators.le(32)])


@attrs.frozen(kw_only=True)
class DataSection:
    """What to train on: the arguments and options of `resnet-bk train`.

    Attributes:
        texts: Files, folders of files, saved datasets.
        validation: The same to evaluate on.
        validation_fraction: How much of the data is kept for that.
        column: The column of a dataset that holds the text.
        tokenizer: A tokenizer's file or folder.
        vocabulary: Tokens of a new tokenizer.
        dataset: What the data is called; for people.
        data_dir: Where it lies; for people.
    """

    texts: list[str] = attrs.field(factory=list)
    validation: list[str] = attrs.field(factory=list)
    validation_fraction: float = attrs.field(default=0.05, validator=[validators.ge(0), validators.le(0.9)])
    column: str = "text"
    tokenizer: str | None = None
    vocabulary: int = attrs.field(default=4096, validator=validators.ge(257))
    dataset: str | None = None
    data_dir: str | None = None


@attrs.frozen(kw_only=True)
class CheckpointSection:
    """Where a run is kept.

    Attributes:
        save_dir: The folder.
    """

    save_dir: str | None = None


@attrs.frozen(kw_only=True)
class MonitoringSection:
    """What a run is called; for people.

    Attributes:
        project_name: The project.
        experiment_name: The run.
    """

    project_name: str | None = None
    experiment_name: str | None = None


@attrs.frozen(kw_only=True)
class QuantizationSection:
    """Bits of a model that is quantized after its training.

    Attributes:
        bits: For the whole.
        experts: For the experts.
        bk_core: For the core.
        output: For the output.
    """

    bits: int | None = attrs.field(default=None, validator=_BITS)
    experts: int | None = attrs.field(default=None, validator=_BITS)
    bk_core: int | None = attrs.field(default=None, validator=_BITS)
    output: int | None = attrs.field(default=None, validator=_BITS)


def _of_model(values: Mapping[str, Any]) -> Iterator[Problem]:
    for name, value in values.items():
        key = f"model.{name}"
        if name not in CHECKS:
            yield _unknown(key, value, CHECKS, RENAMED.get(name, ""))
        elif not CHECKS[name].holds(value):
            yield Problem(key=key, value=value, allowed=CHECKS[name].meaning)


def _of_training(values: Mapping[str, Any]) -> Iterator[Problem]:
    recovery = values.get("recovery")
    if isinstance(recovery, Mapping):
        yield from _of_settings(recovery, RecoverySettings, "training.recovery")
        values = {name: value for name, value in values.items() if name != "recovery"}
    yield from _of_settings(values, TrainingConfig, "training")


def _of_settings(values: Mapping[str, Any], kind: type[Any], prefix: str) -> Iterator[Problem]:
    """Every setting by itself: the class stops at the first that is wrong."""
    known = [field.name for field in attrs.fields(kind)]
    for name, value in values.items():
        key = f"{prefix}.{name}"
        if name not in known:
            yield _unknown(key, value, known)
            continue
        try:
            kind(**{name: value})
        except TrainingConfigError as error:
            yield Problem(key=key, value=value, allowed=error.why.removeprefix("it is "))


def _unknown(key: str, value: Any, known: Mapping[str, Any] | list[str], renamed: str = "") -> Problem:
    near = renamed or nearest(key.rpartition(".")[2], known)
    return Problem(key=key, value=value, allowed=", ".join(known), nearest=near, kind="unknown")


def _of(kind: type[Any], name: str) -> Callable[[Mapping[str, Any]], Iterator[Problem]]:
    def check(values: Mapping[str, Any]) -> Iterator[Problem]:
        yield from find_problems(values, kind, prefix=name)

    return check


SECTIONS: Final[dict[str, Callable[[Mapping[str, Any]], Iterator[Problem]]]] = {
    "model": _of_model,
    "training": _of_training,
    "data": _of(DataSection, "data"),
    "checkpoint": _of(CheckpointSection, "checkpoint"),
    "monitoring": _of(MonitoringSection, "monitoring"),
    "quantization": _of(QuantizationSection, "quantization"),
}
"""The sections that a file may have, each with what finds the faults in one."""
