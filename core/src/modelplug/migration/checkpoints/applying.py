"""Carries out the builds of a plan, and makes sure of them, before anything is put in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug.errors import MigrationError, StaleFileError, StepFailedError
from modelplug.migration.candidates import Candidate
from modelplug.migration.checkpoints.building import Building, refuse_changed
from modelplug.migration.checkpoints.kind import format_of_family
from modelplug.migration.checkpoints.verifying import verify_account
from modelplug.migration.detection import Wishes, detect
from modelplug.migration.steps import Confidence, Detection, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from modelplug.migration.checkpoints.editor import CheckpointEditor
    from modelplug.migration.plan import FilePlan
    from modelplug.migration.planning import Planner
    from modelplug.migration.steps import Family
    from modelplug.migration.versions import Version

__all__ = ["Builder"]


@attrs.frozen(kw_only=True)
class Builder:
    """Makes the results of planned builds, aside.

    Args:
        planner: Takes checkpoints through their steps again, exactly as they were planned.
        options: What the user decided.
        log: Told of what was read and written.
    """

    planner: Planner
    options: Mapping[str, str]
    log: Callable[..., object]

    def build_all(
        self, files: Iterable[FilePlan], made: ExitStack, *, verify: bool, reference: Path | None
    ) -> tuple[list[Building], tuple[str, ...]]:
        """Make the results of several plans.

        Args:
            files: The plans.
            made: Removes, when it is closed, what was not put in place.
            verify: Whether every tensor is hashed, and every result compared with its source, both read anew.
            reference: Inputs and outputs that each result is to reproduce; None for none.

        Returns:
            The results, and what was made sure of, one sentence each.

        Raises:
            StaleFileError: A checkpoint is not the one that was planned for.
            MigrationError: A result can't be made, or is not what it should be.
        """
        buildings: list[Building] = []
        assured: list[str] = []
        for file in files:
            assert file.build is not None
            if any(other.plan.path == file.build.path for other in buildings):
                raise MigrationError(
                    f"two checkpoints would become {file.build.path}",
                    why=f"one of them is {file.given_as}",
                    advice="Rename one of them, and plan again.",
                )
            building = made.enter_context(Building(file.build))
            editor = self._build(file, building, each_tensor=verify)
            assured += self._made_sure(file, editor, building.result, verify=verify, reference=reference)
            buildings.append(building)
        return buildings, tuple(assured)

    def _build(self, file: FilePlan, building: Building, *, each_tensor: bool) -> CheckpointEditor:
        """Make one result, and recognise it."""
        refuse_changed(building.plan)
        family = self.planner.graph.family(file.family)
        target = _version(family, file.target)
        editor = self._work(file, family, target)
        receipt = building.write(editor, each_tensor=each_tensor)
        refuse_changed(building.plan)
        self.log(
            "built",
            path=str(building.plan.path),
            sources={str(path): found.sha256 for path, found in receipt.sources.items()},
            files={name: found.sha256 for name, found in receipt.files.items()},
        )
        self._recognise(file, building.result, target)
        return editor

    def _work(self, file: FilePlan, family: Family, target: Version) -> CheckpointEditor:
        """Take the checkpoint through its steps again."""
        detection = Detection(
            family=family.name,
            kind=Kind.CHECKPOINT,
            version=_version(family, file.source),
            confidence=Confidence.CERTAIN,
            evidence=file.evidence,
        )
        candidate = Candidate(file.path, given_as=file.given_as)
        options = {name: value for name, value in self.options.items() if name in family.options}
        _, artifact = self.planner.work_on(candidate, detection, target, options)
        editor: CheckpointEditor = artifact
        if editor.build is None or editor.account() != file.account:
            raise StaleFileError(
                f"{file.given_as} would not become what was planned",
                stale={file.path: (None, None)},
                why="the plugin that migrates it is another one than when the plan was made",
                advice="plan again, and apply the new plan",
            )
        return editor

    def _recognise(self, file: FilePlan, result: Path, target: Version) -> None:
        wishes = Wishes(family=file.family, kind=Kind.CHECKPOINT)
        seen = detect(Candidate(result), self.planner.graph, wishes)
        if seen is None or seen.version != target:
            raise StepFailedError(
                f"the result for {file.given_as} is not recognised as version {target}",
                path=file.path,
                step=f"{file.source} -> {file.target}",
                plugin=file.steps[-1].plugin if file.steps else "",
                why=f"{file.family} takes it for {seen.version if seen else 'nothing it knows'}",
                advice="Report it to the authors of the plugin; nothing was put in place.",
            )

    def _made_sure(
        self, file: FilePlan, editor: CheckpointEditor, result: Path, *, verify: bool, reference: Path | None
    ) -> Iterator[str]:
        how = format_of_family(self.planner.graph.family(file.family))
        if verify:
            yield verify_account(file.path, editor.fates, how.open(file.path), how.open(result))
        if reference is not None:
            yield how.compare(result, reference)


def _version(family: Family, name: str) -> Version:
    versions = family.find_versions(name)
    if not versions:
        raise MigrationError(
            f"{family.name} has no version {name!r}",
            why="the plan was made with another plugin",
            advice="plan again, and apply the new plan",
        )
    return versions[-1]
