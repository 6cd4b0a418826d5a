"""Ollama: names in `manifests/HOST/NAMESPACE/MODEL/TAG`, weights in `blobs/sha256-DIGEST`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from modelplug.history.places.machine import Found, Machine, distinct, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SOURCE", "find", "folders"]

SOURCE = "ollama"
_WEIGHTS = "application/vnd.ollama.image.model"
_TENSOR = "application/vnd.ollama.image.tensor"
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
# The folder of the service that Ollama's installer sets up on Linux.
_SERVICE = Path("usr/share/ollama/.ollama/models")


def folders(machine: Machine) -> list[Path]:
    """Where Ollama keeps models: what its variable names, the user's folder, and the service's."""
    service = machine.root / _SERVICE if machine.platform == "linux" else None
    return distinct([machine.from_environment("OLLAMA_MODELS"), machine.home / ".ollama" / "models", service])


def find(machine: Machine) -> Iterator[Found]:
    """The models by the names that `ollama list` shows, without the tag `latest`."""
    for folder in folders(machine):
        for manifest in sorted(folder.glob("manifests/*/*/*/*")):
            if manifest.is_file() and not manifest.name.startswith("."):
                yield _found(folder, manifest)


def _found(folder: Path, manifest: Path) -> Found:
    model, tag = manifest.parent.name, manifest.name
    name = model if tag == "latest" else f"{model}:{tag}"
    layers = read_object(manifest).get("layers")
    kinds = {
        str(layer.get("mediaType")): str(layer.get("digest"))
        for layer in (layers if isinstance(layers, list) else ())
        if isinstance(layer, dict)
    }
    digest = _DIGEST.fullmatch(kinds.get(_WEIGHTS, ""))
    if digest is None:
        trouble = (
            "Ollama keeps it tensor by tensor, and not as one file"
            if _TENSOR in kinds
            else "its manifest names no weights"
        )
        return Found(path=manifest, name=name, source=SOURCE, trouble=trouble)
    # Early versions wrote a colon where the others write a hyphen.
    blobs = [folder / "blobs" / f"sha256{mark}{digest[1]}" for mark in "-:"]
    blob = next((path for path in blobs if path.is_file()), None)
    if blob is None:
        return Found(path=blobs[0], name=name, source=SOURCE, trouble="its weights are not there")
    return Found(path=blob, name=name, source=SOURCE)
