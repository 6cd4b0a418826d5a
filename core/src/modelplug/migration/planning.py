"""Works out what a migration would do, and writes nothing."""

from __future__ import annotations

import datetime
import difflib
import inspect as introspection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug._version import __version__
from modelplug.errors import AmbiguousKindError, MigrationError, StepFailedError, UnknownArtifactError
from modelplug.migration.account import Severity
from modelplug.migration.candidates import Candidate, collect
from modelplug.migration.detection import Wishes, detect, refuse_future
from modelplug.migration.kinds import KINDS, Outcome
from modelplug.migration.left_alone import explain, is_called_a_checkpoint
from modelplug.migration.plan import FilePlan, Plan, PlannedChange, StepUse, sha256
from modelplug.migration.steps import Detection, Family, Kind, StepContext
from modelplug.migration.workers import plan_candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modelplug.formats.model_info import ModelInfo
    from modelplug.migration.graph import MigrationGraph, Step
    from modelplug.migration.versions import Version
    from modelplug.paths import Paths

__all__ = ["Planner"]


def _no_model(_path: str) -> ModelInfo | None:
    return None


class Planner:
    """Plans migrations.

    Args:
        graph: The families and steps there are.
        paths: This program's own folders: what homes are migrated into, and never a source.
        inspect: Looks at a model file; gives None for what is none.
    """

    def __init__(
        self,
        graph: MigrationGraph,
        paths: Paths,
        *,
        inspect: Callable[[str], ModelInfo | None] = _no_model,
    ) -> None:
        self.graph = graph
        self.paths = paths
        self.inspect = inspect

    def plan(self, paths: Iterable[Path], wishes: Wishes | None = None) -> Plan:
        """What would become of everything under the paths.

        A file named by the user that is of no family is listed as unknown, or refused where a family knows
        what it is instead. Below a folder such files are passed over, but for those that are called like
        checkpoints, of which the plan says why they are left alone. A file that can't be migrated is
        listed as refused, and does not keep others from it.

        Args:
            paths: Files and folders.
            wishes: What the user said.

        Raises:
            UnknownArtifactError: A path does not exist.
            UnknownFamilyError: The family named does not exist.
        """
        wishes = wishes or Wishes()
        given = [Path(path) for path in paths]
        if wishes.family:
            self.graph.family(wishes.family)
        own = (self.paths.data / "migrations",)
        found = collect(given, own=own, is_whole=lambda folder: self._is_whole(folder, given, wishes))
        for missing in found.missing:
            raise UnknownArtifactError(
                f"there is no {missing}", path=missing, advice="Check the spelling of the path."
            )
        named = {candidate.path for candidate in found.candidates if candidate.given_as in given}
        files, left_alone = [], []
        plans = plan_candidates(self, found.candidates, wishes)
        for candidate, file in zip(found.candidates, plans, strict=True):
            if file.status == "unknown" and candidate.path in named:
                file = self._foreign(candidate, file)
            if file.status != "unknown" or candidate.path in named:
                files.append(file)
            elif is_called_a_checkpoint(candidate) and self._takes_checkpoints(wishes):
                left_alone.append(explain(candidate))
        files += [_unreadable(path, why) for path, why in found.unreadable.items()]
        return Plan(
            files=tuple(files),
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            program=__version__,
            options=dict(wishes.options),
            aliases={str(alias): str(real) for alias, real in found.aliases.items()},
            left_alone=tuple(left_alone),
        )

    def plan_candidate(self, candidate: Candidate, wishes: Wishes) -> FilePlan:
        """What would become of one file or folder; a refusal is a result too."""
        detection: Detection | None = None
        try:
            detection = detect(candidate, self.graph, wishes)
            if detection is None:
                return FilePlan(path=candidate.path, given_as=candidate.given_as, status="unknown")
            return self._plan_detected(candidate, detection, wishes)
        except MigrationError as error:
            return self._refused(candidate, detection, error)
        except OSError as error:
            failure = MigrationError(
                f"{candidate.given_as} can't be read",
                why=error.strerror or str(error),
                advice="Make it readable, or leave it out.",
            )
            return self._refused(candidate, detection, failure)

    def run_steps(
        self, candidate: Candidate, detection: Detection, target: Version, options: dict[str, str]
    ) -> tuple[tuple[Step, ...], Outcome]:
        """Take one candidate through its steps, and say what comes of it; the arguments are `work_on`'s."""
        path, artifact = self.work_on(candidate, detection, target, options)
        with _blamed_on(path[-1] if path else None, candidate, "the last step"):
            return path, KINDS[detection.kind].finish(artifact, candidate)

    def work_on(
        self, candidate: Candidate, detection: Detection, target: Version, options: dict[str, str]
    ) -> tuple[tuple[Step, ...], Any]:
        """Take one candidate through its steps, in memory.

        Args:
            candidate: The file or folder.
            detection: What it is.
            target: The version wanted.
            options: What the user decided.

        Raises:
            MigrationError: There is no way, or a step fails.
        """
        family = self.graph.family(detection.family)
        path = self.graph.path(family.name, detection.kind, detection.version, target)
        kind = KINDS[detection.kind]
        context = StepContext(
            path=candidate.path,
            options=options,
            inspect=self.inspect,
            read=partial(_read_beside, candidate.path),
        )
        artifact = kind.begin(candidate, family, self)
        for step in path:
            name = f"{family.name_of(step.source)} -> {family.name_of(step.target)}"
            artifact.begin_step(name)
            work = step.migration().downgrade if step.backward else step.migration().upgrade
            with _blamed_on(step, candidate, name):
                work(artifact, context)
        return path, artifact

    # One candidate ------------------------------------------------------------------------------------

    def _foreign(self, candidate: Candidate, file: FilePlan) -> FilePlan:
        """The refusal of a file that a family knows and does not migrate; else the plan as it is."""
        for family in self.graph.families:
            what = family.foreign(candidate) if family.foreign else ""
            if what:
                failure = MigrationError(
                    f"{candidate.given_as} is {what}",
                    why=f"there is nothing in it that {family.name} would migrate",
                    advice="Leave it as it is.",
                )
                return attrs.evolve(file, status="refused", error=failure.to_dict())
        return file

    def _takes_checkpoints(self, wishes: Wishes) -> bool:
        """Whether any step that is wished for is one of checkpoints."""
        names = [wishes.family] if wishes.family else [family.name for family in self.graph.families]
        return wishes.kind in (None, Kind.CHECKPOINT) and any(
            Kind.CHECKPOINT in self.graph.kinds(name) for name in names
        )

    def _is_whole(self, folder: Candidate, given: list[Path], wishes: Wishes) -> bool:
        """Whether a folder is one artifact; a home is one only if it was named."""
        is_home = folder.given_as in given and self._is_home(folder, wishes)
        return is_home or self._is_checkpoint(folder, wishes)

    def _is_checkpoint(self, folder: Candidate, wishes: Wishes) -> bool:
        if wishes.kind not in (None, Kind.CHECKPOINT):
            return False
        wanted = attrs.evolve(wishes, family="", kind=Kind.CHECKPOINT, source="")
        try:
            return detect(folder, self.graph, wanted) is not None
        except AmbiguousKindError:
            return True
        except OSError:
            return False  # what can't be looked into is reported when it is walked

    def _is_home(self, folder: Candidate, wishes: Wishes) -> bool:
        if wishes.kind not in (None, Kind.HOME):
            return False
        try:
            detection = detect(folder, self.graph, attrs.evolve(wishes, kind=Kind.HOME, source=""))
        except AmbiguousKindError:
            return True
        except OSError:
            return False  # what can't be looked into is reported when it is walked
        except UnknownArtifactError:
            return wishes.kind is Kind.HOME
        return detection is not None or wishes.kind is Kind.HOME

    def _plan_detected(self, candidate: Candidate, detection: Detection, wishes: Wishes) -> FilePlan:
        family = self.graph.family(detection.family)
        refuse_future(family, detection.version)
        target = self._target(family, detection, wishes)
        base = self._describe(candidate, detection, target)
        if detection.version == target:
            return attrs.evolve(base, status="current")
        options = _known_options(family, wishes)
        steps, outcome = self.run_steps(candidate, detection, target, options)
        broken = [finding for finding in outcome.findings if finding.severity is Severity.ERROR]
        plan = attrs.evolve(
            base,
            status="refused" if broken else "migrate",
            steps=tuple(_use(family, step) for step in steps),
            changes=() if broken else _changes(candidate, outcome),
            account=outcome.account,
            findings=outcome.findings,
            copies=outcome.copies,
            references=outcome.references,
            notes=outcome.notes,
            effects=outcome.effects,
            build=None if broken else outcome.build,
        )
        if broken:
            failure = MigrationError(
                f"{candidate.given_as} can't be migrated as it is",
                why="; ".join(str(finding) for finding in broken),
                advice="Correct it, then plan again.",
            )
            return attrs.evolve(plan, error=failure.to_dict())
        self._check_result(plan, detection, target)
        return plan

    def _target(self, family: Family, detection: Detection, wishes: Wishes) -> Version:
        if not wishes.target:
            return family.current_version(detection.kind)
        versions = family.find_versions(wishes.target)
        if not versions:
            names = ", ".join(dict.fromkeys(entry.name for entry in family.versions))
            raise UnknownArtifactError(
                f"{family.name} has no version {wishes.target!r}",
                path=Path(),
                why=f"there are {names}",
                advice=f"`modelplug migrate explain {family.name}` shows them.",
            )
        # Of several layouts that share a label, the one that can be reached.
        for version in reversed(versions):
            try:
                self.graph.path(family.name, detection.kind, detection.version, version)
            except MigrationError:
                continue
            return version
        return versions[-1]

    def _check_result(self, plan: FilePlan, detection: Detection, target: Version) -> None:
        """Make sure that what was made is recognised as what it should be, or a second run would go wrong."""
        if detection.kind is not Kind.CONFIG or len(plan.changes) != 1 or plan.changes[0].after is None:
            return
        made = _Made(plan.path, plan.changes[0].after)
        again = detect(made, self.graph, Wishes(family=detection.family, kind=None))
        if again is not None and (again.kind, again.version) == (detection.kind, target):
            return
        seen = "nothing it knows" if again is None else f"a {again.kind.value} of version {again.version}"
        raise StepFailedError(
            f"the result for {plan.given_as} is not recognised as version {target}",
            path=plan.path,
            step=str(plan.steps[-1]),
            plugin=plan.steps[-1].plugin,
            why=f"{detection.family} takes it for {seen}",
            advice="Report it to the authors of the plugin; nothing was written.",
        )

    def _describe(self, candidate: Candidate, detection: Detection, target: Version) -> FilePlan:
        family = self.graph.family(detection.family)
        return FilePlan(
            path=candidate.path,
            given_as=candidate.given_as,
            status="migrate",
            family=family.name,
            kind=detection.kind.value,
            source=family.name_of(detection.version),
            target=family.name_of(target),
            confidence=detection.confidence.name.lower(),
            evidence=detection.evidence,
        )

    def _refused(self, candidate: Candidate, detection: Detection | None, error: MigrationError) -> FilePlan:
        base = FilePlan(path=candidate.path, given_as=candidate.given_as, status="refused")
        if detection is not None:
            base = attrs.evolve(self._describe(candidate, detection, detection.version), status="refused")
        return attrs.evolve(base, error=error.to_dict())


