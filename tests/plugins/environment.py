"""An environment of its own with the core in it, into which third-party plugins are installed with pip."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["REPOSITORY", "PluginEnvironment", "third_party"]

REPOSITORY = Path(__file__).resolve().parents[2]


def third_party(name: str) -> Path:
    """The source of one of the distributions beside this file."""
    return REPOSITORY / "tests" / "plugins" / name


class PluginEnvironment:
    """A virtual environment with a real, not editable, core.

    The core's dependencies are linked from the running environment, so that only the core and the plugins
    are built and installed, and nothing is downloaded if the running environment has the build backend.

    Args:
        root: An empty directory.
        sources: Directories of the distributions to install beside the core.
        tools: Distributions of the running environment to link, with all they need.
    """

    def __init__(self, root: Path, sources: Iterable[Path], *, tools: Iterable[str] = ()) -> None:
        self.root = root
        self.home = root / "home"
        with_pip = importlib.util.find_spec("pip") is None
        venv.create(root / "venv", with_pip=with_pip, symlinks=os.name != "nt")
        self.python = root / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self._pip = [str(self.python) if with_pip else sys.executable, "-m", "pip"]
        self._link([item for name in tools for item in (_distribution(name), *_dependencies(name))])
        self._link(_dependencies("modelplug"))
        self.install(REPOSITORY / "core", *sources)

    @property
    def site_packages(self) -> Path:
        """Where distributions are installed."""
        variables = {"base": str(self.root / "venv"), "platbase": str(self.root / "venv")}
        scheme = "venv" if "venv" in sysconfig.get_scheme_names() else sysconfig.get_default_scheme()
        return Path(sysconfig.get_path("purelib", scheme, variables))

    def install(self, *sources: Path) -> None:
        """Build wheels of distributions and install them with pip."""
        wheels = self.root / f"wheels-{len(list(self.root.glob('wheels-*')))}"
        # The backend of the running environment spares the download, where there is one.
        isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
        quiet = ["--quiet", "--no-deps", "--disable-pip-version-check"]
        _check([*self._pip, "wheel", *quiet, *isolation, "--wheel-dir", wheels, *sources])
        self._pip_here("install", "--quiet", "--no-deps", "--no-index", *wheels.glob("*.whl"))

    def uninstall(self, *distributions: str) -> None:
        """Remove distributions with pip."""
        self._pip_here("uninstall", "--quiet", "--yes", *distributions)

    def _pip_here(self, command: str, *arguments: str | Path) -> None:
        target: list[str] = [] if self._pip[0] == str(self.python) else ["--python", str(self.python)]
        _check([*self._pip, "--disable-pip-version-check", *target, command, *arguments])

    def run(
        self,
        *arguments: str | Path,
        module: str = "modelplug",
        environ: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run `python -m modelplug`, or another module, there."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MODELPLUG_")}
        kept.pop("PYTHONPATH", None)
        return subprocess.run(
            [str(self.python), "-m", module, *map(str, arguments)],
            env={**kept, "MODELPLUG_HOME": str(self.home), "PYTHONIOENCODING": "utf-8", **(environ or {})},
            cwd=self.root,
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=timeout,
        )

    def json(self, *arguments: str | Path, environ: Mapping[str, str] | None = None) -> Any:
        """What `python -m modelplug` prints as JSON; it must succeed."""
        result = self.run(*arguments, "--json", environ=environ)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def _link(self, distributions: Iterable[importlib.metadata.Distribution]) -> None:
        for distribution in distributions:
            for entry in _top_level(distribution):
                link = self.site_packages / entry.name
                if not link.exists():
                    _link(link, entry)


def _check(command: Sequence[str | Path]) -> None:
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, encoding="utf-8", errors="replace", timeout=300
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"


def _distribution(name: str) -> importlib.metadata.Distribution:
    return importlib.metadata.distribution(name)


def _dependencies(name: str) -> list[importlib.metadata.Distribution]:
    """Everything a distribution needs here, extras left out."""
    from packaging.requirements import Requirement

    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        for text in importlib.metadata.requires(waiting.pop()) or ():
            requirement = Requirement(text)
            key = re.sub(r"[-_.]+", "-", requirement.name).lower()
            if key in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
                continue
            found[key] = importlib.metadata.distribution(requirement.name)
            waiting.append(requirement.name)
    return list(found.values())


def _top_level(distribution: importlib.metadata.Distribution) -> list[Path]:
    """The files and directories directly in site-packages that a distribution consists of."""
    names = {file.parts[0] for file in distribution.files or () if file.parts[0] not in {"..", "__pycache__"}}
    return [Path(str(distribution.locate_file(name))) for name in sorted(names)]


def _link(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        # Windows lets only some users make links.
        import shutil

        if target.is_dir():
            shutil.copytree(target, link)
        else:
            shutil.copy2(target, link)
