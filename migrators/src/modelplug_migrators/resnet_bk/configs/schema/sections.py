"""The smaller sections: what is trained on, where the run goes, what it is called, and quantization."""

from __future__ import annotations

import attrs

from modelplug_migrators.resnet_bk.configs.schema.limits import within

__all__ = ["CheckpointSection", "DataSection", "MonitoringSection", "QuantizationSection"]


@attrs.frozen(kw_only=True)
class DataSection:
    """What to train on: arguments and options of `resnet-bk train`, and what people call the data.

    Attributes:
        texts: Files, folders of files, saved datasets: its arguments.
        validation: The same to evaluate on: `--validation`.
        validation_fraction: How much of the data is kept for that: `--validation-fraction`.
        column: The column of a dataset that holds the text: `--text-column`.
        tokenizer: A tokenizer's file or folder: `--tokenizer`.
        vocabulary: Tokens of a new tokenizer: `--vocab-size`.
        dataset: What the data is called; for people.
        data_dir: Where it lies; for people.
    """

    texts: list[str] = attrs.field(factory=list)
    validation: list[str] = attrs.field(factory=list)
    validation_fraction: float = attrs.field(default=0.05, validator=within(0, 0.9))
    column: str = "text"
    tokenizer: str | None = None
    vocabulary: int = attrs.field(default=4096, validator=within(257))
    dataset: str | None = None
    data_dir: str | None = None


@attrs.frozen(kw_only=True)
class CheckpointSection:
    """Where a run is kept.

    Attributes:
        save_dir: The folder: `--output` of `resnet-bk train`.
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
    """Bits of a quantized model.

    Attributes:
        bits: For the whole: what `QuantizedBirmanSchwinger` takes.
        experts: For the experts: with the next two, what `MixedPrecisionQuantization` takes.
        bk_core: For the core.
        output: For the output.
    """

    bits: int | None = attrs.field(default=None, validator=within(2, 32))
    experts: int | None = attrs.field(default=None, validator=within(2, 32))
    bk_core: int | None = attrs.field(default=None, validator=within(2, 32))
    output: int | None = attrs.field(default=None, validator=within(2, 32))
