"""The names that programs for earlier versions import, and what stands for them in `resnet_bk`.

Programs name the older package in several ways: `src.models.resnet_bk`, `models.resnet_bk` with `src` on the
path, `.resnet_bk` from inside, and `src.models` itself, which passes the names on. All of them are read here.
"""

from __future__ import annotations

import re

import attrs

__all__ = [
    "AREAS",
    "MODULES",
    "OURS",
    "Old",
    "is_old_module",
    "mentions_old_module",
    "mentions_old_name",
    "names_module",
    "resolve",
]

OURS = "resnet_bk"
"""The package that programs import from since 1.0."""

AREAS = ("models", "utils", "benchmarks", "training")
"""The packages below `src`."""


@attrs.frozen
class Old:
    """Something that programs import from the older package.

    Attributes:
        name: What it is called there.
        module: The module, below `src`, or `resnet_bk` for what is ours already.
        counterpart: What stands for it in `resnet_bk`; empty if nothing does.
        advice: What to do in its place; for names without a counterpart.
    """

    name: str
    module: str
    counterpart: str = ""
    advice: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is of `resnet_bk` already, and only the way it is used may be an older one."""
        return self.module == OURS


def _olds(module: str, *same: str, **advice: str) -> dict[str, Old]:
    """Entries of one module: names that `resnet_bk` has too, and others with what to do instead."""
    kept = {name: Old(name, module, counterpart=name) for name in same}
    return kept | {name: Old(name, module, advice=text) for name, text in advice.items()}


_TAKES_CONFIG = "write ResNetBK(MambaKillerConfig(...)) in its place; its settings have other names there"
_ONE_MATRIX = "MemoryOptimizer(use_zero=..., use_cpu_offload=...).optimize(model) works on a whole model"
_WHOLE_MODEL = "QuantizedBirmanSchwinger(model, bits=8) quantizes a whole model"
_BY_PART = "MixedPrecisionQuantization(model, {'experts': 4, 'bk_core': 8, 'output': 16}) takes bits by part"

MODULES: dict[str, dict[str, Old]] = {
    OURS: _olds(OURS, "LanguageModel", "MambaKillerConfig", "ResNetBK"),
    "models.resnet_bk": _olds("models.resnet_bk", "LanguageModel", "ResNetBK"),
    "utils.config": _olds("utils.config", "MambaKillerConfig"),
    "models.config": _olds("models.config", ResNetBKConfig=_TAKES_CONFIG),
    "models.configurable_resnet_bk": _olds(
        "models.configurable_resnet_bk", ResNetBKConfig=_TAKES_CONFIG, ConfigurableResNetBK=_TAKES_CONFIG
    ),
    "models.birman_schwinger_core": _olds("models.birman_schwinger_core", "BirmanSchwingerCore"),
    "models.prime_bump_potential": _olds("models.prime_bump_potential", "PrimeBumpPotential"),
    "models.scattering_router": _olds("models.scattering_router", "ScatteringRouter"),
    "models.semiseparable_matrix": _olds(
        "models.semiseparable_matrix",
        "SemiseparableMatrix",
        create_semiseparable_from_dense="make a SemiseparableMatrix(n_seq) and call its factorize(H)",
    ),
    "models.bk_core": _olds(
        "models.bk_core", BKCoreFunction="the resolvent is part of the models; their gradient is exact"
    ),
    "models.memory_optimization": _olds(
        "models.memory_optimization",
        "MemoryOptimizer",
        MemoryOptimizationConfig=_ONE_MATRIX,
        create_optimized_semiseparable=_ONE_MATRIX,
        CPUOffloadManager=_ONE_MATRIX,
        HierarchicalSemiseparable=_ONE_MATRIX,
        MixedPrecisionSemiseparable=_ONE_MATRIX,
        ZeROSemiseparablePartitioner=_ONE_MATRIX,
    ),
    "models.quantized_birman_schwinger": _olds(
        "models.quantized_birman_schwinger",
        "QuantizedBirmanSchwinger",
        GroupWiseQuantizer=_WHOLE_MODEL,
        QuantizationConfig=_WHOLE_MODEL,
        QuantizedBirmanSchwingerCore=_WHOLE_MODEL,
        create_quantized_birman_schwinger=_WHOLE_MODEL,
    ),
    "models.quantized_bk_core": _olds("models.quantized_bk_core", QuantizedBKCore=_WHOLE_MODEL),
    "models.mixed_precision_quantization": _olds(
        "models.mixed_precision_quantization",
        "MixedPrecisionQuantization",
        DynamicQuantizationPolicy=_BY_PART,
        LayerImportanceAnalyzer=_BY_PART,
        MixedPrecisionQuantizer=_BY_PART,
        create_mixed_precision_quantizer=_BY_PART,
    ),
    "models.onnx_export": _olds("models.onnx_export", "export_to_onnx"),
    "models.hf_resnet_bk": _olds("models.hf_resnet_bk", "ResNetBKForCausalLM", "ResNetBKConfig")
    | {"create_resnet_bk_for_hf": Old("create_resnet_bk_for_hf", "models.hf_resnet_bk")},
    "benchmarks.flops_counter": _olds(
        "benchmarks.flops_counter", "FLOPsCounter", compare_models="count both with a FLOPsCounter"
    ),
    "benchmarks.streaming_evaluator": _olds(
        "benchmarks.streaming_evaluator",
        "StreamingEvaluator",
        create_streaming_evaluator="write StreamingEvaluator(model, chunk_size=...)",
        StreamingEvalConfig="write StreamingEvaluator(model, chunk_size=...)",
    ),
    "utils.checkpoint_manager": _olds("utils.checkpoint_manager", "CheckpointManager"),
}
"""Module below `src` -> the names in it that a migration knows."""

# Modules whose names no other program is likely to have: they need not stand below `src`.
_TELLING = {key.rpartition(".")[2]: key for key in MODULES if key != OURS and not key.endswith(".config")}
# What `src.models`, `src.utils` and `src.benchmarks` pass on; the first module with a name counts.
_PASSED_ON: dict[str, dict[str, Old]] = {}
for _key, _names in MODULES.items():
    if _key == OURS:
        continue
    _area = _PASSED_ON.setdefault(_key.partition(".")[0], {})
    for _name, _old in _names.items():
        _area.setdefault(_name, _old)
_MENTION = re.compile(
    r"(?:from|import)\s+[\w.]*?(?:"
    rf"\b(?:{'|'.join(sorted(_TELLING))}|resnet_bk)\b|\bsrc\.(?:{'|'.join(AREAS)})\b|\butils\.config\b|\bsrc\s+import)"
    rf"|[\"']src\.(?:{'|'.join(AREAS)})\."
)
_NAMES = re.compile(rf"\b(?:{'|'.join(sorted({name for names in MODULES.values() for name in names}))})\b")


def mentions_old_module(text: str) -> bool:
    """Whether a text may import something of the older package, or of `resnet_bk`; never too strict."""
    return _MENTION.search(text) is not None


def is_old_module(qualified: str) -> bool:
    """Whether a dotted name is that of a module, or package, of the older package.

    Args:
        qualified: For example `src.models.resnet_bk`, or `.resnet_bk` for a relative import.
    """
    return _module_key(qualified) is not None


def mentions_old_name(text: str) -> bool:
    """Whether a text has a word in it that is a name of the older package, or imports something of it."""
    return _NAMES.search(text) is not None or mentions_old_module(text)


def names_module(qualified: str) -> bool:
    """Whether a dotted name is that of one module of the older package, and not of a whole part of it."""
    return _module_key(qualified) in MODULES


def _module_key(qualified: str) -> str | None:
    """The key in `MODULES`, or an area, that a dotted module name stands for."""
    if qualified == OURS:
        return OURS
    relative = qualified.startswith(".")
    parts = qualified.lstrip(".").split(".")
    if "src" in parts[:-1]:
        parts = parts[parts.index("src") + 1 :]
        below_src = True
    else:
        below_src = False
    if parts[0] not in AREAS:
        # `.resnet_bk`, seen from a module beside it; without dots it would be our own package.
        return _TELLING.get(parts[0]) if relative and len(parts) == 1 else None
    key = ".".join(parts)
    if len(parts) == 1:
        return key if below_src else None
    if key in MODULES and (below_src or parts[1] in _TELLING or key == "utils.config"):
        return key
    return None


def resolve(qualified: str) -> tuple[Old, str] | None:
    """What a dotted name means in the older package: an entry, and what of it (`apply`); None if nothing.

    Args:
        qualified: A name as imports spell it out, for example `src.models.bk_core.BKCoreFunction.apply`.
    """
    dots = len(qualified) - len(qualified.lstrip("."))
    parts = qualified[dots:].split(".")
    for cut in range(len(parts) - 1, 0, -1):
        key = _module_key("." * dots + ".".join(parts[:cut]))
        if key is not None:
            names = MODULES.get(key) or _PASSED_ON.get(key, {})
            old = names.get(parts[cut])
            return None if old is None else (old, ".".join(parts[cut + 1 :]))
    return None
