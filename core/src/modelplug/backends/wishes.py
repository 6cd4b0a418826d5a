"""What the user asks for: this call's wishes on top of the settings file, backend by backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.types import BackendSettings, BackendState
from modelplug.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.backends.types import BackendReport
    from modelplug.runtime import Runtime

__all__ = ["Demand", "Wishes", "demand_of", "unmet_wish"]

_NEUTRAL_MINIMUM = {"gpu_layers": -1, "context_size": 1, "threads": 1, "batch_size": 1}


@attrs.frozen(kw_only=True)
class Wishes:
    """What one call asks for. None leaves the choice to the settings, and then to the machine.

    Attributes:
        backend: The only backend to consider.
        gpu_layers: Layers to place on the GPU: -1 all, 0 none.
        context_size: Tokens the context must hold; kept exactly.
        threads: CPU threads.
        batch_size: Prompt tokens to evaluate at once.
        settings: Further settings of the backend, by the names its plugin gives them.
        embeddings: Whether the model is wanted for its embeddings.
        force: Whether to try even what the memory verdict rules out.
    """

    backend: str | None = None
    gpu_layers: int | None = None
    context_size: int | None = None
    threads: int | None = None
    batch_size: int | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)
    embeddings: bool = False
    force: bool = False

    @classmethod
    def of(cls, *, settings: Mapping[str, Any] | None = None, **given: Any) -> Wishes:
        """Build wishes from the arguments of a call; neutral names within `settings` count as given.

        Args:
            settings: Names and values as a user writes them: neutral ones and a backend's own.
            given: The attributes of this class.

        Raises:
            UsageError: A neutral setting is given twice or is no such number.
        """
        own = dict(settings or {})
        for name in _NEUTRAL_MINIMUM:
            if name not in own:
                continue
            value = own.pop(name)
            if given.get(name) is not None and value is not None and given[name] != value:
                raise UsageError(
                    f"{name} is given twice",
                    why=f"once as {given[name]!r} and once, among the settings, as {value!r}",
                    advice="Give it once.",
                )
            given[name] = value if given.get(name) is None else given[name]
        wishes = cls(settings=own, **given)
        wishes.check()
        return wishes

    @property
    def explicit(self) -> dict[str, Any]:
        """Everything given, by the name of the setting."""
        named = {name: getattr(self, name) for name in _NEUTRAL_MINIMUM}
        return {**{name: value for name, value in named.items() if value is not None}, **self.settings}

    def check(self) -> None:
        """Make sure that the neutral settings are numbers that mean something.

        Raises:
            UsageError: One is not.
        """
        for name, minimum in _NEUTRAL_MINIMUM.items():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                meaning = " (-1 means all layers)" if minimum < 0 else ""
                raise UsageError(
                    f"{name} can't be {value!r}",
                    why=f"it must be a whole number of at least {minimum}{meaning}",
                    advice=f"Give a number such as {name}={max(minimum, 1)}, or leave it out.",
                )


@attrs.frozen(kw_only=True)
class Demand:
    """What one backend is asked to do: the settings file's section and the call's wishes, joined.

    Attributes:
        settings: Everything together, as the backend's plugin reads it.
        gpu_layers: -1 all, 0 none, None as many as fit.
        exact_layers: Whether `gpu_layers` was asked for in this call, and so is a demand and not a limit.
        context_size: Tokens; None leaves the choice to the machine.
        threads: CPU threads; None leaves the choice to the machine.
        batch_size: Prompt tokens at once.
        enabled: Whether the settings allow this backend.
    """

    settings: dict[str, Any]
    gpu_layers: int | None
    exact_layers: bool
    context_size: int | None
    threads: int | None
    batch_size: int
    enabled: bool = True


def demand_of(report: BackendReport, wishes: Wishes, runtime: Runtime) -> Demand:
    """What `report`'s backend is asked to do.

    Args:
        report: What detection said of it.
        wishes: What this call asks for.
        runtime: Its settings are read.

    Raises:
        ConfigError: A setting of this backend has a wrong value.
    """
    section = configured_section(report, runtime)
    merged = {**section, **wishes.explicit}
    layers = merged.get("gpu_layers")
    if wishes.gpu_layers is None and section.get("gpu_enabled") is False:
        layers = 0
    return Demand(
        settings=merged,
        gpu_layers=layers,
        exact_layers=wishes.gpu_layers is not None,
        context_size=merged.get("context_size"),
        threads=merged.get("threads"),
        batch_size=merged.get("batch_size") or report.default_batch_size,
        enabled=section.get("enabled", True) is not False,
    )


def configured_section(report: BackendReport, runtime: Runtime) -> dict[str, Any]:
    """The values that the settings give for a backend: checked, and only those given.

    Names in the file that its plugin does not know are left out: they are reported when settings are checked,
    and must not keep a model from loading.

    Raises:
        ConfigError: A value is not allowed, or the environment names a setting that does not exist.
    """
    given = runtime.config.section(report.name)
    if not given:
        return {}
    checked = runtime.config.backend_settings(report.name, settings_kind(report, runtime))
    values = attrs.asdict(checked)
    return {name: _plain(values[name]) for name in given if name in values}


def _plain(value: object) -> object:
    """The value as JSON can hold it, because settings travel to another process."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return value


def settings_kind(report: BackendReport, runtime: Runtime) -> type[BackendSettings]:
    """The settings class that a backend's plugin gives, or the base class if it gives none."""
    for result in runtime.plugins.call("modelplug_backend_settings"):
        if result.plugin == report.plugin and report.name in result.value:
            kind: type[BackendSettings] = result.value[report.name]
            return kind
    return BackendSettings


def unmet_wish(report: BackendReport, wishes: Wishes, runtime: Runtime) -> str:
    """Why a backend can't do what this call asks for, whatever the memory; empty if it can.

    Args:
        report: What detection said of it.
        wishes: What this call asks for.
        runtime: Its plugins give the settings each backend knows.
    """
    from modelplug.config.structure import find_problems

    if wishes.embeddings and "embeddings" not in report.capabilities:
        return "it gives no embeddings, which were asked for"
    for name in wishes.explicit:
        # Asking for the CPU is a wish that an engine without GPU support grants by being itself.
        if name in report.ignored_settings and not (name == "gpu_layers" and wishes.gpu_layers == 0):
            return f"it can't honour {name}: {report.ignored_settings[name]}"
    problems = find_problems(wishes.explicit, settings_kind(report, runtime))
    if problems:
        return f"it can't be asked for {problems[0]}"
    return _unmet_layers(report, wishes)


def _unmet_layers(report: BackendReport, wishes: Wishes) -> str:
    layers = wishes.gpu_layers
    if layers is None or layers == 0:
        return ""
    if report.state is not BackendState.GPU or report.gpu_offload == "none":
        why = report.cause or "its engine was built for the CPU, or there is no GPU it can use"
        return (
            f"{layers if layers > 0 else 'all'} layers on the GPU were asked for, but here it runs on the "
            f"CPU only ({why}); without gpu_layers it would run there"
        )
    if report.gpu_offload == "whole" and layers > 0:
        return (
            f"{layers} layers on the GPU were asked for, but it places the whole model or nothing: "
            "ask for -1 or 0"
        )
    return ""
