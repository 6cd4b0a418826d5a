"""Makes installed plugins out of a few lines of source, in a directory of their own."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import importlib_metadata
import pytest

from modelplug.paths import Paths
from modelplug.plugins import PluginManager

HEAD = """
from __future__ import annotations
from modelplug.hookspecs import hookimpl
MODELPLUG_HOOKSPEC_VERSION = "1.0"
"""


@attrs.define
class Site:
    """A directory like `site-packages`, with plugins in it.

    Attributes:
        root: The directory.
        home: Where the managers keep their files.
    """

    root: Path
    home: Path

    def add(
        self,
        name: str,
        source: str = "",
        *,
        head: str = HEAD,
        distribution: str | None = None,
        version: str = "1.0",
        value: str | None = None,
        direct_url: str | None = None,
    ) -> Path:
        """Install a plugin of one module, and return the module's file."""
        module = "plug_" + name.replace("-", "_").replace("@", "_")
        file = self.root / f"{module}.py"
        file.write_text(head + textwrap.dedent(source), encoding="utf-8")
        distribution = distribution or f"dist-{name}"
        info = self.root / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[modelplug]\n{name} = {value or module}\n")
        if direct_url is not None:
            (info / "direct_url.json").write_text(direct_url)
        return file

    def entry_points(self) -> list[importlib_metadata.EntryPoint]:
        """The entry points of everything installed here."""
        found = importlib_metadata.distributions(path=[str(self.root)])
        return [point for item in found for point in item.entry_points.select(group="modelplug")]

    @property
    def paths(self) -> Paths:
        """The directories of the managers."""
        return Paths(config=self.home, data=self.home, cache=self.home / "cache", logs=self.home / "logs")

    def manager(self, environ: dict[str, str] | None = None, **options: Any) -> PluginManager:
        """A manager of the plugins installed here, which imports without child processes by default."""
        environ = {"MODELPLUG_PLUGIN_DEADLINE": "0", **(environ or {})}
        options.setdefault("entry_points", self.entry_points())
        return PluginManager(paths=self.paths, environ=environ, **options)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An empty site, importable from; what was imported from it is forgotten afterwards."""
    root = tmp_path / "site"
    root.mkdir()
    monkeypatch.syspath_prepend(str(root))
    yield Site(root, tmp_path / "home")
    for module in [name for name in sys.modules if name.startswith("plug_")]:
        del sys.modules[module]
