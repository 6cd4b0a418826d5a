"""The engine's C functions, called so that they can't write where they must not.

The package's own Python layer reserves one token per character, while its C code writes one per byte: text
beyond ASCII corrupts memory. It also takes the clock's seconds for a seed, and goes on past the end of the
context with a warning. Hence this layer of our own above the same library.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import platform
import sys
from ctypes import c_int
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelplug.errors import BackendError
from modelplug_ctransformers.detection import library_directory, pick_library

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Engine", "cpu_flags", "engine_options", "library_for"]

NAME = "ctransformers"

_CONTROLS = "\x01\x02\x03\x04\x05\x06\x07\x08"


def cpu_flags() -> frozenset[str]:
    """Read this processor's instruction sets where that is cheap; empty elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def library_for(wanted: str | None, flags: frozenset[str], *, gpu: bool = False) -> str | None:
    """Choose the build to load, in the words of the engine's own `lib` argument.

    Args:
        wanted: The setting `library`.
        flags: Instruction sets; empty if unknown.
        gpu: Whether layers go to a GPU; the engine then looks for its own build.

    Returns:
        A build, or None to let the engine look (which starts a slow search for the processor's features).
    """
    directory = library_directory()
    if wanted is not None or gpu or directory is None:
        return wanted
    if not flags and platform.machine().lower() in ("x86_64", "amd64"):
        return None
    return pick_library(directory, flags)


def engine_options(config: type[Any], **wanted: object) -> dict[str, object]:
    """Make sure that the engine knows every option it is to be given.

    Args:
        config: The engine's own `Config`.
        wanted: Options by the engine's names.

    Raises:
        BackendError: The installed version does not have one of them.
    """
    known = {field.name for field in dataclasses.fields(config)}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise BackendError(
            f"the installed ctransformers has no option {', '.join(unknown)}",
            backend=NAME,
            phase="load",
            cause="unsupported",
            why=f"its options are {', '.join(sorted(known))}",
            advice=f"Install the supported version: {sys.executable} -m pip install ctransformers==0.2.27",
        )
    return dict(wanted)


