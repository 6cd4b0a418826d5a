"""Known models and earlier runs: always there to ask, never a reason for a program to fail."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from modelplug.errors import UsageError
from modelplug.history.evidence import EvidenceStore, in_transaction
from modelplug.history.imports import replace_imported
from modelplug.history.models import MODELS, SEEN, facts_of, keep_seen, seen_model
from modelplug.history.records import RESERVED_NAMES, KnownModel, RunRecord, SeenModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug.formats.model_info import ModelInfo

__all__ = ["RESERVED_NAMES", "HistoryStore", "check_name"]


class HistoryStore(EvidenceStore):
    """The models, runs, benchmarks and failures in one database, opened when first used.

    Several processes and threads may use the same file at once. Where it can't be used (a read-only folder, a
    full disk), recording does nothing and asking finds nothing, and that is said once. A damaged file is
    renamed, and a new one begun with what can be saved of it.

    Args:
        path: The database.
        paths: Where warnings are logged; None asks the environment.
    """

    # Models by name -----------------------------------------------------------------------------------

    def add_model(
        self, name: str, path: Path, info: ModelInfo | None = None, *, source: str = ""
    ) -> KnownModel:
        """Give a model a name; a name that exists gets the new model.

        Args:
            name: What to call it.
            path: Its file or directory.
            info: What inspection found.
            source: The program in whose folder it was found; empty if the user names it.

        Raises:
            UsageError: The name is reserved, or looks like a path.
            ModelplugError: It can't be kept.
        """
        check_name(name)
        where = Path(path).expanduser().absolute()
        known = KnownModel(name=name, path=where, source=source, **facts_of(info))
        self.must(
            lambda c: MODELS.insert(c, known, key="name", keep=["added"]), f"the name {name} can't be kept"
        )
        return self.find_model(name) or known

    def models(self) -> list[KnownModel]:
        """Every named model, by name."""
        none: list[KnownModel] = []
        return self.do(lambda c: MODELS.select(c, order="name COLLATE NOCASE"), otherwise=none)

    def find_model(self, name: str) -> KnownModel | None:
        """The model of that name, or None."""
        none: list[KnownModel] = []
        found = self.do(lambda c: MODELS.select(c, {"name": name}), otherwise=none)
        return found[0] if found else None

    def remove_model(self, name: str) -> bool:
        """Forget a name; the model's file and its runs stay.

        Returns:
            Whether there was such a name.
        """
        return self.do(lambda c: MODELS.delete(c, {"name": name}) > 0, otherwise=False, writes=True)

    def nearest_names(self, name: str) -> list[str]:
        """The names most like `name`, best first, at most three."""
        return difflib.get_close_matches(name, [model.name for model in self.models()], n=3, cutoff=0.5)

    # Models by content --------------------------------------------------------------------------------

    def saw(self, info: ModelInfo) -> list[tuple[KnownModel, Path]]:
        """Remember where a model is; names that lead to where it no longer is are given the new path.

        Args:
            info: What inspection found.

        Returns:
            Each name that was given the new path, as it is now, with the old path.
        """
        none: list[tuple[KnownModel, Path]] = []
        if not info.fingerprint:
            return none
        keep = in_transaction(lambda c: keep_seen(c, seen_model(info)))
        return self.do(keep, otherwise=none, writes=True)

    def seen(self) -> dict[str, SeenModel]:
        """Every model that was ever run or found here, by its fingerprint."""
        none: list[SeenModel] = []
        return {model.fingerprint: model for model in self.do(SEEN.select, otherwise=none)}

    # What migrations bring ----------------------------------------------------------------------------

    def add_imported(
        self, origin: str, *, models: Iterable[KnownModel] = (), runs: Iterable[RunRecord] = ()
    ) -> None:
        """Keep what was known elsewhere, all of it or nothing; doing it again changes nothing.

        A model whose path has a name already is left alone, and a name that is taken gets a number.

        Args:
            origin: The migration that brings it; not empty.
            models: Named models.
            runs: Earlier runs.

        Raises:
            ModelplugError: It can't be kept.
        """
        new_models = [attrs.evolve(model, origin=origin) for model in models]
        new_runs = [attrs.evolve(run, origin=origin) for run in runs]
        self.must(
            in_transaction(lambda c: replace_imported(c, origin, new_models, new_runs)),
            "the history of another program can't be kept",
        )

    def remove_imported(self, origin: str) -> None:
        """Forget what `add_imported` kept; what a user has changed since stays.

        Raises:
            ModelplugError: It can't be removed.
        """
        self.must(
            in_transaction(lambda c: replace_imported(c, origin, [], [])),
            "what a migration brought can't be removed from the history",
        )


def check_name(name: str) -> None:
    """Make sure that a model can be called this.

    Raises:
        UsageError: The name is reserved, or could be taken for an option or a path.
    """
    if name in RESERVED_NAMES:
        raise UsageError(
            f"the name {name} is taken", why="modelplug itself uses it", advice="choose another name"
        )
    if not name or name != name.strip() or any(mark in name for mark in "/\\\0\n") or name.startswith("-"):
        raise UsageError(
            f"{name!r} can't be the name of a model",
            why="a name is not empty, does not begin with a hyphen, and holds no slash",
            advice="choose a name such as llama-3-8b",
        )
