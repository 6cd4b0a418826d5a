"""What programs take of a model besides its result: sizes stand in `model.config`, parts have other names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

if TYPE_CHECKING:
    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["MARKERS", "apply"]

MARKERS = frozenset({"LanguageModel", "ResNetBK", "resnet_bk"})

_SETTINGS = {
    "d_model": "config.d_model",
    "n_layers": "config.n_layers",
    "n_seq": "config.n_seq",
    "prime_bump_init": "config.use_prime_bump",
    "token_embedding": "get_input_embeddings()",
    "vocab_size": "config.vocab_size",
}
_GONE = frozenset(
    {
        "blocks", "get_stability_diagnostics", "last_routing_diagnostics_list", "last_routing_entropy",
        "layer_norm_final", "position_embedding", "prime_bump_potential", "use_birman_schwinger",
    }
)  # fmt: skip


def apply(subject: Subject) -> None:
    """Change or tell what is taken of changed models."""
    program = subject.program
    # `LanguageModel` of `resnet_bk` gives a tensor, but has no more members than `ResNetBK`.
    older = [program.parent(reference.node) for reference in subject.unseen]
    models = [*subject.models, *(call for call in older if isinstance(call, cst.Call))]
    for node in subject.instances.holders(models):
        member = program.parent(node)
        if not isinstance(member, cst.Attribute) or member.value is not node:
            continue
        name = member.attr.value
        if name not in _SETTINGS and name not in _GONE:
            continue
        written = isinstance(program.parent(member), (cst.AssignTarget, cst.AugAssign, cst.Del))
        sure = subject.instances.surely(node, models)
        if name in _GONE or written or not sure or program.is_kept(member):
            program.todo(f"a ResNetBK has no {name}", member)
        else:
            program.edits.replace(*program.span(member.attr), _SETTINGS[name])
