"""Clauses on the size of the context."""

from __future__ import annotations

import pytest

from modelplug.backends.loaded import LoadedModel
from modelplug.errors import BackendError, ContextOverflowError
from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause

__all__ = ["ContextClauses"]


class ContextClauses(ConformanceBase):
    """Prompts that fill the context, or more than that."""

    def test_prompt_that_does_not_fit(self, conformance_model: LoadedModel) -> None:
        """A prompt that leaves no room for output is an error with the numbers, and the engine goes on."""
        size = conformance_model.effective.context_size
        if not conformance_model.capabilities.tokenize:
            with pytest.raises(ContextOverflowError):
                self.ask(conformance_model, "A horse! " * size)
            return
        for count in (size, size + 1, 2 * size + 10):
            with pytest.raises(ContextOverflowError) as caught:
                self.ask(conformance_model, self.prompt_of(conformance_model, count))
            error = caught.value
            assert (error.prompt_tokens, error.context_size) == (count, size), clause(
                "ContextOverflowError",
                f"it says {error.prompt_tokens} of {error.context_size} tokens, not {count} of {size}",
            )
        after = self.ask(conformance_model).finish_reason
        assert after == "length", clause("BackendError", f"the next request ends with {after!r}")

    def test_prompt_that_just_fits(self, conformance_model: LoadedModel) -> None:
        """A prompt that leaves room for one token gets one token."""
        if not conformance_model.capabilities.tokenize:
            return
        size = conformance_model.effective.context_size
        prompt = self.prompt_of(conformance_model, size - 1)
        try:
            output = self.ask(conformance_model, prompt, self.greedy(max_tokens=None, return_tokens=True))
        except ContextOverflowError as error:
            pytest.fail(
                clause(
                    "Effective.context_size",
                    f"{size} tokens are said to be in force, but {size - 1} do not fit: {error}",
                ),
                pytrace=False,
            )
        assert output.generated == 1, clause(
            "Effective.context_size",
            f"{size - 1} of {size} tokens are the prompt, and {output.generated} were generated",
        )
        assert output.finish_reason in ("length", "stop"), clause(
            "Chunk.finish_reason", f"the context is full, and it says {output.finish_reason!r}"
        )

    def test_output_ends_with_the_context(self, conformance_model: LoadedModel) -> None:
        """Without `max_tokens`, generation ends when prompt and output fill the context."""
        size = conformance_model.effective.context_size
        if conformance_model.capabilities.tokenize:
            prompt: str | list[int] = self.prompt_of(conformance_model, size - self.length)
        else:
            prompt = self.prompts[0]
        output = self.ask(conformance_model, prompt, self.greedy(max_tokens=None, return_tokens=True))
        given = len(prompt) if isinstance(prompt, list) else output.stats.prompt_tokens
        used = given + output.generated
        assert used <= size, clause("Effective.context_size", f"{used} tokens are in a context of {size}")
        if output.finish_reason == "length":
            assert used == size, clause(
                "GenerateParams.max_tokens",
                f"None ended with {used} of {size} tokens and the reason 'length'",
            )

    def test_prompt_is_truncated_on_request(self, conformance_model: LoadedModel) -> None:
        """With `overflow="truncate"`, the beginning of the prompt is dropped and a warning says so."""
        if not conformance_model.capabilities.tokenize:
            return
        size = conformance_model.effective.context_size
        prompt = self.prompt_of(conformance_model, size + 50)
        output = self.ask(
            conformance_model, prompt, self.greedy(overflow="truncate", max_tokens=8, return_tokens=True)
        )
        assert output.stats.warnings, clause(
            "GenerateParams.overflow", "the prompt was truncated and `GenerationStats.warnings` is empty"
        )
        assert output.stats.prompt_tokens < size, clause(
            "GenerationStats.prompt_tokens",
            f"it counts {output.stats.prompt_tokens}, but only what was evaluated counts",
        )
        assert (output.finish_reason, output.generated) == ("length", 8), clause(
            "GenerateParams.overflow",
            f"there must be room for the 8 tokens asked for: {output.generated} came, then "
            f"{output.finish_reason!r}",
        )
        fitting = self.ask(conformance_model, params=self.greedy(overflow="truncate", max_tokens=4))
        assert fitting.stats.warnings == (), clause(
            "GenerationStats.warnings", f"a prompt that fits is warned about: {fitting.stats.warnings}"
        )

    def test_empty_prompt(self, conformance_model: LoadedModel) -> None:
        """No tokens at all are an error; an empty text is one too, unless the model has a start token."""
        with pytest.raises(BackendError):
            self.ask(conformance_model, [])
        starts = conformance_model.capabilities.tokenize and conformance_model.tokenize("")
        if starts:
            output = self.ask(conformance_model, "", self.greedy(max_tokens=3))
            assert output.stats.prompt_tokens == len(starts), clause(
                "GenerationStats.prompt_tokens", f"{output.stats.prompt_tokens} for {starts}"
            )
        elif conformance_model.capabilities.tokenize:
            with pytest.raises(BackendError):
                self.ask(conformance_model, "")