class _Made(Candidate):
    """A candidate that is only in memory yet."""

    def __init__(self, path: Path, data: bytes) -> None:
        super().__init__(path)
        self.__dict__.update(data=data, size=len(data), is_folder=False)

    def head(self, count: int) -> bytes:
        """The first bytes."""
        return self.data[:count]


class _blamed_on:  # noqa: N801  reads as a phrase
    """Turns whatever a step raises into an error that names the step and the plugin."""

    def __init__(self, step: Step | None, candidate: Candidate, name: str) -> None:
        self.step = step
        self.candidate = candidate
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, (MigrationError, OSError)):
            return
        plugin = self.step.migration.__module__ if self.step else ""
        raise StepFailedError(
            f"the step {self.name} failed on {self.candidate.given_as}",
            path=self.candidate.path,
            step=self.name,
            plugin=plugin,
            why=f"{type(error).__name__}: {error}",
            advice="Report it to the authors of the plugin; nothing was written.",
        ) from error


def _read_beside(path: Path, name: str) -> Any:
    """What a configuration holds that another one names; None where there is none."""
    other = Candidate(path.parent / name)
    try:
        return other.value
    except (OSError, ValueError):  # a name may be anything, a NUL in it included
        return None


def _known_options(family: Family, wishes: Wishes) -> dict[str, str]:
    """The options that are this family's; others may be meant for another one."""
    return {name: value for name, value in wishes.options.items() if name in family.options}


