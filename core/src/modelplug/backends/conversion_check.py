"""Runs a converted model and its source, for both to be compared."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from modelplug.backends.compatibility import incompatibility
from modelplug.backends.conversion_comparison import (
    ALTERNATIVES,
    TEXTS,
    Observed,
    Verification,
    compare_probabilities,
    compare_tokens,
)
from modelplug.backends.load import LoadOptions, load_first
from modelplug.backends.model import GenerateParams
from modelplug.backends.select import BackendSelector
from modelplug.backends.wishes import Wishes
from modelplug.errors import (
    BackendError,
    ConversionMismatchError,
    DoesNotFitError,
    ModelplugError,
    NothingSuitableError,
)

if TYPE_CHECKING:
    from modelplug.backends.model import Model
    from modelplug.backends.types import BackendReport
    from modelplug.formats.model_info import ModelInfo
    from modelplug.runtime import Runtime

__all__ = ["verify"]

_CONTEXT: Final = 256


class _NoEngineError(Exception):
    """No engine here can run a model so that it can be compared."""


def verify(
    source: ModelInfo,
    result: ModelInfo,
    quantization: str,
    runtime: Runtime,
    progress: Callable[[str, float], None],
) -> Verification:
    """Run both models on the CPU, one after the other, and compare them.

    Args:
        source: The model that was converted.
        result: What became of it.
        quantization: The type it was converted to.
        runtime: Its backends run the models.
        progress: Told what is being done and how much of the whole is.

    Returns:
        The figures, or why the models could not be compared.

    Raises:
        ConversionMismatchError: They differ, or no engine that should be able to loads the result.
    """
    reports = runtime.backends.reports()
    try:
        progress("running the source", 0.0)
        before = _observe_first(source, _engines(reports, source), None, runtime)
    except _NoEngineError as error:
        note = f"the source could not be run: {error}"
        return Verification(method="tensors", backend=_runs(result, reports, runtime), note=note)
    progress("running the result", 0.5)
    engines = [name for name in _engines(reports, result) if name != before.backend]
    try:
        after = _observe_first(result, engines or [before.backend], before, runtime, must_run=True)
    except _NoEngineError as error:
        return Verification(method="tensors", note=f"the result could not be run: {error}")
    progress("comparing", 1.0)
    compare_tokens(before, after, result)
    return compare_probabilities(before, after, result, quantization)


def _runs(result: ModelInfo, reports: Mapping[str, BackendReport], runtime: Runtime) -> str:
    """The engine that runs a result whose source none runs; empty if none can be tried.

    Raises:
        ConversionMismatchError: Those that should be able to can't.
    """
    try:
        return _observe_first(result, _engines(reports, result), None, runtime, must_run=True).backend
    except _NoEngineError:
        return ""


def _engines(reports: Mapping[str, BackendReport], info: ModelInfo) -> list[str]:
    """The engines that can run a model and tell probabilities, preferred ones first."""
    able = [
        (-report.priority, name)
        for name, report in reports.items()
        if "logprobs" in report.capabilities and not incompatibility(report, info)
    ]
    return [name for _, name in sorted(able)]


# Observing -----------------------------------------------------------------------------------------------


def _observe_first(
    info: ModelInfo,
    engines: Iterable[str],
    before: Observed | None,
    runtime: Runtime,
    *,
    must_run: bool = False,
) -> Observed:
    """What the first engine that works makes of the texts.

    Args:
        info: The model.
        engines: Those that can run it.
        before: What was made of its source, so that the same positions are looked at.
        runtime: For the engines.
        must_run: Whether it is a result, on which no engine may fail.

    Raises:
        _NoEngineError: None is installed, or memory does not suffice.
        ConversionMismatchError: There are such engines, and all fail on what must run.
    """
    failure: ModelplugError | None = None
    for name in engines:
        found = _try_to_observe(info, name, before, runtime)
        if isinstance(found, Observed):
            return found
        failure = failure if isinstance(failure, BackendError) else found
    if must_run and isinstance(failure, BackendError):
        raise ConversionMismatchError(
            "the converted model can't be run",
            path=info.path,
            why=f"{failure.backend}: {failure}",
            advice="Please report it, with the output of `modelplug inspect` for the source.",
        ) from failure
    reason = str(failure) if failure else f"no engine here runs {info.format} and tells probabilities"
    raise _NoEngineError(reason) from failure


def _try_to_observe(
    info: ModelInfo, backend: str, before: Observed | None, runtime: Runtime
) -> Observed | ModelplugError:
    try:
        return _observe(info, backend, before, runtime)
    except (DoesNotFitError, NothingSuitableError, BackendError) as error:
        return error


def _observe(info: ModelInfo, backend: str, before: Observed | None, runtime: Runtime) -> Observed:
    context = min(_CONTEXT, info.context_length or _CONTEXT)
    # On the CPU engines compute with the most digits, and it is the device that every machine has.
    wishes = Wishes.of(backend=backend, gpu_layers=0, context_size=context)
    plans = BackendSelector(runtime).select(info, wishes).plans
    options = LoadOptions(fallback="never", explicit_backend=True)
    loading = load_first(info, plans[:1], runtime.backends.reports(), options, runtime)
    if loading.engine is None:
        assert loading.error is not None
        raise loading.error
    model = loading.engine.model
    try:
        tokens = tuple(tuple(model.tokenize(text)) for text in TEXTS)
        asked = before.tokens if before is not None else tokens
        return Observed(
            backend, tokens, tuple(_probabilities(model, ids) for ids in _beginnings(asked, context))
        )
    finally:
        model.close()


def _beginnings(texts: Iterable[tuple[int, ...]], context: int) -> Iterable[tuple[int, ...]]:
    """Beginnings of each text of several lengths, so that many distances between tokens occur."""
    for ids in texts:
        longest = min(len(ids), context - 2)
        for length in sorted({max(2, longest // 4), max(2, longest // 2), longest}):
            if 0 < length <= longest:
                yield ids[:length]


def _probabilities(model: Model, ids: tuple[int, ...]) -> dict[str, float]:
    params = GenerateParams(max_tokens=1, temperature=0.0, logprobs=ALTERNATIVES)
    for chunk in model.generate(ids, params):
        if chunk.logprobs:
            return {text: value for text, value in chunk.logprobs[0].items() if _comparable(text)}
    return {}


def _comparable(text: str) -> bool:
    """Whether engines spell a token alike: not if it is part of a character, or a mark without a text."""
    return bool(text) and not any(
        character == "\ufffd" or unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn")
        for character in text
    )
