"""Models of transformers: `create_resnet_bk_for_hf("1M")` becomes a `ResNetBKForCausalLM` of a preset.

`ResNetBKConfig` is another name of `MambaKillerConfig`; its settings get today's names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelplug_migrators.resnet_bk.source.items import items_of_call
from modelplug_migrators.resnet_bk.source.shapes import text_of
from modelplug_migrators.resnet_bk.source.translation import translate

if TYPE_CHECKING:
    import libcst as cst

    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"hf_resnet_bk", "create_resnet_bk_for_hf"})

_SIZES = frozenset({"1M", "10M", "100M", "1B", "10B"})


def apply(subject: Subject) -> None:
    """Change every model and configuration of the module for transformers."""
    _models(subject)
    calls = [pair for pair in subject.calls_of("ResNetBKConfig") if pair[1].old.counterpart]
    problems = {reference: _problem(call) for call, reference in calls}
    for call, reference in calls:
        if any(problems.values()):
            subject.leave(reference, problems[reference] or "as another one in this file stays")
        else:
            translate(items_of_call(call)).write(subject.program)


def _problem(call: cst.Call) -> str:
    if any(each.star or not each.keyword for each in call.args):
        return "which settings it is given can't be seen"
    made = translate(items_of_call(call))
    return made.problem or ("call torch.manual_seed() in place of manual_seed" if made.seed else "")


def _models(subject: Subject) -> None:
    program = subject.program
    for call, reference in subject.calls_of("create_resnet_bk_for_hf"):
        plain = [each for each in call.args if not each.keyword and not each.star]
        size = text_of(plain[0].value) if len(plain) == 1 else None
        rest = [each for each in call.args if each not in plain]
        if size not in _SIZES or any(each.star for each in rest):
            subject.leave(reference, "which size it makes can't be seen")
            continue
        made = translate([each for each in items_of_call(call, ("size",)) if each.node in rest])
        if made.problem or made.seed is not None:
            subject.leave(reference, made.problem or "manual_seed is gone: call torch.manual_seed()")
            continue
        made.write(program)
        start, end = program.span(plain[0].value)
        quote = program.text[end - 1]
        program.edits.replace(start, end, f"{quote}resnet-bk-{str(size).lower()}{quote}")
        opening, closing = program.parentheses(call)
        subject.imports.replace(reference, "ResNetBKForCausalLM")
        subject.imports.insert(reference, opening + 1, "preset", after="(")
        program.edits.insert(closing, ")", rank=1)
        program.warn(f"a preset of {size} has that many parameters; the model of that name had more", call)
