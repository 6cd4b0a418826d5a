"""Tells by its content whether a file or folder is a checkpoint of ResNet-BK, and of which version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from modelplug.errors import ModelplugError
from modelplug.migration.steps import Confidence, Detection, Kind
from modelplug.migration.versions import Version
from modelplug_migrators.resnet_bk.checkpoints.current import format_version, is_current
from modelplug_migrators.resnet_bk.checkpoints.naming import is_own_name
from modelplug_migrators.resnet_bk.checkpoints.opening import INDEXES, NotOursError, open_old
from modelplug_migrators.resnet_bk.checkpoints.reading.archives import ZSTANDARD, is_torch_file
from modelplug_migrators.resnet_bk.checkpoints.reading.plain import NotDataError
from modelplug_migrators.resnet_bk.versions import NAME, V0_9, V1_0

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelplug.migration.candidates import Candidate

__all__ = ["detect", "foreign"]

_ENDINGS: Final = frozenset({".pt", ".pth", ".ckpt", ".bin", ".safetensors"})
_SHOWN: Final = 2


def detect(candidate: Candidate) -> Iterator[Detection]:
    """What a file or folder is, if it is a checkpoint of this family.

    Checkpoints before 1.0 do not say their version, and their tensors had the same names from 0.4 on: all
    count as those of the last.

    Args:
        candidate: The file or folder.
    """
    if candidate.is_folder:
        seen = is_current(candidate.path)
        if seen:
            yield _detection(_version_of(format_version(candidate.path)), Confidence.CERTAIN, seen)
            return
    elif candidate.suffix not in _ENDINGS:
        return
    elif candidate.head(4) == ZSTANDARD and candidate.name.startswith("step_"):
        yield _detection(V0_9, Confidence.POSSIBLE, "it is called step_..., and compressed with Zstandard")
        return
    try:
        old = open_old(candidate.path)
    except NotOursError:
        return
    except NotDataError:
        yield _detection(V0_9, Confidence.CERTAIN, "its tensors are those of a model before 1.0")
        return
    except ModelplugError:
        if candidate.is_folder and _index_names_us(candidate.path):
            yield _detection(V0_9, Confidence.CERTAIN, "the index in it names tensors of a model before 1.0")
        return
    own = [name for name in old.model if is_own_name(name)][:_SHOWN]
    evidence = [f"its entries are those of {old.form.name}"]
    if own:
        evidence.append(f"there is {' and '.join(own)}")
    if old.prefix:
        evidence.append(f"{old.prefix} stands before every name")
    yield _detection(V0_9, Confidence.CERTAIN, *evidence)


def foreign(candidate: Candidate) -> str:
    """What is wrong with a file that looks like a checkpoint of torch's and can't be read; else empty.

    Args:
        candidate: The file.
    """
    if candidate.is_folder or candidate.suffix not in _ENDINGS or not is_torch_file(candidate.head(4)):
        return ""
    try:
        open_old(candidate.path)
    except NotOursError:
        return ""
    except ModelplugError as error:
        return f"a checkpoint that can't be read: {error.why or error.what}"
    return ""


def _index_names_us(folder: Path) -> bool:
    """Whether an index of weights, some of which are not there, is that of a model of this family."""
    texts = ((folder / name).read_bytes() for name in INDEXES if (folder / name).is_file())
    return any(b".bk_layer." in text for text in texts)


def _detection(version: Version, confidence: Confidence, *evidence: str) -> Detection:
    return Detection(
        family=NAME, kind=Kind.CHECKPOINT, version=version, confidence=confidence, evidence=evidence
    )


def _version_of(text: str) -> Version:
    try:
        return Version.parse(".".join(text.split(".")[:2]))
    except ValueError:
        return V1_0
