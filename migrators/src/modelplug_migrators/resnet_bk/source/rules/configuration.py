"""`LanguageModel(...)` and `ResNetBK(...)` with settings become `ResNetBK(MambaKillerConfig(...))`.

Settings get today's names; what chose between implementations goes. A dictionary of settings that the
program shows is changed where it stands; one that it does not show goes to `LanguageModel` of `resnet_bk`,
which takes the older names too. A call with a setting that nothing stands for is left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import libcst as cst

from modelplug_migrators.resnet_bk.source import settings
from modelplug_migrators.resnet_bk.source.items import Dictionary, Item, dictionary_at, items_of_call
from modelplug_migrators.resnet_bk.source.rules.manual_seed import move_seed
from modelplug_migrators.resnet_bk.source.shapes import calls
from modelplug_migrators.resnet_bk.source.signatures import CONFIGURATION, SIGNATURES, bind
from modelplug_migrators.resnet_bk.source.translation import Translation, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelplug_migrators.resnet_bk.source.references import Reference
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"LanguageModel", "ResNetBK", "resnet_bk"})

_CLASSES = ("LanguageModel", "ResNetBK")
# A `ResNetBK` took its settings in the order of the older class, or in that of its configuration.
_ORDERS = {"LanguageModel": SIGNATURES, "ResNetBK": (*SIGNATURES, CONFIGURATION)}
_CONFIG = "MambaKillerConfig"
_SETTINGS_LIKE = ("config", "cfg", "conf", "settings", "hparams", "params")


@attrs.define
class _Plan:
    """What becomes of one call.

    Attributes:
        call: The call.
        reference: The class it calls.
        items: Its settings.
        dictionaries: The dictionaries it takes apart, by position.
        bare: Whether its one argument is a dictionary that is not taken apart.
        made: The settings in today's names.
    """

    call: cst.Call
    reference: Reference
    items: list[Item]
    dictionaries: dict[int, Dictionary]
    bare: bool
    made: Translation


def apply(subject: Subject) -> None:
    """Change every model of a program that is made from settings."""
    calls = subject.calls_of(*_CLASSES)
    users = [call for call, _ in calls]
    plans = []
    for call, reference in calls:
        plan = _look(subject, call, reference, users)
        if plan is not None:
            plans.append(plan)
    written: set[cst.CSTNode] = set()
    for plan in plans:
        _write(subject, plan, written)
        subject.models[plan.call] = plan.reference
    _tell_defaults(subject, plans)


# Looking --------------------------------------------------------------------------------------------------


def _look(subject: Subject, call: cst.Call, reference: Reference, users: list[cst.Call]) -> _Plan | None:
    program = subject.program
    if any(argument.star == "*" for argument in call.args):
        subject.leave(reference, "which settings the positional arguments are can't be seen")
        return None
    plain = [argument for argument in call.args if not argument.keyword and not argument.star]
    dictionaries: dict[int, Dictionary] = {}
    bare = False
    if len(plain) == 1:
        kind = _kind_of(subject, plain[0].value, users)
        if isinstance(kind, Dictionary):
            dictionaries[0], bare = kind, True
        elif kind != "vocab_size":
            _leave_single(subject, reference, kind)
            return None
    order: Sequence[str] = ()
    if not bare:
        order, obstacle = bind(program, call, _ORDERS[reference.old.name], alike=users)
        if obstacle:
            subject.leave(reference, obstacle)
            return None
    for position, argument in enumerate(call.args):
        if argument.star == "**":
            found = dictionary_at(program, argument.value, users)
            if found is None:
                _to_shim(subject, reference, f"what is in {program.code(argument)} can't be seen")
                return None
            dictionaries[position] = found
    own = [] if bare else items_of_call(call, order)
    made = translate([*own, *(item for each in dictionaries.values() for item in each.items)])
    if made.problem:
        subject.leave(reference, made.problem)
        return None
    if any(_is_out_of_reach(each, made) for each in dictionaries.values()):
        _to_shim(subject, reference, "settings have older names in a dictionary that others use too")
        return None
    return _Plan(call, reference, own, dictionaries, bare, made)


def _is_out_of_reach(dictionary: Dictionary, made: Translation) -> bool:
    """Whether keys of a dictionary would have to change that others may look up."""
    touched = {item.name for item in dictionary.items if item in made.touched}
    return bool(touched) and (dictionary.shared or not touched.isdisjoint(dictionary.read))


def _kind_of(subject: Subject, node: cst.BaseExpression, users: list[cst.Call]) -> Dictionary | str:
    """What the only positional argument is: a dictionary, `vocab_size`, `config`, `ours`, or unknown."""
    program = subject.program
    found = dictionary_at(program, node, users)
    if found is not None:
        return found
    origins = subject.instances.of(node)
    made_by = {program.code(each.func).rpartition(".")[2] for each in origins if isinstance(each, cst.Call)}
    if made_by and made_by <= {_CONFIG, "preset"}:
        return "ours"
    if made_by:
        return "config"
    if isinstance(node, cst.Name):
        values = [program.value_of(each) for each in program.assignments(node)]
        if values and all(isinstance(value, cst.Integer) for value in values):
            return "vocab_size"
        if any(isinstance(value, cst.Call) and _name_of(value.func).endswith("Config") for value in values):
            return "config"
    if isinstance(node, (cst.Integer, cst.BinaryOperation)) or calls(node, "len"):
        return "vocab_size"
    name = _name_of(node).lower()
    if "vocab" in name or name == "n_tokens":
        return "vocab_size"
    if any(name == word or name.endswith(f"_{word}") or name.startswith(word) for word in _SETTINGS_LIKE):
        return "config"
    return "unknown"


def _name_of(node: cst.BaseExpression) -> str:
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def _leave_single(subject: Subject, reference: Reference, kind: str) -> None:
    """A model that is made from one object: with a configuration it is written as it is today."""
    if kind == "ours" or reference.old.name == "ResNetBK":
        return
    if kind == "config":
        subject.leave(
            reference,
            "it takes a configuration already: make that a MambaKillerConfig, with its names of settings",
        )
    else:
        subject.leave(reference, "whether it gets the vocabulary's size or a configuration can't be seen")


def _to_shim(subject: Subject, reference: Reference, what: str) -> None:
    """Leave the call to `LanguageModel` of `resnet_bk`, which knows the settings of all versions."""
    if reference.old.name != "LanguageModel":
        subject.imports.replace(reference, "LanguageModel")
    subject.unseen[reference] = what


# Writing --------------------------------------------------------------------------------------------------


def _write(subject: Subject, plan: _Plan, written: set[cst.CSTNode]) -> None:
    program, made, call = subject.program, plan.made, plan.call
    shown = [each for each in plan.dictionaries.values() if each.node in written]
    known = {item for each in shown for item in each.items}
    part = attrs.evolve(
        made,
        renamed={item: name for item, name in made.renamed.items() if item not in known},
        removed=[item for item in made.removed if item not in known],
        hybrid=None if made.hybrid in known else made.hybrid,
    )
    moved = []
    if made.seed is not None and made.seed not in known:
        moved = [made.seed] if move_seed(subject, made.seed, call, plan.reference) else []
    part.write(program, without=moved)
    gone = {item.node for item in [*part.removed, *moved]}
    subject.settings[call] = [each for each in call.args if each not in gone]
    written.update(each.node for each in plan.dictionaries.values())
    for item in plan.items:
        if item.label is None and item not in made.removed:
            program.edits.insert(program.span(item.value)[0], f"{made.renamed.get(item, item.name)}=")
    if plan.bare:
        program.edits.insert(program.span(call.args[0])[0], "**")
    _add_top_k(subject, plan)
    subject.imports.replace(plan.reference, "ResNetBK")
    opening, closing = program.parentheses(call)
    subject.imports.insert(plan.reference, opening + 1, _CONFIG, after="(")
    program.edits.insert(closing, ")", rank=1)
    _tell(subject, plan)


def _add_top_k(subject: Subject, plan: _Plan) -> None:
    """One expert for each token was the default when experts were given; it is two now."""
    made, program = plan.made, subject.program
    if "num_experts" not in made.names or "top_k" in made.names:
        return
    every = [*plan.items, *(item for each in plan.dictionaries.values() for item in each.items)]
    experts = next(item for item in every if item.name == "num_experts")
    if isinstance(experts.value, cst.Integer) and experts.value.evaluated_value == 0:
        return
    if experts in plan.items:
        _, end = program.span(experts.node)
        program.edits.insert(end, ", top_k=1")
    else:
        subject.add_setting(plan.call, "top_k=1")


def _tell(subject: Subject, plan: _Plan) -> None:
    program, made = subject.program, plan.made
    gone = [item.name for item in made.removed]
    if gone:
        program.note(f"{', '.join(gone)}: gone, nothing depends on it any more", plan.call)
    for warning in made.warnings:
        program.warn(warning, plan.call)


def _tell_defaults(subject: Subject, plans: list[_Plan]) -> None:
    for plan in plans:
        if plan.reference.old.name != "LanguageModel" or plan.reference.old.is_ours:
            continue
        missing = [
            f"{name} {change}"
            for name, change in settings.DEFAULTS_CHANGED.items()
            if name not in plan.made.names
        ]
        if missing:
            subject.program.warn(
                f"settings that are not given have other defaults now: {', '.join(missing)}", plan.call
            )
