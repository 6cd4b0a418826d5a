"""N-gram text models for modelplug: the hooks. Importing this module does not import the engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelplug.hookspecs import hookimpl

if TYPE_CHECKING:
    import click

    from modelplug.backends.model import Model
    from modelplug.backends.types import BackendReport, BackendSettings, LoadRequest
    from modelplug.formats.model_info import ModelInfo

__version__ = "1.2.0"
MODELPLUG_HOOKSPEC_VERSION = "1.0"
NAME = "markov"


@hookimpl
def modelplug_detect_backends() -> BackendReport:
    """Report the one backend, which needs nothing but Python."""
    from modelplug.backends.types import BackendReport, BackendState

    on_the_cpu = "it runs on the CPU only: leave it out"
    return BackendReport(
        name=NAME,
        state=BackendState.CPU,
        engine="Markov chains",
        version=__version__,
        formats=("markov",),
        architectures=frozenset({"ngram"}),
        settings=("enabled", "context_size", "order"),
        ignored_settings={
            "gpu_enabled": on_the_cpu,
            "gpu_layers": on_the_cpu,
            "batch_size": "a chain looks at one token after the other: leave it out",
            "threads": "it uses one thread: leave it out",
        },
    )


@hookimpl
def modelplug_backend_settings() -> dict[str, type[BackendSettings]]:
    """Give the class of `backends.markov` in the settings."""
    from modelplug_markov.settings import MarkovSettings

    return {NAME: MarkovSettings}


@hookimpl
def modelplug_inspect_model(path: Path) -> ModelInfo | None:
    """Describe a Markov model from its header."""
    from modelplug_markov.file import inspect

    return inspect(path)


@hookimpl
def modelplug_load_model(request: LoadRequest) -> Model | None:
    """Load a Markov model if this backend is meant."""
    if request.backend != NAME:
        return None
    from modelplug_markov.engine import MarkovModel

    return MarkovModel(request)


@hookimpl
def modelplug_commands() -> list[click.Command]:
    """Bring `modelplug markov`."""
    from modelplug_markov.commands import markov

    return [markov]
