"""What is measured: requests of stated sizes, modelplug's own and those that plugins bring."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug.plugins import PluginManager

__all__ = ["QUICK", "STANDARD", "Benchmark", "choose_workloads", "known_workloads"]

HOOK = "modelplug_benchmarks"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def _at_least_one(_instance: object, attribute: Any, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        msg = f"{attribute.name} must be a whole number of at least 1, not {value!r}"
        raise ValueError(msg)


@attrs.frozen(kw_only=True)
class Benchmark:
    """A workload: a prompt of so many tokens, and so many tokens of continuation.

    With one token of continuation it measures how fast the prompt is processed, with more how fast the engine
    generates. Decoding is greedy, and the prompt is cut from `text` with the model's own tokenizer.

    Attributes:
        name: What results call it: small letters, digits, hyphens and underscores.
        prompt_tokens: Tokens of the prompt.
        generate_tokens: Tokens to generate.
        text: What prompts are cut from, repeated where it is short; empty takes everyday words.
        description: A line for people.
    """

    name: str = attrs.field()
    prompt_tokens: int = attrs.field(default=32, validator=_at_least_one)
    generate_tokens: int = attrs.field(default=1, validator=_at_least_one)
    text: str = attrs.field(default="", validator=attrs.validators.instance_of(str))
    description: str = attrs.field(default="", validator=attrs.validators.instance_of(str))

    @name.validator
    def _usable(self, _attribute: object, value: object) -> None:
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            msg = f"name must consist of small letters, digits, '-' and '_', not {value!r}"
            raise ValueError(msg)

    @property
    def measures_prompt(self) -> bool:
        """Whether it measures the processing of the prompt, and not generation."""
        return self.generate_tokens == 1

    @property
    def context_needed(self) -> int:
        """Tokens of context it takes."""
        # A prompt must leave room for a token of output.
        return self.prompt_tokens + max(1, self.generate_tokens)


def _prompt(tokens: int) -> Benchmark:
    text = f"process a prompt of {tokens} tokens"
    return Benchmark(name=f"prompt-{tokens}", prompt_tokens=tokens, description=text)


def _generate(tokens: int) -> Benchmark:
    text = f"generate {tokens} tokens after a prompt of 16"
    return Benchmark(name=f"generate-{tokens}", prompt_tokens=16, generate_tokens=tokens, description=text)


STANDARD = (*map(_prompt, (32, 128, 512)), *map(_generate, (32, 128)))
"""What is measured unless other workloads are named."""

QUICK = (_prompt(128), _generate(32))
"""What `--quick` measures."""


def known_workloads(plugins: PluginManager) -> dict[str, Benchmark]:
    """Every workload by name, modelplug's own first.

    What is no `Benchmark`, or has a name that is taken, is reported against its plugin and left out.

    Args:
        plugins: Whom to ask.
    """
    found = {workload.name: workload for workload in STANDARD}
    for result in plugins.call(HOOK):
        for workload in result.value:
            if not isinstance(workload, Benchmark):
                fault = f"it brings a benchmark of the type {type(workload).__name__}; it was left out"
                plugins.report_problem(result.plugin, fault, "return modelplug.Benchmark objects")
            elif workload.name in found:
                fault = (
                    f"it brings a benchmark named {workload.name!r}, which there is already; it was left out"
                )
                plugins.report_problem(result.plugin, fault, "rename the benchmark in the plugin")
            else:
                found[workload.name] = workload
    return found


def choose_workloads(names: Sequence[str], plugins: PluginManager, *, quick: bool) -> tuple[Benchmark, ...]:
    """The workloads of these names; without any, the standard ones.

    Args:
        names: What the user named.
        plugins: Asked where a name is given.
        quick: Whether the standard ones are the few of a quick benchmark.

    Raises:
        UsageError: There is no such workload.
    """
    if not names:
        return QUICK if quick else STANDARD
    known = known_workloads(plugins)
    for name in names:
        if name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"there is no workload named {name!r}",
                why=f"did you mean {near[0]!r}?" if near else f"the known ones are {', '.join(known)}",
                advice="`modelplug bench --list` shows them all.",
            )
    return tuple(known[name] for name in dict.fromkeys(names))
