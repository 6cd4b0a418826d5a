"""The exact operations as the layers call them, opaque to `torch.compile`.

They have kernels of their own; traced, they would become loops over all sites. An export has no kernels to
call and traces them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar, cast

import torch

from resnet_bk import resolvent
from resnet_bk.resolvent import mixing

__all__ = ["can_mix", "causal_gates", "causal_green_diagonal", "gated_state", "green_diagonal", "mix"]

F = TypeVar("F", bound=Callable[..., object])


def _opaque(function: F) -> F:
    hidden = torch.compiler.disable(function, reason="it has kernels of its own")

    @functools.wraps(function)
    def call(*arguments: object, **options: object) -> object:
        if torch.compiler.is_exporting():
            return function(*arguments, **options)
        return hidden(*arguments, **options)

    return cast("F", call)


can_mix = _opaque(mixing.can_mix)
causal_gates = _opaque(resolvent.causal_gates)
causal_green_diagonal = _opaque(resolvent.causal_green_diagonal)
gated_state = _opaque(resolvent.gated_state)
green_diagonal = _opaque(resolvent.green_diagonal)
mix = _opaque(mixing.mix)
