"""Tells by its content whether a file is a configuration of ResNet-BK, and of which version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.migration.steps import Confidence, Detection, Kind
from modelplug.migration.versions import Version
from modelplug_migrators.resnet_bk.configs.foreign import is_dataset_list
from modelplug_migrators.resnet_bk.configs.places import SECTION_NAMES, root_of, value_at
from modelplug_migrators.resnet_bk.configs.schema import BASE, MARK
from modelplug_migrators.resnet_bk.configs.words import BROUGHT, FOREIGN_MODELS, SHAPE, TRAINING, is_own
from modelplug_migrators.resnet_bk.versions import NAME, V0_4, V0_9, V1_0

if TYPE_CHECKING:
    from modelplug.migration.candidates import Candidate

__all__ = ["Recognised", "detect", "is_model_file", "recognise"]

_TEXT = re.compile(r"\d{1,6}(?:\.\d{1,6}){0,2}")
_IN_BROKEN_TEXT = re.compile(
    "|".join(sorted(name for names in BROUGHT.values() for name in names if len(name) > 5)) + "|n_seq"
)
_LARGEST_BROKEN = 1024 * 1024
_OWN_ENOUGH = 2
# What `config.json` of a 1.0 model says, and none of an older one.
_OF_MODEL_FILES = frozenset({"mixer", "state_bytes"})


@attrs.frozen(kw_only=True)
class Recognised:
    """What a file's content says.

    Attributes:
        version: The version.
        confidence: How sure that is.
        evidence: What was seen, one phrase each.
    """

    version: Version
    confidence: Confidence
    evidence: tuple[str, ...]


def detect(candidate: Candidate) -> Iterator[Detection]:
    """What a file is, if it is a configuration of this family.

    Args:
        candidate: The file.
    """
    if candidate.is_folder or candidate.format is None:
        return
    found = recognise(candidate.mapping) if candidate.value is not None else _in_broken(candidate)
    if found is not None:
        yield Detection(
            family=NAME,
            kind=Kind.CONFIG,
            version=found.version,
            confidence=found.confidence,
            evidence=found.evidence,
        )


def recognise(values: Mapping[str, Any]) -> Recognised | None:
    """Which version a configuration is of; None if it is none of this family's.

    Args:
        values: What the file holds.
    """
    root = root_of(values)
    top = value_at(values, root)
    where = f" in {root[0]}" if root else ""
    if MARK in top:
        return _marked(top[MARK])
    if is_model_file(top):
        seen = ("model_type is resnet_bk", "there is mixer or state_bytes: config.json of a 1.0 model")
        return Recognised(version=V1_0, confidence=Confidence.CERTAIN, evidence=seen)
    names = _names(top)
    own = {name for brought in BROUGHT.values() for name in brought} & names
    if is_dataset_list(values) or not is_own(_model_type(top)):
        return None
    # Whoever says the kind of model, or several of our names, may say what others say too.
    if FOREIGN_MODELS & names and _model_type(top) is None and len(own) < _OWN_ENOUGH:
        return None
    based = isinstance(top.get(BASE), str) and bool(own or TRAINING & names)
    if not SHAPE & names and not based:
        return None
    return _by_names(names, own, where, based=based, told=_model_type(top) is not None)


def is_model_file(values: Mapping[str, Any]) -> bool:
    """Whether an object is what a 1.0 model writes to its `config.json`."""
    return values.get("model_type") == "resnet_bk" and bool(_OF_MODEL_FILES & values.keys())


def _marked(mark: Any) -> Recognised | None:
    text = mark if isinstance(mark, str) else repr(mark) if type(mark) in (int, float) else ""
    if not _TEXT.fullmatch(text):
        return None
    major, _, minor = text.partition(".")
    version = Version(int(major), int(minor.partition(".")[0] or 0))
    seen = (f"{MARK} is {mark!r}",)
    return Recognised(version=version, confidence=Confidence.CERTAIN, evidence=seen)


def _by_names(names: set[str], own: set[str], where: str, *, based: bool, told: bool) -> Recognised | None:
    """The version that brought the newest of the names."""
    newest = max((version for version, brought in BROUGHT.items() if brought & own), default=None)
    general = names & (TRAINING | {"vocab_size", "num_experts", "top_k", "max_seq_len", "seq_len", "n_seq"})
    if newest is not None:
        brought = sorted(BROUGHT[newest] & own)
        seen = [f"there is {_some(brought)}{where}, of {newest}"]
        confidence = Confidence.CERTAIN if len(own) > 1 or "n_seq" in names else Confidence.LIKELY
    elif told or "n_seq" in names:
        newest = V0_9 if told else V0_4
        seen = [f"there is {'model_type' if told else 'n_seq'} beside {_some(SHAPE & names)}{where}"]
        confidence = Confidence.LIKELY
    elif len(SHAPE & names) > 1 and len(general) > 2:
        newest = V0_4
        seen = [f"there is {_some(SHAPE & names)}{where}", "there is nothing of a later version"]
        confidence = Confidence.POSSIBLE
    elif based:
        newest = V0_9
        seen = [f"there is {_some(TRAINING & names)}"]
        confidence = Confidence.POSSIBLE
    else:
        return None
    if based:
        seen.append(f"{BASE} names another configuration")
    return Recognised(version=newest, confidence=confidence, evidence=tuple(seen))


def _names(top: Mapping[str, Any]) -> set[str]:
    """The names of a configuration, those in its sections included."""
    found = {str(name) for name in top}
    for name, value in top.items():
        if name in SECTION_NAMES and isinstance(value, Mapping):
            found.update(map(str, value))
    return found


def _model_type(top: Mapping[str, Any]) -> Any:
    return top.get("model_type", value_at(top, ("model", "model_type")))


def _in_broken(candidate: Candidate) -> Recognised | None:
    """What a file is that can't be understood, so that its owner hears why and not that it is unknown."""
    if candidate.size > _LARGEST_BROKEN:
        return None
    # Without the zeros, names can be read in UTF-16 too.
    text = candidate.data.replace(b"\0", b"").decode("latin-1")
    found = {*_IN_BROKEN_TEXT.findall(text), *(name for name in SHAPE if name in text)}
    if len(found) < 2 or found <= SHAPE:
        return None
    seen = f"the text holds {_some(found)}, and can't be understood"
    return Recognised(version=V0_9, confidence=Confidence.POSSIBLE, evidence=(seen,))


def _some(names: set[str] | list[str] | frozenset[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