class Engine:
    """One model in the engine, with its one context.

    Args:
        path: The model file.
        model_type: `gguf`, or what a legacy file holds.
        library: As `library_for` gives it.
        options: Load options by the engine's names.
        batch_size: Prompt tokens evaluated at once.
        threads: CPU threads.

    Attributes:
        tokens: What the context holds now.
        context_size: Tokens the context can hold.
        vocabulary_size: Tokens in the vocabulary.
    """

    def __init__(
        self,
        path: Path,
        *,
        model_type: str,
        library: str | None,
        options: dict[str, object],
        batch_size: int,
        threads: int,
    ) -> None:
        module = importlib.import_module("ctransformers")
        self._batch_size = batch_size
        self._threads = threads
        self._whole = 0
        self.tokens: list[int] = []
        config = module.Config(**engine_options(module.Config, **options))
        self._llm: Any = None
        try:
            self._llm = module.LLM(str(path), model_type=model_type, config=config, lib=library)
        except (RuntimeError, OSError, ValueError) as error:
            raise BackendError(
                f"ctransformers could not load {path.name}",
                backend=NAME,
                phase="load",
                why=str(error).strip().splitlines()[0].rstrip("."),
                advice="Its llama.cpp is of September 2023: use the llamacpp backend for newer models.",
            ) from error
        self.context_size = int(self._llm.context_length)
        self.vocabulary_size = int(self._llm.vocab_size)
        self.start_token = int(self._llm.bos_token_id)
        self.end_token = int(self._llm.eos_token_id)
        self.architecture = str(self._llm.model_type)
        # Tokenizers of legacy types print a complaint for characters they don't know.
        self._nul_token = self._find_nul_token() if self.architecture == "llama" else None

    def close(self) -> None:
        """Free the model; calling it again changes nothing."""
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.ctransformers_llm_delete()
            llm._llm = None  # its own finaliser would free the same memory a second time

    def check_open(self, phase: str) -> None:
        """Make sure that the model has not been closed.

        Args:
            phase: What is about to be done, for the error.

        Raises:
            BackendError: It has been.
        """
        if self._llm is None:
            raise BackendError(
                "the model is closed", backend=NAME, phase=phase, cause="closed", advice="Load it again."
            )

    def is_end(self, token: int) -> bool:
        """Whether the token ends the text."""
        return bool(self._llm.ctransformers_llm_is_eos_token(token))

    def tokenize(self, text: str, *, add_start: bool) -> list[int]:
        """Give the tokens of `text`.

        Raises:
            BackendError: The text has a NUL character, and this model has no token for it.
        """
        if "\0" not in text:
            return self._tokenize(text, add_start=add_start)
        # The engine takes a C string, which ends at the first NUL. Another control character, which no token
        # but its own byte's can hold either, takes its place.
        stand_in = next((character for character in _CONTROLS if character not in text), None)
        if self._nul_token is None or stand_in is None:
            raise BackendError(
                "the text has a NUL character",
                backend=NAME,
                phase="tokenize",
                cause="unsupported",
                why="the engine takes a C string, which ends at the first NUL",
                advice="Remove the character, or use another backend.",
            )
        wanted = self._nul_token + ord(stand_in)
        tokens = self._tokenize(text.replace("\0", stand_in), add_start=add_start)
        return [self._nul_token if token == wanted else token for token in tokens]

    def _find_nul_token(self) -> int | None:
        """Find the token of the byte 0, which precedes those of the bytes 1 to 8 where there are such."""
        tokens = [self._tokenize(character, add_start=False)[-1:] for character in _CONTROLS]
        first = tokens[0][0] if tokens[0] else 0
        if first < 1 or tokens != [[first + index] for index in range(len(_CONTROLS))]:
            return None
        return first - 1

    def _tokenize(self, text: str, *, add_start: bool) -> list[int]:
        data = text.encode("utf-8", errors="replace")
        # A space becomes a character of three bytes, each of which may become a token.
        buffer = (c_int * (3 * len(data) + 16))()
        count = self._llm.ctransformers_llm_tokenize(data, add_start, buffer)
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """Give the bytes a token of the vocabulary stands for; none for control tokens."""
        if token == self._nul_token:
            return b"\0"  # which the engine, with its C strings, gives as nothing
        return bytes(self._llm.ctransformers_llm_detokenize(token) or b"")

    def reuse(self, tokens: Sequence[int]) -> int:
        """Keep of the context what can be kept for a prompt, and say how many tokens that is.

        Only whole blocks of a prompt are kept: the engine rounds differently for blocks of another size, and
        the same request is to give the same output whatever came before it.
        """
        # At least one token is left to evaluate, because that is what gives the next one's logits.
        limit = min(len(tokens) - 1, self._whole)
        keep = _common(tokens, self.tokens, limit) // self._batch_size * self._batch_size
        del self.tokens[keep:]
        self._whole = keep
        return keep

    def resume(self, tokens: Sequence[int]) -> int:
        """Keep what `tokens` begins with, to go on with a request that another one has interrupted."""
        keep = _common(tokens, self.tokens, min(len(tokens) - 1, len(self.tokens)))
        del self.tokens[keep:]
        self._whole = min(self._whole, keep // self._batch_size * self._batch_size)
        return keep

    def forget(self) -> None:
        """Drop the context."""
        self.tokens.clear()
        self._whole = 0

    def slices(self, tokens: Sequence[int]) -> Iterable[Sequence[int]]:
        """Cut tokens into what is evaluated at once."""
        size = self._batch_size
        return (tokens[start : start + size] for start in range(0, len(tokens), size))

    def evaluate(self, tokens: Sequence[int]) -> None:
        """Append tokens to the context.

        Raises:
            BackendError: The engine could not.
        """
        past = len(self.tokens)
        if past + len(tokens) > self.context_size:
            msg = f"{past} + {len(tokens)} tokens exceed the context of {self.context_size}"
            raise AssertionError(msg)
        buffer = (c_int * len(tokens))(*tokens)
        # A failure leaves the engine's state in doubt; what it held is then evaluated anew.
        before, self.tokens = self.tokens, []
        done = self._llm.ctransformers_llm_batch_eval(
            buffer, len(tokens), past, self._batch_size, self._threads
        )
        if not done:
            self._whole = 0
            raise BackendError(
                "ctransformers could not evaluate the prompt",
                backend=NAME,
                phase="generate",
                why="its evaluation function reported a failure, and no reason",
                advice="Load the model with a smaller context_size or batch_size, or use another backend.",
            )
        before.extend(tokens)
        self.tokens = before
        self._check_finite()
        if past == self._whole and len(tokens) == self._batch_size:
            self._whole += self._batch_size

    def _check_finite(self) -> None:
        """Raise if the model computes no numbers; where one logit is none, all are."""
        if not math.isfinite(self._llm.ctransformers_llm_logits_data()[0]):
            raise BackendError(
                "the model computes no numbers (NaN or infinity)",
                backend=NAME,
                phase="generate",
                cause="not-finite",
                why="its weights or settings are damaged",
                advice="Get the file again from where it came from.",
            )

    def sample(
        self,
        recent: Sequence[int],
        *,
        top_k: int,
        top_p: float,
        temperature: float,
        repeat_penalty: float,
        seed: int,
    ) -> int:
        """Choose the next token.

        The engine applies, in this order: repeat penalty, top_k, top_p, temperature; 0 is greedy.

        Args:
            recent: The tokens that the repeat penalty is for.
            top_k: 1 or more; the engine takes 0 as 1.
            top_p: 1 keeps all.
            temperature: 0 is greedy.
            repeat_penalty: 1 is none.
            seed: 0 or more; the engine starts its generator anew with it for every token.
        """
        buffer = (c_int * len(recent))(*recent)
        return int(
            self._llm.ctransformers_llm_sample(
                buffer, len(recent), top_k, top_p, temperature, repeat_penalty, seed
            )
        )

    def log_probabilities(self) -> list[float]:
        """Give the log probability of every token to come next, before any sampling parameter."""
        size = int(self._llm.ctransformers_llm_logits_size())
        logits = self._floats(self._llm.ctransformers_llm_logits_data(), size)
        largest = max(logits)
        total = largest + math.log(math.fsum(math.exp(value - largest) for value in logits))
        return [value - total for value in logits]

    def embedding(self) -> list[float]:
        """Give the final hidden state of the last token; empty where the engine has none."""
        size = int(self._llm.ctransformers_llm_embeddings_size())
        return self._floats(self._llm.ctransformers_llm_embeddings_data(), size) if size else []

    @staticmethod
    def _floats(pointer: Any, size: int) -> list[float]:
        return [float(value) for value in pointer[:size]]


def _common(one: Sequence[int], other: Sequence[int], limit: int) -> int:
    """Count the tokens, at most `limit`, with which both begin."""
    same = 0
    while same < limit and one[same] == other[same]:
        same += 1
    return same
