"""How long migrating many files takes, from typing the command to its end, with durability on."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FILES = 1_000
CURRENT = 10_000
STEPS = 7
ROUNDS = 3

PLUGIN = '''
"""A family of eight versions whose steps rename, change and add keys."""
from modelplug import Confidence, Detection, Family, FamilyVersion, Kind, Migration, Version, hookimpl

MODELPLUG_HOOKSPEC_VERSION = "1.0"


def detect(candidate):
    version = candidate.mapping.get("chain")
    if type(version) is int:
        yield Detection(family="chain", kind=Kind.CONFIG, version=Version(version),
                        confidence=Confidence.CERTAIN, evidence=(f"chain is {version}",))


def step(number):
    def upgrade(self, artifact, context):
        self.apply_renames(artifact)
        artifact.set(("section", "level"), number, why="counts the steps")
        artifact.set(f"new_{number}", True)
        artifact.set("chain", number + 1)

    return type(f"Step{number}", (Migration,), {
        "__doc__": f"The step {number}.", "family": "chain", "upgrade": upgrade,
        "source": Version(number), "target": Version(number + 1),
        "renames": {
            (f"key_{number}",): (f"name_{number}",),
            (f"flat_{number}",): ("section", f"deep_{number}"),
        },
    })


STEPS = [step(number) for number in range(1, 8)]
FAMILY = Family(name="chain", title="A chain", detect=detect, oldest=Version(1),
                versions=tuple(FamilyVersion(version=Version(number)) for number in range(1, 9)))


@hookimpl
def modelplug_migrations():
    return [FAMILY, *STEPS]
'''


def text(version: int, number: int) -> str:
    """A configuration of thirty keys with comments, as people keep them."""
    lines = ["{", f'  "chain": {version}, // the version', f'  "number": {number},']
    for index in range(1, STEPS + 1):
        lines += [
            f"  // about key {index}",
            f'  "key_{index}": {index}.0e-8, // small',
            f'  "flat_{index}": ["a", "b"],',
            f'  "other_{index}": "text",',
        ]
    return "\n".join([*lines, '  "section": {"level": 0}', "}", ""])


class Place:
    """A folder with a home, the plugin and the files, on the disk that the repository is on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        information = root / "site/chain-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: chain\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text("[modelplug]\nchain = bench_chain_plugin\n")
        (root / "site/bench_chain_plugin.py").write_text(PLUGIN)

    def run(self, *arguments: str) -> tuple[float, dict[str, Any]]:
        """Seconds that a command took, and what it printed as JSON."""
        environ = {
            **os.environ,
            "PYTHONPATH": str(self.root / "site"),
            "MODELPLUG_HOME": str(self.root / "home"),
            "MODELPLUG_PLUGINS": "chain",
        }
        began = time.perf_counter()
        result = subprocess.run(
            [sys.executable, "-m", "modelplug", "migrate", *arguments, "--json"],
            env=environ,
            stdout=subprocess.PIPE,
            check=True,
        )
        return time.perf_counter() - began, json.loads(result.stdout)

    def write(self, name: str, count: int, version: int) -> Path:
        """A folder with that many files of a version."""
        folder = self.root / name
        folder.mkdir()
        for number in range(count):
            (folder / f"config-{number}.json").write_text(text(version, number))
        return folder


def apply_seconds(place: Place, number: int) -> float:
    """Plan and apply on fresh files, which must all arrive."""
    folder = place.write(f"old-{number}", FILES, 1)
    seconds, result = place.run("apply", str(folder), "--yes")
    assert len(result["migrated"]) == FILES
    return seconds


def noop_seconds(place: Place, folder: Path) -> float:
    """A pass over files that are up to date."""
    seconds, result = place.run("apply", str(folder), "--yes")
    assert result["plan"]["counts"]["current"] == CURRENT
    assert result["transaction"] is None
    return seconds


def main(out: Path) -> list[dict[str, Any]]:
    """Time both, each as a whole process, and take the median."""
    with tempfile.TemporaryDirectory(dir=out, prefix="migrate-") as scratch:
        place = Place(Path(scratch))
        place.run("status")  # the first import of a plugin is guarded by a process of its own
        applied = [apply_seconds(place, number) for number in range(ROUNDS)]
        current = place.write("current", CURRENT, STEPS + 1)
        passed = [noop_seconds(place, current) for _ in range(ROUNDS)]
    return [
        record(f"plan and apply {FILES} files through {STEPS} steps", applied, 10.0),
        record(f"a pass over {CURRENT} files that are up to date", passed, 5.0),
    ]


def record(name: str, samples: list[float], threshold: float) -> dict[str, Any]:
    """One figure."""
    value = statistics.median(samples)
    return {
        "name": name,
        "value": value,
        "unit": "s",
        "threshold": threshold,
        "better": "lower",
        "samples": samples,
    }
