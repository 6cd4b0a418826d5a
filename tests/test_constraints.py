"""The pinned versions."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


def pins() -> list[Requirement]:
    """Every line of `constraints.txt` that is a requirement."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_every_pin_is_exact_and_unique() -> None:
    """Each line pins one distribution to one version."""
    names = [pin.name for pin in pins()]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"==[^*,]+", str(pin.specifier)) for pin in pins())


def test_every_dependency_of_the_packages_is_pinned() -> None:
    """What core and plugins depend on has a pin, so that the tests run against known versions."""
    pinned = {pin.name.lower().replace("_", "-") for pin in pins()}
    needed = set()
    projects = ["core/pyproject.toml", "plugins/*/pyproject.toml", "migrators/pyproject.toml"]
    for project in sorted(path for name in projects for path in ROOT.glob(name)):
        text = project.read_text("utf-8")
        # Not tomllib, which Python 3.10 does not have; a list ends with a bracket at the end of a line.
        (block,) = re.findall(r"^dependencies = \[(.*?)\]$", text, re.DOTALL | re.MULTILINE)
        needed.update(Requirement(item).name.lower() for item in re.findall(r'"([^"]+)"', block))
    own = {name for name in needed if name.startswith("modelplug")}

    assert needed - own - pinned == set()
