"""Suggestions about the size of the context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug.history.insights.evidence import Evidence, Suggestion, grouped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.history.records import RunRecord

__all__ = ["context_too_large", "context_too_small"]

ENOUGH_RUNS = 10
LOOKED_AT = 100
SMALLEST_CONTEXT = 2048
TOO_LARGE = 4
WORTH_SAVING = 64 * 1024 * 1024
FILLED_RUNS = 2


def context_too_small(evidence: Evidence) -> Iterator[Suggestion]:
    """Engines whose context was full before the model had ended, where the model could do with more."""
    for backend, runs in grouped(evidence.used, lambda run: run.backend).items():
        full = [run for run in runs[:LOOKED_AT] if run.finish_reason == "length" and _is_full(run)]
        longest = max((_trained_for(evidence, run) for run in full), default=0)
        size = max((run.context_size or 0 for run in full), default=0)
        if len(full) < FILLED_RUNS or longest <= size:
            continue
        wanted = min(2 * size, longest)
        yield Suggestion(
            kind="context",
            text=f"{len(full)} runs on {backend} ended because the context of {size} tokens was full.",
            advice=f"Set backends.{backend}.context_size to {wanted}, if memory allows.",
            changes={f"backends.{backend}.context_size": wanted},
            runs=tuple(run.id for run in full),
        )


def context_too_large(evidence: Evidence) -> Iterator[Suggestion]:
    """Engines whose context is several times what was ever needed, and takes memory for nothing."""
    for backend, every in grouped(evidence.used, lambda run: run.backend).items():
        runs = [run for run in every[:LOOKED_AT] if run.context_size and run.prompt_tokens is not None]
        if len(runs) < ENOUGH_RUNS:
            continue
        needed = max(_tokens(run) for run in runs)
        size = min(run.context_size or 0 for run in runs)
        wanted = max(SMALLEST_CONTEXT, 1 << (2 * needed - 1).bit_length())
        saved = max((size - wanted) * (run.cache_bytes or 0) for run in runs)
        if size < TOO_LARGE * wanted or saved < WORTH_SAVING:
            continue
        yield Suggestion(
            kind="context",
            text=(
                f"The longest of {len(runs)} runs on {backend} took {needed} tokens of a context that holds "
                f"{size}."
            ),
            advice=(
                f"Set backends.{backend}.context_size to {wanted}, which needs up to "
                f"{saved / 2**20:,.0f} MiB less memory."
            ),
            changes={f"backends.{backend}.context_size": wanted},
            runs=tuple(run.id for run in runs),
        )


def _tokens(run: RunRecord) -> int:
    return (run.prompt_tokens or 0) + (run.completion_tokens or 0)


def _is_full(run: RunRecord) -> bool:
    # Some engines stop one token before the end.
    return bool(run.context_size) and _tokens(run) >= (run.context_size or 0) - 1


def _trained_for(evidence: Evidence, run: RunRecord) -> int:
    seen = evidence.seen.get(run.fingerprint)
    length = seen.metadata.get("context_length") if seen is not None else None
    return length if isinstance(length, int) else 0
