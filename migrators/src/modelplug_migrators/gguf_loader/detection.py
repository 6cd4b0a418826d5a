"""Tells by its content which layout a file has, or that it is none of this family's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.config.schema import VERSION
from modelplug.migration.steps import Confidence, Detection, Kind
from modelplug.migration.versions import Version
from modelplug_migrators.gguf_loader import layouts
from modelplug_migrators.gguf_loader import vocabulary as words
from modelplug_migrators.gguf_loader.engines import engine_named
from modelplug_migrators.gguf_loader.leftovers import SCHEMA
from modelplug_migrators.gguf_loader.llama import CERTAIN, KEYWORDS, LIKELY, SAMPLING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TypeGuard

    from modelplug.migration.candidates import Candidate

__all__ = ["Recognised", "detect_config", "recognise"]

_FEEDBACK = "feedback_config.json"
_SEMANTIC = re.compile(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?.*")
_IN_BROKEN_TEXT = re.compile(
    rb'"(n_gpu_layers|n_ctx|n_batch|n_threads|backend_configs|preferred_backend|ai_settings)"\s*:'
)
_BROKEN = {"backend_configs": layouts.BACKEND_SET_1_1, "preferred_backend": layouts.MULTI_BACKEND}


@attrs.frozen(kw_only=True)
class Recognised:
    """What a file's content says.

    Attributes:
        version: The layout.
        confidence: How sure that is.
        evidence: What was seen, one phrase each.
    """

    version: Version
    confidence: Confidence
    evidence: tuple[str, ...]


def detect_config(candidate: Candidate) -> Iterator[Detection]:
    """What a file is, if it is one of this family's.

    Args:
        candidate: The file.
    """
    if candidate.is_folder or candidate.format != "json":
        return
    found = recognise(candidate.mapping) if candidate.value is not None else _in_broken(candidate.data)
    if found is None and candidate.name == _FEEDBACK and "endpoint_url" in candidate.mapping:
        seen = (f"endpoint_url in a file called {_FEEDBACK}",)
        found = Recognised(version=layouts.SIDE_FILE, confidence=Confidence.LIKELY, evidence=seen)
    if found is not None:
        yield Detection(
            family=layouts.NAME,
            kind=Kind.CONFIG,
            version=found.version,
            confidence=found.confidence,
            evidence=found.evidence,
        )


def recognise(values: Mapping[str, Any]) -> Recognised | None:
    """Which layout an object has; None if it is none of this family's.

    Args:
        values: What the file holds.
    """
    return next(filter(None, (look(values) for look in _LOOKS)), None)


# The layouts, in the order in which they are looked for ---------------------------------------------------


def _is_universal(values: Mapping[str, Any]) -> Recognised | None:
    sections = values.get("backends")
    default = sections.get("default") if isinstance(sections, dict) else None
    if isinstance(default, str):
        return _certain(layouts.UNIVERSAL, f"backends.default is the name {default[:40]!r} and no section")
    return None


def _is_modelplug(values: Mapping[str, Any]) -> Recognised | None:
    version = values.get("version")
    older = (CERTAIN | words.INTERFACE | words.BACKEND_SET | {"ai_settings", "window_size"}).intersection(
        values
    )
    if not _is_whole(version) or older:
        return None
    if version > VERSION:
        # The settings' version n is the family's version n + 2.
        newer = Version(version + layouts.MODELPLUG.major - VERSION)
        if not (SCHEMA - {"version"}).intersection(values):
            return None
        return _certain(newer, f"version is {version}, and modelplug's newest is {VERSION}")
    known = sorted((SCHEMA - {"version"}).intersection(values))
    if known and version == VERSION:
        return _certain(layouts.MODELPLUG, "version is the number 1", f"there is {_some(known)}")
    if version == VERSION and len(values) == 1:
        seen = ("version is the number 1, and there is nothing else",)
        return Recognised(version=layouts.MODELPLUG, confidence=Confidence.POSSIBLE, evidence=seen)
    return None


def _is_side_file(values: Mapping[str, Any]) -> Recognised | None:
    if words.MULTI_BACKEND.intersection(values):
        return None
    if values.keys() >= words.PERFORMANCE_CACHE:
        return _certain(layouts.SIDE_FILE, "model_profiles and backend_profiles: a performance cache")
    if len(words.MODEL_NOTES.intersection(values)) >= 3 and "file_path" in values:
        return _certain(
            layouts.SIDE_FILE, f"{_some(words.MODEL_NOTES.intersection(values))}: notes on one model"
        )
    if len(words.REPORT.intersection(values)) >= 3:
        return _certain(
            layouts.SIDE_FILE, f"{_some(words.REPORT.intersection(values))}: a performance report"
        )
    return None


def _is_preset(values: Mapping[str, Any]) -> Recognised | None:
    if not isinstance(values.get("configuration"), dict) or "name" not in values:
        return None
    if words.MULTI_BACKEND.intersection(values):
        return None
    # Not a preset within a preset, which nothing makes, and which could go on for ever.
    inside = next(
        filter(None, (look(values["configuration"]) for look in _LOOKS if look is not _is_preset)), None
    )
    if inside is None and not {"created_at", "description"} <= values.keys():
        return None
    if inside is not None and inside.version > layouts.NEWEST:
        return attrs.evolve(inside, evidence=("a preset", *inside.evidence))
    seen = ("name and configuration: a preset", *(inside.evidence if inside else ()))
    return Recognised(
        version=layouts.PRESET, confidence=Confidence.CERTAIN if inside else Confidence.LIKELY, evidence=seen
    )


def _is_backend_set(values: Mapping[str, Any]) -> Recognised | None:
    version = values.get("version")
    found = sorted(words.BACKEND_SET.intersection(values))
    sectioned = isinstance(values.get("backends"), dict) and isinstance(version, str)
    if not found and (not sectioned or len(words.APPLICATION.intersection(values)) > 1):
        return None
    newest = layouts.BACKEND_SET_1_1 if found else layouts.BACKEND_SET_1_0
    seen = f"there is {_some(found)}" if found else "a text as version, and backends"
    numbers = _numbers(version)
    if numbers is None:
        confidence = Confidence.CERTAIN if "backend_configs" in found else Confidence.LIKELY
        return Recognised(
            version=newest, confidence=confidence, evidence=(seen, "no version that can be read")
        )
    if numbers > (1, 1, 0):
        return _from_future(numbers, version, "1.1.0", seen)
    return _certain(newest, seen, f"version is {version!r}")


def _is_application(values: Mapping[str, Any]) -> Recognised | None:
    version = values.get("version")
    found = sorted(words.APPLICATION.intersection(values))
    numbers = _numbers(version)
    if numbers is not None and found:
        seen = f"there is {_some(found)}"
        if numbers > (1, 0, 0):
            return _from_future(numbers, version, "1.0.0", seen)
        return _certain(layouts.APPLICATION, f"version is {version!r}", seen)
    if (
        words.MULTI_BACKEND.intersection(values)
        or CERTAIN.intersection(values)
        or words.INTERFACE.intersection(values)
    ):
        return None
    if len(found) >= 2 and not {"theme", "log_level", *found} <= {"theme", "log_level"}:
        return Recognised(
            version=layouts.APPLICATION,
            confidence=Confidence.CERTAIN if len(found) > 3 else Confidence.LIKELY,
            evidence=(f"there is {_some(found)}", "no version"),
        )
    return None


def _is_one_engine(values: Mapping[str, Any]) -> Recognised | None:
    """The three flat layouts: the one with the most names of its own, or the one listed first."""
    if words.FOREIGN.intersection(values):
        return None
    flat = sorted(CERTAIN.intersection(values))
    interface = sorted(words.INTERFACE.intersection(values))
    first = sorted(words.FIRST.intersection(values))
    if first and not flat and not interface and not _is_first(values, first):
        first = []
    counted = [(len(flat), flat, layouts.FLAT), (len(interface), interface, layouts.INTERFACE)]
    counted.append((len(first), first, layouts.FIRST))
    number, names, version = max(counted, key=lambda entry: entry[0])
    if not number:
        return _is_weakly_flat(values)
    what = {
        layouts.FLAT: "names of llama-cpp-python",
        layouts.INTERFACE: "names of the preferences window",
        layouts.FIRST: "names of the first configuration",
    }
    sure = number > 1 or version == layouts.FLAT
    others = [name for _, found, other in counted if other != version for name in found]
    seen = [f"{what[version]}: {_some(names)}", *([f"besides, {_some(others)}"] if others else [])]
    confidence = Confidence.CERTAIN if sure else Confidence.LIKELY
    return Recognised(version=version, confidence=confidence, evidence=tuple(seen))


def _is_first(values: Mapping[str, Any], found: list[str]) -> bool:
    """Whether names that are common words are meant as this layout has them."""
    engine = any(
        engine_named(values.get(name)) for name in ("backend", "backend_preference", "default_backend")
    )
    return (
        engine or "backend_preference" in found or len({*found, *words.FIRST_BESIDE.intersection(values)}) > 1
    )


def _is_weakly_flat(values: Mapping[str, Any]) -> Recognised | None:
    if words.MULTI_BACKEND.intersection(values):
        return None
    weak = sorted(LIKELY.intersection(values))
    path = values.get("model_path")
    names_model = isinstance(path, str) and path.lower().endswith((".gguf", ".ggml"))
    others = sorted(name for name in {*KEYWORDS, *SAMPLING}.intersection(values) if name != "model_path")
    if len(weak) > 1 or (names_model and others):
        named = ("model_path names a GGUF file",) if names_model else ()
        seen = (*named, f"names of llama-cpp-python: {_some(weak or others)}")
        return Recognised(version=layouts.FLAT, confidence=Confidence.LIKELY, evidence=seen)
    if names_model and len(values) == 1:
        alone = ("model_path names a GGUF file, and there is nothing else",)
        return Recognised(version=layouts.FLAT, confidence=Confidence.POSSIBLE, evidence=alone)
    return None


def _is_multi_backend(values: Mapping[str, Any]) -> Recognised | None:
    found = sorted(words.MULTI_BACKEND.intersection(values))
    sections = values.get("backends")
    named = [name for name in sections if engine_named(name)] if isinstance(sections, dict) else []
    engine = engine_named(values.get("preferred_backend"))
    if named or engine:
        there = [f"a section for {_some(sorted(named))}"] if named else []
        return _certain(layouts.MULTI_BACKEND, f"there is {_some(found)}", *there)
    if len(found) > 1 or "preferred_backend" in found or _is_order(values.get("fallback_order")):
        return Recognised(
            version=layouts.MULTI_BACKEND,
            confidence=Confidence.LIKELY,
            evidence=(f"there is {_some(found)}",),
        )
    if isinstance(sections, dict) and (
        not sections or all(isinstance(each, dict) for each in sections.values())
    ):
        seen = ("there is backends, an object of objects",)
        return Recognised(version=layouts.MULTI_BACKEND, confidence=Confidence.POSSIBLE, evidence=seen)
    return None


_LOOKS: tuple[Callable[[Mapping[str, Any]], Recognised | None], ...] = (
    _is_universal,
    _is_modelplug,
    _is_preset,
    _is_side_file,
    _is_backend_set,
    _is_application,
    _is_one_engine,
    _is_multi_backend,
)


# Help -----------------------------------------------------------------------------------------------------


def _in_broken(data: bytes) -> Recognised | None:
    """What a file is that can't be read as JSON, so that its owner hears why and not that it is unknown."""
    found = _IN_BROKEN_TEXT.search(data)
    if found is None:
        return None
    name = found[1].decode()
    version = layouts.APPLICATION if name == "ai_settings" else _BROKEN.get(name, layouts.FLAT)
    return Recognised(version=version, confidence=Confidence.POSSIBLE, evidence=(f"the text holds {name}",))


def _certain(version: Version, *evidence: str) -> Recognised:
    return Recognised(version=version, confidence=Confidence.CERTAIN, evidence=evidence)


def _from_future(numbers: tuple[int, int, int], version: object, newest: str, seen: str) -> Recognised:
    """A layout later than any: its number is above all there are, and the evidence has the real one."""
    above = Version(max(numbers[0], layouts.NEWEST.major + 1), numbers[1])
    return _certain(above, seen, f"version is {version!r}, and the newest there was is {newest!r}")


def _numbers(version: object) -> tuple[int, int, int] | None:
    found = _SEMANTIC.fullmatch(version.strip()) if isinstance(version, str) else None
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def _is_whole(version: object) -> TypeGuard[int]:
    return type(version) is int and version >= 1


def _is_order(order: object) -> bool:
    return isinstance(order, list) and any(engine_named(name) for name in order)


def _some(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
