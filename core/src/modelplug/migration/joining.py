"""Joins what the files of a plan ask for into one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from modelplug.errors import MigrationError
from modelplug.migration.effects import HISTORY, effect_name
from modelplug.migration.plan import sha256
from modelplug.migration.transactions import Effect, FileChange

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from modelplug.migration.plan import EffectPlan, FilePlan, Plan

__all__ = ["describe_plan", "digest_of_effect", "join_changes", "join_effects", "join_notes", "unique"]


def join_changes(files: tuple[FilePlan, ...]) -> list[FileChange]:
    """Every file that changes, once; two that would write one file differently are refused."""
    changes: dict[Path, FileChange] = {}
    for file in files:
        for change in file.changes:
            known = changes.get(change.path)
            if known is not None and known.after != change.after:
                raise MigrationError(
                    f"two parts of the plan would write {change.path}, each in its own way",
                    why=f"one of them is {file.given_as}",
                    advice="Migrate them one after the other.",
                )
            changes[change.path] = FileChange(path=change.path, before=change.before, after=change.after)
    return list(changes.values())


def join_effects(files: tuple[FilePlan, ...]) -> list[Effect]:
    """The effects of all files; those on the history become one, which is made and undone as a whole."""
    history: dict[str, list[Any]] = {}
    others: list[Effect] = []
    for file in files:
        for effect in file.effects:
            if effect.family or effect.kind.partition(".")[0] != HISTORY:
                others.append(Effect(kind=effect_name(effect.kind, effect.family), payload=effect.payload))
                continue
            for name, entries in effect.payload.items():
                history.setdefault(name, []).extend(entries)
    return [*([Effect(kind=HISTORY, payload=history)] if history else []), *others]


def join_notes(files: tuple[FilePlan, ...]) -> dict[str, bytes]:
    """Further content of the backup by name; equal names are told apart by a number."""
    notes: dict[str, bytes] = {}
    for number, file in enumerate(files, 1):
        for name, data in file.notes.items():
            notes[name if name not in notes else f"{number}-{name}"] = data
    return notes


def digest_of_effect(effect: EffectPlan) -> str:
    """By what an effect is known to be the same."""
    return sha256(json.dumps([effect.family, effect.kind, effect.payload], sort_keys=True).encode())


def unique(paths: Iterable[Path]) -> list[Path]:
    """Every path once, in order."""
    return list(dict.fromkeys(paths))


def describe_plan(plan: Plan, files: tuple[FilePlan, ...]) -> dict[str, Any]:
    """What the history says of a migration."""

    def joined(values: Iterable[str]) -> str:
        return ", ".join(dict.fromkeys(values))

    return {
        "title": f"{joined(f.source for f in files)} -> {joined(f.target for f in files)}",
        "family": joined(f.family for f in files),
        "kind": joined(f.kind for f in files),
        "planned": plan.created,
        "program": plan.program,
        "options": plan.options,
        "sources": [str(file.path) for file in files],
        "effects": [digest_of_effect(effect) for file in files for effect in file.effects],
    }
