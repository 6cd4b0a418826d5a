"""The models that come with modelplug and with its plugins, each under a name of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from modelplug.data import DEMO, DEMO_MODEL, demo_model_path
from modelplug.errors import ModelNotFoundError

if TYPE_CHECKING:
    from modelplug.plugins import PluginManager
    from modelplug.plugins.records import HookResult, PluginRecord

__all__ = ["BundledModel", "bundled_models", "find_bundled"]

HOOK = "modelplug_bundled_models"


@attrs.frozen(kw_only=True)
class BundledModel:
    """A model that was installed together with a program.

    Attributes:
        name: What to call it; a file of that name is reached as `./name`.
        path: Its file or directory, which a damaged installation may lack.
        plugin: The plugin that brings it; empty for modelplug's own.
        distribution: The distribution it came in.
    """

    name: str
    path: Path
    plugin: str = ""
    distribution: str = "modelplug"

    def existing_path(self) -> Path:
        """The path of the model.

        Raises:
            ModelNotFoundError: The installation lacks it.
        """
        if self.name == DEMO:
            return demo_model_path()
        if self.path.exists():
            return self.path
        raise ModelNotFoundError(
            f"the model {self.name} is missing from this installation of {self.distribution}",
            path=self.path,
            why=f"{self.path} does not exist",
            advice=f"Install {self.distribution} again; "
            f"`modelplug plugins show {self.plugin}` says from where it was installed.",
        )


def bundled_models(plugins: PluginManager) -> dict[str, BundledModel]:
    """Every model that comes with something installed, by name, modelplug's own first.

    Of two plugins with a model of the same name, one of this project comes first, then the one whose own name
    does; what is left out is reported against the other.

    Args:
        plugins: Whom to ask.
    """
    found = {DEMO: BundledModel(name=DEMO, path=DEMO_MODEL)}
    records = {record.name: record for record in plugins.records}
    for result in sorted(plugins.call(HOOK), key=lambda result: _claim(records[result.plugin])):
        for name, path in result.value.items():
            if name in found:
                _report_taken(plugins, result, found[name])
            else:
                found[name] = BundledModel(
                    name=name,
                    path=path,
                    plugin=result.plugin,
                    distribution=records[result.plugin].distribution or result.plugin,
                )
    return found


def find_bundled(name: str, plugins: PluginManager) -> BundledModel | None:
    """The model that comes under this name; None if there is none.

    Args:
        name: The name.
        plugins: Whom to ask; about `demo`, and what no bundled model can be called, they are not.
    """
    if name == DEMO:
        return BundledModel(name=DEMO, path=DEMO_MODEL)
    from modelplug.plugins.checks import MODEL_NAME

    return bundled_models(plugins).get(name) if MODEL_NAME.fullmatch(name) else None


def _claim(record: PluginRecord) -> tuple[bool, str]:
    from modelplug.plugins.discovery import normalised

    # Plugins of this project are in distributions named after them.
    return normalised(record.distribution) != f"modelplug-{normalised(record.name)}", record.name


def _report_taken(plugins: PluginManager, loser: HookResult, winner: BundledModel) -> None:
    plugins.report_problem(
        loser.plugin,
        f"it brings a model named {winner.name!r}, which {winner.distribution} brings already; its own was "
        "left out",
        "rename the model in the plugin"
        + (f", or run `modelplug plugins disable {winner.plugin}` to use this one" if winner.plugin else ""),
    )
