"""Plans, applies and undoes migrations: the one place where graph, planner, transactions and log meet."""

from __future__ import annotations

import contextlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from modelplug.atomic import write_atomically
from modelplug.errors import MigrationError, ModelplugError, StepFailedError, UnknownArtifactError
from modelplug.logs import MIGRATION_LOG_NAME, get_logger
from modelplug.migration.account import counted
from modelplug.migration.candidates import Candidate
from modelplug.migration.detection import Wishes, detect
from modelplug.migration.effects import handlers
from modelplug.migration.joining import (
    describe_plan,
    digest_of_effect,
    join_changes,
    join_effects,
    join_notes,
    unique,
)
from modelplug.migration.plan import FilePlan, Plan, sha256
from modelplug.migration.planning import Planner
from modelplug.migration.registry import load_graph
from modelplug.migration.transactions import Effect, FileChange, TransactionStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from modelplug.formats.model_info import ModelInfo
    from modelplug.logs import Logger
    from modelplug.migration.checkpoints.building import Building
    from modelplug.migration.graph import MigrationGraph
    from modelplug.migration.transactions import RecoveryReport, RollbackReport, TransactionRecord
    from modelplug.runtime import Runtime

__all__ = ["Applied", "Migrator", "read_plan"]


@attrs.frozen(kw_only=True)
class Applied:
    """What applying a plan did.

    Attributes:
        transaction: The transaction; None if there was nothing to do.
        files: The files and folders that were migrated.
        assured: What was made sure of besides, one sentence each.
    """

    transaction: TransactionRecord | None
    files: tuple[FilePlan, ...]
    assured: tuple[str, ...] = ()


