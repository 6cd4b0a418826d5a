"""Cores that quantized what they computed have nothing in their place: what to write for a model is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from modelplug_migrators.resnet_bk.source.arguments import named
from modelplug_migrators.resnet_bk.source.shapes import text_of

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset(
    {"create_quantized_birman_schwinger", "QuantizedBirmanSchwingerCore", "QuantizationConfig"}
)

_CORE = (
    "n_seq", "epsilon", "use_mourre", "use_lap", "schatten_threshold", "precision_upgrade_threshold",
    "quant_config",
)  # fmt: skip
_ORDERS = {
    "create_quantized_birman_schwinger": ("n_seq", "mode", "group_size"),
    "QuantizationConfig": ("mode", "group_size", "per_channel", "symmetric"),
    "QuantizedBirmanSchwingerCore": _CORE,
}
_WHY = "it quantized what one core computed, and no weights"


def apply(subject: Subject) -> None:
    """Look at every such core, and every configuration of one."""
    for call, reference in subject.calls_of(*_ORDERS):
        subject.leave(reference, f"{_WHY}: to quantize a model, write {_model(subject, call, reference)}")


def _model(subject: Subject, call: cst.Call, reference: Reference) -> str:
    """The quantized model with the bits, and the groups, that a call asks for."""
    given = named(call, _ORDERS[reference.old.name]) or {}
    config = given.get("quant_config")
    if config is not None:
        makers = [node for node in subject.instances.of(config.value) if isinstance(node, cst.Call)]
        given = (named(makers[0], _ORDERS["QuantizationConfig"]) or {}) if len(makers) == 1 else {}
    mode = (text_of(given["mode"].value) if "mode" in given else "") or ""
    group = f", group_size={subject.program.code(given['group_size'].value)}" if "group_size" in given else ""
    if mode == "mixed_precision":
        return f"MixedPrecisionQuantization(model, {{'experts': 4, 'bk_core': 8, 'output': 16}}{group})"
    bits = 4 if mode.endswith("int4") else 8
    if mode.startswith("qat"):
        trained = "train it, and call its convert()"
        return f"QuantizedBirmanSchwinger(model, bits={bits}{group}, qat=True), {trained}"
    return f"QuantizedBirmanSchwinger(model, bits={bits}{group})"