def _use(family: Family, step: Step) -> StepUse:
    module = introspection.getmodule(step.migration)
    return StepUse(
        source=family.name_of(step.source),
        target=family.name_of(step.target),
        summary=step.migration.summary(),
        plugin=module.__name__ if module else step.migration.__module__,
        backward=step.backward,
    )


def _changes(candidate: Candidate, outcome: Outcome) -> tuple[PlannedChange, ...]:
    changes = []
    for path, after in outcome.writes.items():
        # The candidate's own content is the one that the steps have seen, whatever stands there by now.
        before = candidate.data if path == candidate.path else _content(path)
        if before != after:
            digest = None if before is None else sha256(before)
            diff = unified_diff(path, before, after)
            changes.append(PlannedChange(path=path, before=digest, after=after, diff=diff))
    return tuple(changes)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def unified_diff(path: Path, before: bytes | None, after: bytes | None) -> str:
    """The difference as `diff -u` writes it; empty where either side is no text.

    Args:
        path: The file.
        before: Its content; None where there is none.
        after: Its new content; None where it goes.
    """
    try:
        old = (before or b"").decode("utf-8-sig").splitlines(keepends=True)
        new = (after or b"").decode("utf-8-sig").splitlines(keepends=True)
    except UnicodeDecodeError:
        return ""
    lines = difflib.unified_diff(
        old,
        new,
        fromfile="/dev/null" if before is None else str(path),
        tofile="/dev/null" if after is None else str(path),
    )
    # The format has no other way to show a last line without an end.
    open_end = "\n\\ No newline at end of file\n"
    return "".join(line if line.endswith(("\n", "\r")) else line + open_end for line in lines)


def _unreadable(path: Path, why: str) -> FilePlan:
    failure = MigrationError(f"{path} can't be read", why=why, advice="Make it readable, or leave it out.")
    return FilePlan(path=path, given_as=path, status="refused", error=failure.to_dict())
