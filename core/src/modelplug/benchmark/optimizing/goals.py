"""What settings can be searched for: the figure that counts, and the sizes it is measured at."""

from __future__ import annotations

import attrs

from modelplug.benchmark.workload import Benchmark
from modelplug.errors import UsageError

__all__ = [
    "GENERATION",
    "GOALS",
    "MEMORY",
    "PROMPT",
    "Workloads",
    "checked_goal",
    "choose_sizes",
    "pilot_sizes",
]

GENERATION, PROMPT, MEMORY = "generation", "prompt", "memory"
GOALS = {
    GENERATION: "the speed of generating",
    PROMPT: "the speed of processing prompts",
    MEMORY: "main memory",
}
"""Each goal, and what it is for people."""

LEAST_GENERATED, MOST_GENERATED = 8, 16
LEAST_PROMPT, USUAL_PROMPT, MOST_PROMPT = 32, 128, 512
_START = 16
# A request should take about this part of the budget: it is repeated within a round, and rounds are many.
_REQUEST_SHARE = 1 / 100


@attrs.frozen(kw_only=True)
class Workloads:
    """What is measured for a goal.

    Attributes:
        figure: The name of the figure that counts.
        search: What is measured while searching: what the figure takes.
        confirm: What is measured to confirm: the other figures too, to see what a gain costs.
    """

    figure: str
    search: tuple[Benchmark, ...]
    confirm: tuple[Benchmark, ...]


def checked_goal(goal: str) -> str:
    """The goal itself.

    Raises:
        UsageError: There is no such goal.
    """
    if goal not in GOALS:
        raise UsageError(
            f"there is no goal {goal!r}",
            why=f"the goals are {', '.join(GOALS)}",
            advice=f"For example: goal={GENERATION!r}, or --goal {GENERATION}.",
        )
    return goal


def pilot_sizes(goal: str, *, context: int) -> Workloads:
    """What to measure first, to learn how fast the model is at all: the smallest sizes.

    Args:
        goal: A goal.
        context: Tokens of the smallest context that is tried.
    """
    return _workloads(goal, LEAST_GENERATED, LEAST_PROMPT, context)


def choose_sizes(
    goal: str, *, context: int, generation: float | None, prompt: float | None, budget: float
) -> Workloads:
    """What to measure, small enough for the context and for the time.

    Args:
        goal: A goal.
        context: Tokens of the smallest context that is tried.
        generation: Tokens per second of generation; None if unknown.
        prompt: The same for prompts.
        budget: Seconds for the whole search.
    """
    seconds = budget * _REQUEST_SHARE
    most_prompt = MOST_PROMPT if goal == PROMPT else USUAL_PROMPT
    generated = LEAST_GENERATED if generation is None else int(generation * seconds)
    prompted = LEAST_PROMPT if prompt is None else int(prompt * seconds)
    return _workloads(
        goal,
        max(LEAST_GENERATED, min(MOST_GENERATED, generated)),
        max(LEAST_PROMPT, min(most_prompt, prompted)),
        context,
    )


def _workloads(goal: str, generated: int, prompt: int, context: int) -> Workloads:
    # Both leave room for the token that every request generates.
    prompt = max(1, min(prompt, context - 1))
    start = max(1, min(_START, context - generated))
    generated = max(2, min(generated, context - start))
    generating = Benchmark(name=f"generate-{generated}", prompt_tokens=start, generate_tokens=generated)
    prompting = Benchmark(name=f"prompt-{prompt}", prompt_tokens=prompt)
    both = (prompting, generating)
    search = {GENERATION: (generating,), PROMPT: (prompting,), MEMORY: both}[goal]
    figure = {GENERATION: generating.name, PROMPT: prompting.name, MEMORY: "memory"}[goal]
    return Workloads(figure=figure, search=search, confirm=both)
