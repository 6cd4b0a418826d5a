"""An engine that echoes its prompt word by word, and fails in every way engines are known to fail."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from misbehaving_settings import MisbehavingSettings

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
from modelplug.backends.streaming import fit_prompt
from modelplug.backends.types import LoadRequest
from modelplug.errors import BackendError

CONTEXT = 64
WEIGHTS = 200_000_000
FLOOD_LINES = 2_000_000


def _hang_with_lock(seconds: float) -> None:
    # PyDLL keeps the interpreter lock during the call, as a careless extension module does.
    ctypes.PyDLL(None).sleep(int(seconds))


def _flood() -> None:
    line = b"ggml_debug: " + b"x" * 84 + b"\n"
    for _ in range(FLOOD_LINES // 10_000):
        os.write(2, line * 10_000)
    os.write(2, b"the flood is over\n")


def _endless_line() -> None:
    for _ in range(64):
        os.write(2, b"." * 1_000_000)


def _start_grandchild(*, session: bool) -> None:
    code = "import time; time.sleep(300)"
    subprocess.Popen([sys.executable, "-c", code, "misbehaving-grandchild"], start_new_session=session)


def _fork() -> None:
    if os.fork() == 0:
        time.sleep(300)
        os._exit(0)


def _fork_and_crash() -> None:
    # The copy holds every pipe of the worker open after the worker has died.
    _fork()
    ctypes.string_at(0)


def _speech() -> None:
    print("engine 1.0 loading tensors")
    print("\x1b[31mred\x1b[0m words", file=sys.stderr, flush=True)


FAULTS: dict[str, Callable[[float], Any]] = {
    "sigsegv": lambda _: ctypes.string_at(0),
    "sigabrt": lambda _: os.abort(),
    "sigill": lambda _: signal.raise_signal(signal.SIGILL),
    "sigfpe": lambda _: signal.raise_signal(signal.SIGFPE),
    "sigbus": lambda _: signal.raise_signal(signal.SIGBUS),
    "sigkill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda _: os._exit(3),
    "hang": time.sleep,
    "hang-with-lock": _hang_with_lock,
    "flood": lambda _: _flood(),
    "endless-line": lambda _: _endless_line(),
    "print": lambda _: _speech(),
    "garbage-on-stdout": lambda _: os.write(1, os.urandom(100_000)),
    "close-stdout": lambda _: os.close(1),
    "close-everything": lambda _: os.closerange(0, 100),
    "grandchild": lambda _: _start_grandchild(session=False),
    "stray": lambda _: _start_grandchild(session=True),
    "fork": lambda _: _fork(),
    "fork-and-crash": lambda _: _fork_and_crash(),
}


def misbehave(fault: str, seconds: float) -> None:
    """Fail in the named way; some ways return and let the work go on."""
    if fault == "exception":
        raise RuntimeError("tensor 'blk.0.attn_q.weight' has a bad shape")
    if fault == "system-exit":
        sys.exit(4)
    if fault == "memory":
        raise MemoryError("cannot allocate 99 GiB")
    if fault == "keyboard-interrupt":
        raise KeyboardInterrupt
    if fault == "engine-error":
        raise BackendError("the engine says no", backend="misbehaving", phase="load", cause="unsupported")
    if fault and fault != "wrong-type":
        FAULTS[fault](seconds)


if os.environ.get("MISBEHAVING_IMPORT"):
    misbehave(os.environ["MISBEHAVING_IMPORT"], 120.0)


def load(request: LoadRequest) -> Any:
    """The echo, unless the settings say otherwise."""
    settings = request.settings_as(MisbehavingSettings)
    _note(settings, f"load {request.backend} {request.device} {request.gpu_layers} {os.getpid()}")
    if settings.scratch and request.scratch is not None:
        request.scratch.mkdir()
        (request.scratch / "weights.bin").write_bytes(b"temporary")
    if settings.fault == "wrong-type" and settings.at == "load":
        return 42
    on_device = request.gpu_layers != 0
    if settings.at == "load" or (settings.at == "gpu-load" and on_device):
        misbehave(settings.fault, settings.seconds)
    if settings.most_layers is not None and on_device and not 0 <= request.gpu_layers <= settings.most_layers:
        misbehave("memory", 0)
    return EchoModel(request, settings)


def _note(settings: MisbehavingSettings, line: str) -> None:
    if settings.journal:
        with Path(settings.journal).open("a") as journal:
            journal.write(line + "\n")


class EchoModel(Model):
    """Repeats the words of the prompt until told to stop."""

    def __init__(self, request: LoadRequest, settings: MisbehavingSettings) -> None:
        self.info = request.info
        self.capabilities = Capabilities(
            token_ids=True, parallel_requests=8, parameters=frozenset({"max_tokens", "temperature"})
        )
        self.effective = Effective(
            backend=request.backend,
            engine_version="1.0",
            device=request.device,
            gpu_layers=request.gpu_layers,
            context_size=CONTEXT,
            threads=request.threads,
        )
        self._settings = settings
        self._requests = 0
        self._lock = threading.Lock()

    def generate(
        self,
        prompt: str | Sequence[int],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Any:
        """Echo; a prompt of the form `!FAULT POINT` fails that way."""
        if self._settings.fault == "wrong-type" and self._settings.at == "first":
            return 42
        return self._echo(prompt, params or GenerateParams(), cancel or CancelToken())

    def _echo(
        self, prompt: str | Sequence[int], params: GenerateParams, cancel: CancelToken
    ) -> Iterator[Any]:
        text = prompt if isinstance(prompt, str) else self.detokenize(prompt)
        fault, point = self._settings.fault, self._settings.at
        if text.startswith("!"):
            fault, point = text[1:].split()[:2]
        words = text.split(" ") or ["nothing"]
        _, warnings = fit_prompt(range(len(words)), CONTEXT, params, self.effective.backend)
        if point == "first":
            misbehave(fault, self._settings.seconds)
        count = 0
        reason = "length"
        for count in range(1, (params.max_tokens or 1000) + 1):
            if cancel.cancelled:
                reason = "cancelled"
                break
            if count == 3 and point == "middle":
                misbehave(fault, self._settings.seconds)
                if fault == "wrong-type":
                    yield "not a chunk"
            word = _special_text(text) or words[(count - 1) % len(words)] + " "
            yield Chunk(word, (count,) if params.return_tokens else ())
            if self._settings.pace:
                time.sleep(self._settings.pace)
        with self._lock:
            self._requests += 1
        yield Chunk(
            "",
            (),
            reason,
            GenerationStats(prompt_tokens=len(words), completion_tokens=count, warnings=warnings),
        )

    def chat(
        self,
        messages: Sequence[Message],
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Any:
        """Echo the whole conversation."""
        return self.generate(" ".join(f"{m.role}={m.content}" for m in messages), params, cancel=cancel)

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """One token per byte."""
        if text.startswith("!"):
            misbehave(text[1:], self._settings.seconds)
        return [*([256] if add_special else []), *text.encode()]

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The bytes of the tokens."""
        return bytes(token for token in tokens if token < 256).decode("utf-8", "replace")

    @property
    def stats(self) -> ModelStats:
        """Requests so far."""
        return ModelStats(requests=self._requests)

    def close(self) -> None:
        """Nothing is held, unless closing is what fails."""
        if self._settings.at == "close":
            misbehave(self._settings.fault, self._settings.seconds)


def _special_text(text: str) -> str:
    return {
        "huge": "x" * 10_000_000,
        "surrogates": "a\ud83d\ude80b\ud800c",
        "emoji": "👩‍🚀é→",
        "nul": "a\0b\x1b",
    }.get(text, "")