class Migrator:
    """Migrations of one user: what can be migrated, what was, and the way back.

    Args:
        runtime: Directories, plugins and history.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    @cached_property
    def log(self) -> Logger:
        """Where every decision is written."""
        return get_logger("migration", paths=self.runtime.paths, quiet=True, file=MIGRATION_LOG_NAME)

    @cached_property
    def graph(self) -> MigrationGraph:
        """The families and steps of all plugins."""
        return load_graph(self.runtime.plugins)

    @cached_property
    def store(self) -> TransactionStore:
        """The transactions and their backups."""
        return TransactionStore(
            self.runtime.paths.data / "migrations",
            handlers=handlers(self.runtime.history, self.graph),
            log=self.log.info,
        )

    # Planning -----------------------------------------------------------------------------------------

    def homes(self) -> tuple[Path, ...]:
        """The old installations of this user, of any family; this program's own home is none."""
        home = Path.home()
        found: dict[Path, None] = {}
        for family in self.graph.families:
            for folder in family.homes(home, os.environ) if family.homes else ():
                if folder.is_dir() and not self._is_own(folder):
                    found[Path(os.path.realpath(folder))] = None
        return tuple(found)

    def _is_own(self, folder: Path) -> bool:
        paths = self.runtime.paths
        return os.path.realpath(folder) in {os.path.realpath(own) for own in (paths.config, paths.data)}

    def plan(self, paths: Iterable[Path], wishes: Wishes | None = None) -> Plan:
        """What would become of files and folders; nothing is written but the log.

        Args:
            paths: Files and folders.
            wishes: What the user said.

        Raises:
            MigrationError: A path does not exist, or a family that was named.
        """
        planner = Planner(self.graph, self.runtime.paths, inspect=self.inspect)
        plan = self._without_done_effects(planner.plan(paths, wishes))
        for file in plan.files:
            if file.status in ("migrate", "refused"):
                self._log_plan("planned" if file.status == "migrate" else "refused", file)
        return plan

    def _without_done_effects(self, plan: Plan) -> Plan:
        """The plan without effects that a migration in force has made already."""
        if not any(file.effects for file in plan.files):
            return plan
        done = {
            digest
            for record in self.history()
            if record.state == "committed"
            for digest in record.meta.get("effects", ())
        }
        files = []
        for file in plan.files:
            effects = tuple(effect for effect in file.effects if digest_of_effect(effect) not in done)
            settled = file.status == "migrate" and not effects and not file.changes
            files.append(
                attrs.evolve(file, effects=effects, status="current" if settled else file.status)
                if file.effects
                else file
            )
        return attrs.evolve(plan, files=tuple(files))

    def inspect(self, path: str) -> ModelInfo | None:
        """What a model file is; None if there is none, or it is none."""
        from modelplug.backends.api import inspect

        try:
            return inspect(Path(path).expanduser(), runtime=self.runtime)
        except (ModelplugError, OSError, ValueError, RuntimeError):
            # Old files hold any text as a path: with a NUL in it, or of a user that does not exist.
            return None

    # Applying -----------------------------------------------------------------------------------------

    def apply(self, plan: Plan, *, verify: bool = False, reference: Path | None = None) -> Applied:
        """Do exactly what a plan says, all of it or nothing.

        Every file is checked against the plan before the first is touched, backed up, replaced, read again
        and recognised as what it should be. What is too large for memory is written aside before.

        Args:
            plan: The plan, fresh or read from a file.
            verify: Whether migrated checkpoints are compared with the old ones to the byte, tensor by tensor.
            reference: Inputs and outputs that the one migrated checkpoint is to reproduce.

        Raises:
            MigrationError: A file has changed since, can't be written, or is not what it should be; then
                everything is as it was.
        """
        files = plan.with_status("migrate")
        changes = join_changes(files)
        effects = join_effects(files)
        builds = [file for file in files if file.build is not None]
        if reference is not None and len(builds) != 1:
            raise MigrationError(
                "a reference belongs to one checkpoint",
                why=f"the plan migrates {counted(len(builds), 'checkpoint')}",
                advice="Migrate that checkpoint by itself.",
            )
        if not changes and not effects and not builds:
            return Applied(transaction=None, files=())
        self.store.refuse_unfinished()
        with contextlib.ExitStack() as made:
            buildings: list[Building] = []
            assured: tuple[str, ...] = ()
            if builds:
                from modelplug.migration.checkpoints.applying import Builder

                planner = Planner(self.graph, self.runtime.paths, inspect=self.inspect)
                builder = Builder(planner=planner, options=plan.options, log=self.log.info)
                buildings, assured = builder.build_all(builds, made, verify=verify, reference=reference)
            record = self._transact(plan, files, changes, effects, buildings)
        for file in files:
            self.log.info(
                "applied",
                path=str(file.path),
                family=file.family,
                target=file.target,
                counts=file.account.counts(),
                transaction=record.id if record else "",
            )
        return Applied(transaction=record, files=files, assured=assured)

    def _transact(
        self,
        plan: Plan,
        files: tuple[FilePlan, ...],
        changes: list[FileChange],
        effects: list[Effect],
        buildings: list[Building],
    ) -> TransactionRecord | None:
        record = self.store.apply(
            changes,
            moves=[move for building in buildings for move in building.moves()],
            references=unique(path for file in files for path in file.references),
            copies=unique(path for file in files for path in file.copies),
            notes=join_notes(files),
            effects=effects,
            meta=describe_plan(plan, files),
        )
        if record is not None:
            self._verify(record, files)
        return record

    def _verify(self, record: TransactionRecord, files: tuple[FilePlan, ...]) -> None:
        """Look at what was written as a second run would; anything unexpected is undone at once."""
        for file in files:
            if file.kind != "config" or not file.changes:
                continue
            wishes = Wishes(family=file.family)
            seen = detect(Candidate(file.path), self.graph, wishes)
            family = self.graph.family(file.family)
            if seen is not None and family.name_of(seen.version) == file.target:
                continue
            self.store.rollback(record.id)
            raise StepFailedError(
                f"{file.path} is not what it should be after the migration",
                path=file.path,
                step=f"{file.source} -> {file.target}",
                why="it is not recognised as " + file.target,
                advice="Everything was put back. Report it to the authors of the plugin.",
            )

    # Afterwards ---------------------------------------------------------------------------------------

    def history(self) -> list[TransactionRecord]:
        """Every transaction, newest first."""
        return self.store.history()

    def rollback(
        self, transaction: str | None = None, *, rehearse: Path | None = None, discard_edits: bool = False
    ) -> RollbackReport:
        """Bring back the bytes that were there before a transaction.

        Args:
            transaction: Its id; None takes the newest that is no rollback itself.
            rehearse: A folder to restore into instead; nothing else is touched.
            discard_edits: Whether files that were edited since are restored too.

        Raises:
            MigrationError: The backup is damaged, or a file was edited since.
        """
        return self.store.rollback(transaction, rehearse=rehearse, discard_edits=discard_edits)

    def rollback_settings(
        self, transaction: str | None = None, *, rehearse: Path | None = None
    ) -> TransactionRecord | None:
        """Bring back the settings file alone; whatever else a migration brought stays.

        It is a transaction of its own, with a backup of what stands there now.

        Args:
            transaction: The migration; None takes the latest in force that changed the settings.
            rehearse: A folder to restore into instead; nothing else is touched.

        Returns:
            The transaction; None if it was a rehearsal, or the settings are what they were already.

        Raises:
            MigrationError: No migration changed the settings, or the backup is damaged.
        """
        target = Path(os.path.realpath(self.runtime.paths.config_file))
        chosen = transaction or self._latest_change_of(target)
        before = self.store.before(chosen, target)
        if rehearse is not None:
            if before is not None:
                write_atomically(rehearse / target.name, before, mode=0o600)
            return None
        now = target.read_bytes() if target.exists() else None
        change = FileChange(path=target, before=None if now is None else sha256(now), after=before)
        title = f"settings as before {chosen}"
        return self.store.apply([change], meta={"title": title, "family": "modelplug", "kind": "config"})

    def _latest_change_of(self, path: Path) -> str:
        for record in self.history():
            is_migration = record.state == "committed" and record.rolls_back is None
            if is_migration and path in record.files and "sources" in record.meta:
                return record.id
        raise MigrationError(
            "no migration that is in force has changed the settings",
            why=f"none of them wrote {path}",
            advice="`modelplug migrate history` lists what was done",
        )

    def recover(self, transaction: str | None = None, *, keep_edits: bool = False) -> list[RecoveryReport]:
        """Finish or undo what was cut off.

        Args:
            transaction: Its id; None takes all.
            keep_edits: Whether to go on although files were edited since, leaving these alone.

        Raises:
            MigrationError: A file was edited since, and `keep_edits` is false.
        """
        return self.store.recover(transaction, keep_edits=keep_edits)

    def _log_plan(self, event: str, file: FilePlan) -> None:
        self.log.info(
            event,
            path=str(file.path),
            family=file.family,
            kind=file.kind,
            source=file.source,
            target=file.target,
            evidence=list(file.evidence),
            steps=[str(step) for step in file.steps],
            counts=file.account.counts(),
            keys=[key.to_dict() for key in file.account.keys if key.fate.value != "kept"],
            findings=[str(finding) for finding in file.findings],
            error=file.error["what"] if file.error else "",
        )


def read_plan(path: Path) -> Plan:
    """A plan that was saved.

    Raises:
        UnknownArtifactError: It can't be read, or is no plan.
    """
    try:
        return Plan.from_dict(json.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UnknownArtifactError(
            f"{path} can't be used as a plan",
            path=path,
            why=str(why),
            advice="`modelplug migrate plan PATH --save FILE` writes one.",
        ) from error
