"""Converts models to GGUF through whichever plugin can, and makes sure that they are still the same model."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from modelplug.backends.compatibility import incompatibility
from modelplug.backends.conversion_check import verify
from modelplug.backends.conversion_comparison import Verification
from modelplug.backends.conversion_place import check_space, default_place, set_apart
from modelplug.backends.conversion_refusal import refusal
from modelplug.backends.inspection import inspected, with_backends
from modelplug.backends.types import ConversionPlan, ConvertRequest
from modelplug.errors import ConversionError, ConversionMismatchError, ModelFileError, UsageError

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo
    from modelplug.plugins.records import PluginRecord
    from modelplug.runtime import Runtime

__all__ = ["Conversion", "ModelConverter"]

_FORMAT: Final = "gguf"
_TYPE_NAME: Final = re.compile(r"[A-Z0-9_]{1,32}")
# Shares of the whole, as progress shows it: writing and reading back, then running both models.
_CONVERTING: Final = 0.6


@attrs.frozen(kw_only=True)
class Conversion:
    """How a conversion went.

    Attributes:
        path: The result.
        source: The model that was converted.
        quantization: The type it was converted to.
        source_size: Bytes of the source's weights.
        size: Bytes of the result.
        seconds: How long it took, all together.
        converter: The plugin that did it.
        converted: Whether anything was done: False if the result was there from before.
        verification: How the result was compared with its source; None if it was there from before.
        notes: What the result lacks or does otherwise than its source, in full sentences.
    """

    path: Path
    source: Path
    quantization: str
    source_size: int
    size: int = 0
    seconds: float = 0.0
    converter: str = ""
    converted: bool = True
    verification: Verification | None = None
    notes: tuple[str, ...] = ()


class ModelConverter:
    """Converts models that no engine here can run into GGUF files that one can.

    Args:
        runtime: Plugins and system to use; None makes a runtime of its own.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime as NewRuntime

            runtime = NewRuntime()
        self._runtime = runtime

    def needs_conversion(self, path: str | Path) -> bool:
        """Whether a model has to be converted before it can be run here.

        It has to if it is a model, no usable backend loads it as it is, and a usable backend would load it as
        a GGUF file. So a Hugging Face directory needs conversion where llama.cpp is installed and
        transformers is not; a file in a format before GGUF needs it unless ctransformers runs it; a GGUF file
        never does, unless its bytes are in the wrong order. That a model needs conversion does not mean that
        it can be converted here: `convert_model` does it, or says which program can.

        Args:
            path: A path (`~` is expanded), `demo`, or a registered name.

        Raises:
            ModelFileError: There is no such model, or it can't be used.
        """
        info = with_backends(inspected(path, self._runtime), self._runtime)
        if info.kind != "model" or info.compatible_backends:
            return False
        if info.format in (_FORMAT, "llamafile") and info.byte_order == "little":
            return False
        as_gguf = attrs.evolve(
            info, format=_FORMAT, format_version="3", byte_order="little", tensor_types={}, quantization=None
        )
        reports = self._runtime.backends.reports().values()
        return any(not incompatibility(report, as_gguf) for report in reports)

    def convert_model(
        self,
        path: str | Path,
        *,
        to: str = "F16",
        output: str | Path | None = None,
        force: bool = False,
        on_progress: Callable[[str, float], None] | None = None,
    ) -> Path:
        """The path of a model converted to GGUF; as `convert`, which tells more.

        Args:
            path: A path (`~` is expanded), `demo`, or a registered name.
            to: The tensor type: `F16`, `Q8_0` or `Q4_0`.
            output: The file to write; None writes beside the source.
            force: Whether to replace a file that is there.
            on_progress: Told what is being done and how much of the whole is, from 0 to 1.

        Raises:
            ModelplugError: As for `convert`.
        """
        return self.convert(path, to=to, output=output, force=force, on_progress=on_progress).path

    def convert(
        self,
        path: str | Path,
        *,
        to: str = "F16",
        output: str | Path | None = None,
        force: bool = False,
        on_progress: Callable[[str, float], None] | None = None,
    ) -> Conversion:
        """Convert a model to GGUF, and compare the result with its source.

        The result appears at its place when it is complete and verified, and not before. Where an engine can
        run the source, both models are run and their probabilities compared; otherwise only the numbers in
        the file are, and the record says so. A result of the same conversion that is there from before, and
        is younger than its source, is returned as it is.

        Args:
            path: A path (`~` is expanded), `demo`, or a registered name.
            to: The tensor type: `F16`, `Q8_0` or `Q4_0`.
            output: The file to write; None writes beside the source.
            force: Whether to replace a file that is there.
            on_progress: Told what is being done and how much of the whole is, from 0 to 1.

        Raises:
            ModelFileError: There is no such model, or it can't be used.
            ConversionRefusedError: It is not converted here; the error names the program that can.
            ConversionError: Converting failed; nothing was left at the place of the result.
            ConversionMismatchError: The result was not the same model, and was thrown away.
            NothingSuitableError: What it takes is not installed.
            UsageError: There is a file that must not be replaced.
        """
        began = time.perf_counter()
        tell = on_progress or _ignore
        info = inspected(path, self._runtime)
        quantization = _type_name(to)
        target = default_place(info, quantization, self._runtime) if output is None else _absolute(output)
        request = ConvertRequest(
            path=info.path,
            info=info,
            format=_FORMAT,
            output=target,
            options={"quantization": quantization, "name": info.name or info.path.name},
            progress=lambda step, done: tell(step, _CONVERTING * done),
        )
        plugin, plan = self._plan(request)
        known = Conversion(
            path=target,
            source=info.path,
            quantization=quantization,
            source_size=info.size,
            converter=plugin,
            notes=plan.notes,
        )
        if not force and _is_result(target, info, quantization):
            return attrs.evolve(known, converted=False, size=target.stat().st_size)
        with set_apart(target, source=info, force=force, runtime=self._runtime) as temporary:
            check_space(target, plan.size)
            self._write(plugin, attrs.evolve(request, output=temporary))
            verification = self._verified(info, temporary, quantization, tell)
            size = temporary.stat().st_size
        seconds = time.perf_counter() - began
        return attrs.evolve(known, size=size, seconds=seconds, verification=verification)

    def _plan(self, request: ConvertRequest) -> tuple[str, ConversionPlan]:
        """Which plugin converts the model, and what that comes to."""
        found = self._runtime.plugins.call_first("modelplug_plan_conversion", request=request)
        if found is not None:
            return found.plugin, found.value
        records = self._runtime.plugins.records
        failed = next((r for r in records if r.broken and "modelplug_plan_conversion" in r.cause), None)
        if failed is not None:
            raise _plugin_failed(failed, "planning a conversion", request)
        converters = sum(1 for record in records if "modelplug_convert_model" in record.hooks)
        raise refusal(with_backends(request.info, self._runtime), converters)

    def _write(self, plugin: str, request: ConvertRequest) -> None:
        found = self._runtime.plugins.call_first("modelplug_convert_model", plugin=plugin, request=request)
        if found is not None and found.value == request.output:
            return
        raise _plugin_failed(self._runtime.plugins.record(plugin), "converting", request)

    def _verified(
        self, info: ModelInfo, result: Path, quantization: str, tell: Callable[[str, float], None]
    ) -> Verification:
        try:
            converted = inspected(result, self._runtime)
        except ModelFileError as error:
            raise ConversionMismatchError(
                "what the plugin wrote is no sound GGUF file",
                path=info.path,
                why=str(error),
                advice="Report it to the authors of the plugin (`modelplug plugins list`).",
            ) from error
        share = 1 - _CONVERTING
        return verify(
            info,
            converted,
            quantization,
            self._runtime,
            lambda step, done: tell(step, _CONVERTING + share * done),
        )


