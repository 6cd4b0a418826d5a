"""Which version a program is for, told by what it imports and how it uses it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import attrs

from modelplug.migration.steps import Confidence
from modelplug_migrators.resnet_bk.source.parsing import nodes_of, parse
from modelplug_migrators.resnet_bk.source.texts import texts_that_import
from modelplug_migrators.resnet_bk.source.vocabulary import (
    Old,
    is_old_module,
    names_module,
    resolve,
)
from modelplug_migrators.resnet_bk.versions import V0_4, V0_5, V0_6, V0_7, V0_8, V0_9, V1_0

if TYPE_CHECKING:
    from modelplug.migration.versions import Version

__all__ = ["Evidence", "look"]

_MOST = 3
_DEPRECATED = frozenset({"manual_seed", "use_hybrid_gradient"})
# Name -> the version that brought it.
_BROUGHT = {
    "MemoryOptimizer": V0_5,
    "StreamingEvaluator": V0_6,
    "QuantizedBirmanSchwinger": V0_7,
    "MixedPrecisionQuantization": V0_7,
    "export_to_onnx": V0_9,
    "ResNetBKForCausalLM": V0_9,
    "create_resnet_bk_for_hf": V0_9,
    "ResNetBK": V0_9,
    "MambaKillerConfig": V0_9,
}
# Setting of a model -> the version that brought it.
_SETTINGS = {"use_semiseparable": V0_5, "low_rank": V0_5, "use_act": V0_8, "act_halt_threshold": V0_8}
# Function or method, and an argument it took -> the last version in which it did.
_UNTIL = {
    ("LanguageModel", "semiseparable_rank"): V0_4,
    ("evaluate_streaming", ""): V0_5,
    ("count_flops", ""): V0_7,
    ("FLOPsCounter", "batch_size"): V0_7,
    ("FLOPsCounter", "seq_len"): V0_7,
    ("LanguageModel", "use_adaptive_computation"): V0_7,
    ("export_to_onnx", "batch_size"): V0_8,
    ("export_to_onnx", "seq_length"): V0_8,
}


@attrs.frozen(kw_only=True)
class Evidence:
    """What a program says of its version.

    Attributes:
        version: The version.
        confidence: How sure it is that the program belongs to this family.
        seen: What was seen, one phrase each.
    """

    version: Version
    confidence: Confidence
    seen: tuple[str, ...]


@attrs.define
class _Seen:
    """What is in a program.

    Attributes:
        imports: What is imported, by the name it has in the program: entries, and dotted names of modules.
        phrases: What was seen, with the line.
        sure: Whether an import names a module that no other family has.
        ours: Whether something is imported from `resnet_bk`.
        least: Versions that brought what is used.
        most: The last versions that had what is used.
    """

    imports: dict[str, str] = attrs.field(factory=dict)
    phrases: list[str] = attrs.field(factory=list)
    sure: bool = False
    ours: bool = False
    least: list[Version] = attrs.field(factory=list)
    most: list[Version] = attrs.field(factory=list)


def look(code: str) -> Evidence | None:
    """The evidence in a program; None if it has nothing to do with this family.

    Args:
        code: The program.

    Raises:
        Unreadable: It is no program, or one for a later Python than this.
    """
    seen = _Seen()
    nodes = nodes_of(parse(code))
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            _take_import(node, seen)
    if not seen.phrases:
        line = next((text.lineno for text in texts_that_import(nodes)), None)
        phrase = f"line {line}: a text that names a module"
        return Evidence(version=V0_9, confidence=Confidence.POSSIBLE, seen=(phrase,)) if line else None
    old = not seen.ours
    for node in nodes:
        if isinstance(node, ast.Call):
            old |= _take_call(node, seen)
    return Evidence(
        version=_version(seen) if old else V1_0,
        confidence=Confidence.CERTAIN if seen.sure else Confidence.LIKELY,
        seen=tuple(seen.phrases[:_MOST]),
    )


def _version(seen: _Seen) -> Version:
    """The oldest version whose way of doing something is used; else the newest that brought something."""
    if seen.most:
        return min(seen.most)
    return V0_9 if seen.ours else max(seen.least, default=V0_4)


def _take_import(node: ast.Import | ast.ImportFrom, seen: _Seen) -> None:
    module = "." * node.level + (node.module or "") if isinstance(node, ast.ImportFrom) else ""
    for alias in node.names:
        glue = "." if module.strip(".") else ""
        qualified = f"{module}{glue}{alias.name}" if module else alias.name
        found = resolve(qualified)
        known = found is not None or is_old_module(qualified) or (alias.name == "*" and is_old_module(module))
        ours = module == "resnet_bk" or qualified == "resnet_bk"
        if not known and not ours:
            continue
        local = alias.asname or (alias.name if module else alias.name.partition(".")[0])
        seen.imports[local] = qualified if module or alias.asname else local
        seen.sure |= not ours and (names_module(module) or names_module(qualified))
        seen.ours = ours if not seen.phrases else seen.ours and ours
        if found is not None and found[0].name in _BROUGHT:
            seen.least.append(_BROUGHT[found[0].name])
        where = f" from {module}" if module else ""
        seen.phrases.append(f"line {node.lineno} imports {alias.name}{where}")


def _take_call(node: ast.Call, seen: _Seen) -> bool:
    """Take in a call; whether it is written as before 1.0."""
    name = _dotted(node.func)
    root, _, rest = name.partition(".")
    given = {keyword.arg or "**" for keyword in node.keywords}
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    old = _old(seen.imports.get(root, ""), rest)
    called = old.name if old else method
    for (function, argument), version in _UNTIL.items():
        if called == function and (not argument or argument in given):
            seen.most.append(version)
    if old is None:
        return False
    if called in ("LanguageModel", "ResNetBK"):
        seen.least += [version for setting, version in _SETTINGS.items() if setting in given]
        return bool(given) or len(node.args) != 1 or called == "LanguageModel"
    return called == "MambaKillerConfig" and not given.isdisjoint(_DEPRECATED)


def _old(imported: str, rest: str) -> Old | None:
    found = resolve(f"{imported}.{rest}" if rest else imported) if imported else None
    return found[0] if found and not found[1] else None


def _dotted(node: ast.expr) -> str:
    """A dotted name as it is written; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""
