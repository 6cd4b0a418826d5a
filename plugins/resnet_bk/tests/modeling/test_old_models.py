"""Models of versions before 1.0 can be held, and give the logits they gave."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

from resnet_bk.configuration import MambaKillerConfig, SeesTheFutureWarning
from resnet_bk.modeling import ResNetBK
from resnet_bk.modeling.grad_blend import blend_gradient

NAMES = {
    "token_embedding.weight": "model.embeddings.weight",
    "position_embedding.weight": "model.position_embeddings.weight",
    "layer_norm_final": "model.norm",
    "layer_norm": "norm",
    "bk_layer.bk_scale": "mixer.scale",
    "bk_layer.v_proj": "mixer.potential",
    "bk_layer.output_proj": "mixer.out_proj",
    "bk_layer.moe_ffn.gating_network": "feed_forward.gate.proj",
    "bk_layer.moe_ffn.experts": "feed_forward.experts",
}
FIXED = ("h0_diag_base", "h0_sub_base", "h0_super_base", ".z", "scattering_step_counter")


def converted(old: dict[str, torch.Tensor], width: int) -> dict[str, torch.Tensor]:
    """The tensors of an old model under their present names, without those that were always the same."""
    made = {}
    for name, tensor in old.items():
        if name.endswith(FIXED):
            continue
        new = re.sub(r"^blocks\.", "model.layers.", name)
        for before, after in NAMES.items():
            new = new.replace(before, after)
        new = re.sub(r"experts\.(\d+)\.0\.", r"experts.\1.up_proj.", new)
        new = re.sub(r"experts\.(\d+)\.3\.", r"experts.\1.down_proj.", new)
        made[new] = tensor.expand(width) if name.endswith("bk_scale") else tensor
    return made


@pytest.fixture
def old_model(old_files: Path) -> Any:
    """The model in a checkpoint of version 0.9."""
    state = torch.load(old_files / "bare_state_dict.pt", weights_only=True)
    with pytest.warns(SeesTheFutureWarning, match="sees the future"):
        model = ResNetBK(
            MambaKillerConfig(
                mixer="diagonal-bidirectional",
                vocab_size=211,
                d_model=64,
                n_layers=2,
                n_seq=128,
                num_experts=4,
                top_k=1,
                use_scattering_router=False,
            )
        )
    left = model.load_state_dict(converted(state, 64), strict=False)
    assert left.unexpected_keys == []
    assert {name.rsplit(".", 1)[1] for name in left.missing_keys} == {"energy", "rho"}
    return model.eval()


@torch.no_grad()
def test_an_old_model_gives_the_logits_it_gave(old_model: Any, old_files: Path) -> None:
    """With the weights of a checkpoint of version 0.9, the logits are those of that version within 1e-4."""
    with numpy.load(old_files / "reference.npz") as reference:
        ids, expected = (torch.from_numpy(reference[name]) for name in ("input_ids", "logits"))
    found = old_model(ids).logits

    assert float((found - expected).abs().max()) < 1e-4
    assert float(expected.abs().max()) > 1


@torch.no_grad()
def test_an_old_model_sees_the_future(old_model: Any, old_files: Path) -> None:
    """What the warning says is true: another last token changes what stands before it."""
    ids = torch.arange(128)[None]
    changed = ids.clone()
    changed[0, -1] = 200

    assert not torch.equal(old_model(ids).logits[0, 126], old_model(changed).logits[0, 126])


@torch.no_grad()
def test_an_old_model_generates_without_a_state(old_model: Any) -> None:
    """Generation computes the whole text for every token, and gives what a loop of full passes gives."""
    ids = torch.arange(20)[None]
    expected = ids
    for _ in range(4):
        expected = torch.cat([expected, old_model(expected).logits[:, -1:].argmax(-1)], 1)

    assert torch.equal(old_model.generate(ids, max_new_tokens=4, do_sample=False), expected)


@torch.no_grad()
def test_padding_in_an_old_model(make_model: Callable[..., Any], tokens: Callable[..., Any]) -> None:
    """Padding is no part of the chain of sites, although the chain goes both ways."""
    with pytest.warns(SeesTheFutureWarning):
        model = make_model(mixer="diagonal-bidirectional", num_experts=3, use_scattering_router=False)
    ids = tokens(2, 20)
    mask = torch.ones_like(ids)
    mask[0, :6] = 0

    padded = model(ids, attention_mask=mask).logits
    torch.testing.assert_close(padded[0, 6:], model(ids[:1, 6:]).logits[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_gradient_is_blended(share: float) -> None:
    """`grad_blend` is the share of the gradient of earlier versions, -Re(conj(cotangent) / G^2)."""
    generator = torch.Generator().manual_seed(3)
    potential = torch.randn(7, generator=generator, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(7, generator=generator, dtype=torch.complex128)
    exact = 1 / (potential - 0.5 - 1j)
    blend_gradient(potential, exact, share).backward(cotangent)
    found, potential.grad = potential.grad, None
    diagonal = 1 / (potential - 0.5 - 1j)
    diagonal.backward(cotangent)
    own = -(cotangent.conj() / diagonal.detach() ** 2).real

    assert found is not None
    assert potential.grad is not None
    torch.testing.assert_close(found, (1 - share) * potential.grad + share * own)
    torch.testing.assert_close(diagonal.detach(), exact.detach())


def test_the_blend_belongs_to_the_model(make_model: Callable[..., Any], tokens: Callable[..., Any]) -> None:
    """Two models of one process have their own shares; the results are the same and the gradients are not."""
    ids = tokens(2, 12)
    gradients, logits = [], []
    for share in (0.0, 0.5, 0.0):
        model = make_model(mixer="diagonal", grad_blend=share, diagonal_heads=2)
        found = model(ids, labels=ids)
        found.loss.backward()
        logits.append(found.logits.detach())
        gradients.append(model.model.layers[0].mixer.potential.weight.grad)

    assert torch.equal(logits[0], logits[1])
    assert torch.equal(gradients[0], gradients[2])
    assert not torch.allclose(gradients[0], gradients[1])
