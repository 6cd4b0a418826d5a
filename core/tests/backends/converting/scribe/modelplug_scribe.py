"""A plugin for tests that converts, and fails on demand; its engines give made-up probabilities.

What is to go wrong stands in the source's `config.json` under `fault`. How far the probabilities of the
engine for the result are from those of the engine for the source stands in the environment variable
`SCRIBE_NOISE`; `SCRIBE_ENGINES` says which of the two there are.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from modelplug.backends.model import (
    CancelToken,
    Capabilities,
    Chunk,
    Effective,
    GenerateParams,
    GenerationStats,
    Message,
    Model,
    ModelStats,
)
from modelplug.backends.types import BackendReport, BackendState, ConversionPlan, ConvertRequest, LoadRequest
from modelplug.data import demo_model_path
from modelplug.errors import BackendError, ConversionError, ConversionRefusedError
from modelplug.hookspecs import hookimpl
from modelplug.system.info import SystemInfo

MODELPLUG_HOOKSPEC_VERSION = "1.2"

ENGINES = {"reader": "huggingface", "scribe": "gguf"}
SLOW = 60.0


@hookimpl
def modelplug_detect_backends(system: SystemInfo) -> list[BackendReport]:
    """The engines that the environment names."""
    return [
        BackendReport(
            name=name,
            state=BackendState.CPU,
            engine=name,
            formats=(ENGINES[name],),
            capabilities=frozenset({"logprobs"}),
        )
        for name in os.environ.get("SCRIBE_ENGINES", "").split()
    ]


@hookimpl
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """The engine that is meant."""
    return Oracle(request) if request.backend in ENGINES else None


def fault_of(request: ConvertRequest) -> str:
    """What is to go wrong."""
    config = json.loads((request.info.files[0].parent / "config.json").read_text())
    return str(config.get("fault", ""))


@hookimpl
def modelplug_plan_conversion(request: ConvertRequest) -> ConversionPlan | None:
    """A plan for every model of the kind `sample`."""
    if request.info.architecture != "sample":
        return None
    fault = fault_of(request)
    if fault == "refused":
        raise ConversionRefusedError("it can't be", path=request.path, tool="another-tool")
    if fault == "no-plan":
        raise ZeroDivisionError("in the plan")
    size = 1 << 60 if fault == "huge" else demo_model_path().stat().st_size
    return ConversionPlan(size=size, notes=("It lacks a handle.",))


@hookimpl
def modelplug_convert_model(request: ConvertRequest) -> Path | None:
    """Write the demo model, in two halves."""
    fault = fault_of(request)
    data = demo_model_path().read_bytes()
    if fault == "nothing":
        return None
    if fault == "raises":
        raise ZeroDivisionError("in the plugin")
    if fault == "damaged":
        data = data[: len(data) // 2]
    with request.output.open("wb") as file:
        file.write(data[: len(data) // 2])
        file.flush()
        request.progress("writing", 0.5)
        if fault == "fails":
            raise ConversionError("the disk is full", path=request.output)
        if fault == "interrupted":
            raise KeyboardInterrupt
        if fault == "slow":
            time.sleep(SLOW)
        file.write(data[len(data) // 2 :])
    return request.output


class Oracle(Model):
    """Answers every beginning with probabilities that depend on it, and on how wrong it is to be."""

    def __init__(self, request: LoadRequest) -> None:
        if request.backend == "scribe" and os.environ.get("SCRIBE_NOISE") == "broken":
            raise BackendError("it can't be loaded", backend="scribe", phase="load")
        self.info = request.info
        self.capabilities = Capabilities(logprobs=True, token_ids=True, parameters=frozenset({"max_tokens"}))
        self.effective = Effective(backend=request.backend)
        self._noise = float(os.environ.get("SCRIBE_NOISE", "0")) if request.backend == "scribe" else 0.0
        self._shift = int(os.environ.get("SCRIBE_SHIFT", "0")) if request.backend == "scribe" else 0

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """One token for each byte."""
        return [byte + self._shift for byte in text.encode()]

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The bytes as text."""
        return bytes(tokens).decode("utf-8", "replace")

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """One token with its alternatives."""
        ids = list(prompt) if not isinstance(prompt, str) else self.tokenize(prompt)
        draw = random.Random(str(ids))
        scores = {f"word{number}": draw.gauss(0, 2) for number in range(100)}
        wrong = random.Random("noise" + str(ids))
        scores = {text: score + self._noise * wrong.gauss(0, 2) for text, score in scores.items()}
        whole = math.log(math.fsum(map(math.exp, scores.values())))
        ranked = sorted(((score - whole, text) for text, score in scores.items()), reverse=True)
        named = {text: value for value, text in ranked[: params.logprobs if params else 0]}
        stats = GenerationStats(prompt_tokens=len(ids), completion_tokens=1)
        yield Chunk(ranked[0][1], (), "length", stats, (named,))

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Iterator[Chunk]:
        """The same."""
        return self.generate(messages[-1].content, params)

    @property
    def stats(self) -> ModelStats:
        """Nothing is counted."""
        return ModelStats()

    def close(self) -> None:
        """There is nothing to free."""
