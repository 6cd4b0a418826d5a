"""The backends of this project: known even where their plugins are not installed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from modelplug.backends.types import BackendReport, BackendState

if TYPE_CHECKING:
    from modelplug.system.info import SystemInfo

__all__ = ["KNOWN_BACKENDS", "KnownBackend", "install_command", "not_installed"]


@attrs.frozen(kw_only=True)
class KnownBackend:
    """One backend whose plugin belongs to this project.

    Attributes:
        name: The backend's name.
        engine: The engine's own name.
        distribution: The distribution that brings it; its claim to the name wins over any other.
        folder: The plugin's directory in a checkout.
        runs: What it runs, for people.
        formats: The formats it loads, as `ModelInfo.format` spells them.
        architectures: The architectures it loads; None if only the engine itself knows.
        models: The names of the models that its plugin brings.
        also: What the plugin can't install by itself; empty if nothing.
        priority: Where it stands among those to install; higher first.
    """

    name: str
    engine: str
    distribution: str
    folder: str
    runs: str
    formats: tuple[str, ...]
    architectures: frozenset[str] | None = None
    models: tuple[str, ...] = ()
    also: str = ""
    priority: int = 0


KNOWN_BACKENDS: dict[str, KnownBackend] = {
    backend.name: backend
    for backend in (
        KnownBackend(
            name="llamacpp",
            engine="llama.cpp (xllamacpp)",
            distribution="modelplug-llamacpp",
            folder="plugins/llamacpp_backend",
            runs="GGUF files of every current architecture",
            formats=("gguf",),
            priority=100,
        ),
        KnownBackend(
            name="ctransformers",
            engine="ctransformers",
            distribution="modelplug-ctransformers",
            folder="plugins/ctransformers_backend",
            runs="older GGUF files (llama, falcon) and files in the formats before GGUF",
            formats=("ggml", "ggmf", "ggjt", "gguf"),
            priority=40,
        ),
        KnownBackend(
            name="resnet-bk",
            engine="ResNet-BK in PyTorch",
            distribution="modelplug-resnet-bk",
            folder="plugins/resnet_bk",
            runs="ResNet-BK models, and brings a small one that is trained",
            formats=("huggingface",),
            architectures=frozenset({"resnet_bk"}),
            models=("demo-resnet-bk",),
            priority=5,
        ),
        KnownBackend(
            name="transformers",
            engine="Hugging Face transformers",
            distribution="modelplug-transformers",
            folder="plugins/transformers_backend",
            runs="Hugging Face directories, and GGUF files where memory allows to unpack them",
            formats=("huggingface", "safetensors", "gguf"),
            priority=20,
        ),
        KnownBackend(
            name="llamafile",
            engine="llamafile",
            distribution="modelplug-llamafile",
            folder="plugins/llamafile_backend",
            runs="llamafiles, and GGUF files through a llamafile program",
            formats=("llamafile", "gguf"),
            also="It also needs the llamafile program, or a model that is a llamafile itself.",
            priority=10,
        ),
    )
}


def _checkout() -> Path | None:
    """The checkout this core was installed from, if it is still there."""
    here = Path(__file__).resolve()
    # An editable install runs from <checkout>/core/src/modelplug/backends/known.py.
    candidates = [here.parents[4]] if len(here.parents) > 4 else []
    candidates.extend(_installed_from())
    return next(
        (path for path in candidates if (path / "plugins").is_dir() and (path / "core").is_dir()), None
    )


def _installed_from() -> list[Path]:
    import json
    from importlib import metadata
    from urllib.parse import urlparse
    from urllib.request import url2pathname

    try:
        record = metadata.distribution("modelplug").read_text("direct_url.json")
        url = urlparse(str(json.loads(record or "{}").get("url", "")))
    except (metadata.PackageNotFoundError, OSError, ValueError, AttributeError):
        # Not installed as a distribution, or by an installer that keeps no such record: nothing to learn.
        return []
    return [Path(url2pathname(url.path)).parent] if url.scheme == "file" else []


def install_command(backend: KnownBackend) -> str:
    """What to type to install a backend's plugin into this interpreter's environment."""
    from modelplug.plugins import installs

    checkout = _checkout()
    folder = checkout / backend.folder if checkout is not None else None
    if folder is not None and folder.is_dir():
        return installs.install_command(backend.distribution, shlex.quote(str(folder)))
    python = shlex.quote(sys.executable or "python")
    return f"{python} -m pip install ./{backend.folder}   (in a checkout of modelplug)"


def not_installed(backend: KnownBackend, system: SystemInfo) -> BackendReport:
    """The report on a backend of this project whose plugin is not there.

    Args:
        backend: The backend.
        system: This machine; decides which advice holds.
    """
    advice = [install_command(backend)]
    if backend.also:
        advice.append(backend.also)
    if backend.name == "ctransformers" and system.cpu.architecture not in {"x86_64", "amd64", "arm64"}:
        advice.append("It brings no prebuilt library for this processor and must be compiled.")
    return BackendReport(
        name=backend.name,
        state=BackendState.NOT_INSTALLED,
        engine=backend.engine,
        priority=backend.priority,
        formats=backend.formats,
        architectures=backend.architectures,
        cause=f"its plugin {backend.distribution} is missing; it runs {backend.runs}",
        install="\n".join(advice),
    )
