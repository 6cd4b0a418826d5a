"""A small family of configurations, with three versions and steps in both directions: a plugin for tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from modelplug import hookimpl
from modelplug.migration.candidates import Candidate
from modelplug.migration.editing import ConfigEditor
from modelplug.migration.homes import HomeEditor
from modelplug.migration.steps import (
    Confidence,
    Detection,
    Family,
    FamilyVersion,
    Kind,
    Migration,
    StepContext,
)
from modelplug.migration.versions import Version

MODELPLUG_HOOKSPEC_VERSION = "1.0"


def detect_lamp(candidate: Candidate) -> Iterator[Detection]:
    """A lamp's configuration has a `lamp` key; the rest says which version. A home has a file LAMP."""
    if candidate.is_folder and (candidate.path / "LAMP").is_file():
        yield Detection(
            family="lamp",
            kind=Kind.HOME,
            version=Version(1),
            confidence=Confidence.LIKELY,
            evidence=("it has a file LAMP",),
        )
    values = candidate.mapping
    if "lamp" not in values:
        return
    if "format" in values:
        version, evidence = Version(values["format"]), f"format is {values['format']}"
    else:
        version, evidence = Version(1), "there is no format"
    yield Detection(
        family="lamp", kind=Kind.CONFIG, version=version, confidence=Confidence.CERTAIN, evidence=(evidence,)
    )


class OneToTwo(Migration):
    """The brightness moves into a section of its own.

    `brightness` becomes `light.level`, and `format` says the version from now on.
    """

    family = "lamp"
    source = Version(1)
    target = Version(2)
    renames: ClassVar[Any] = {("brightness",): ("light", "level"), ("colour",): ("light", "color")}
    breaking = ("`brightness` is not read any more.",)

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Rename, drop what is obsolete, and say the version."""
        self.apply_renames(artifact)
        if artifact.has("bulb"):
            artifact.to_extras("bulb", why="lamps have no bulbs any more")
        if artifact.has("debug"):
            artifact.drop("debug", why="it never did anything")
        artifact.set("format", 2)

    def downgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Undo it."""
        self.apply_renames(artifact, backward=True)
        if artifact.has(("extras", "bulb")):
            artifact.move(("extras", "bulb"), "bulb")
            artifact.prune("extras")
        artifact.prune("light")
        artifact.drop("format", why="version 1 has no format")


class TwoToThree(Migration):
    """The level counts from 0 to 1.

    Once it is rounded, the percentage can't be told any more.
    """

    family = "lamp"
    source = Version(2)
    target = Version(3)

    def upgrade(self, artifact: ConfigEditor, context: StepContext) -> None:
        """Divide by a hundred."""
        level = artifact.get(("light", "level"))
        if isinstance(level, (int, float)):
            artifact.set(("light", "level"), round(level / 100, 1), why="counts from 0 to 1")
        elif level is not None:
            artifact.error("the level is no number", ("light", "level"))
        artifact.set("format", 3)


class LampHome(Migration):
    """The whole installation moves.

    Settings are carried over, and each `*.gguf` beside them gets a name.
    """

    family = "lamp"
    kind = Kind.HOME
    source = Version(1)
    target = Version(3)

    def upgrade(self, artifact: HomeEditor, context: StepContext) -> None:
        """Carry over what there is."""
        models = []
        for path in artifact.files("*"):
            if path.suffix == ".gguf":
                models.append({"name": path.stem, "path": str(path)})
                artifact.references.append(path)
            elif path.suffix == ".json":
                config = artifact.migrate_config(path)
                artifact.copies.append(path)
                if config is not None:
                    artifact.merge_settings(config)
        artifact.notes["setup.txt"] = f"{len(models)} models\n".encode()
        if models:
            artifact.effect("history.models", {"models": models}, f"{len(models)} models get names")
        if not artifact.writes:
            artifact.error("there is no configuration in it")
        artifact.todo("remove the old folder when you are satisfied")


def find_homes(home: Path, environ: Mapping[str, str]) -> list[Path]:
    """Where lamps live."""
    return [home / ".lamp", home / ".another-lamp", Path(environ.get("LAMP_HOME", home / ".third-lamp"))]


LAMP = Family(
    name="lamp",
    title="Configurations of a lamp",
    versions=(
        FamilyVersion(version=Version(1), label="old", summary="Flat."),
        FamilyVersion(version=Version(2)),
        FamilyVersion(version=Version(3)),
    ),
    detect=detect_lamp,
    oldest=Version(1),
    homes=find_homes,
    options={"tint": "What colour to take."},
)


@hookimpl
def modelplug_migrations() -> Iterable[Any]:
    """The family and its steps."""
    return [LAMP, OneToTwo, TwoToThree, LampHome]