def _plugin_failed(record: PluginRecord, doing: str, request: ConvertRequest) -> ConversionError:
    return ConversionError(
        f"the plugin {record.name} failed while {doing}",
        path=request.path,
        why=record.cause or "it planned the conversion, and then gave no result",
        advice=record.remedy or "Report it to the authors of the plugin (`modelplug plugins list`).",
    )


def _ignore(_step: str, _done: float) -> None:
    """For callers who want to hear of no progress."""


def _type_name(to: str) -> str:
    """The name of a tensor type, as it goes into the name of a file."""
    name = to.strip().upper()
    if not _TYPE_NAME.fullmatch(name):
        raise UsageError(
            f"there is no tensor type {to!r:.60}",
            why="the name of one has letters, digits and underscores",
            advice="Use F16, Q8_0 or Q4_0.",
        )
    return name


def _absolute(output: str | Path) -> Path:
    try:
        return Path(output).expanduser().absolute()
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"{output!r} is not a usable path", why=str(error), advice="Name a file with --output."
        ) from error


def _is_result(target: Path, source: ModelInfo, quantization: str) -> bool:
    """Whether a file is what this conversion would write, made after the source last changed."""
    from modelplug.formats import inspect

    try:
        made = target.stat().st_mtime
        changed = max(file.stat().st_mtime for file in source.files)
        found = inspect(target).metadata
    except (OSError, ModelFileError):
        return False
    return (
        made > changed
        and found.get("modelplug.conversion.source") == source.fingerprint
        and found.get("modelplug.conversion.type") == quantization
    )
