"""What whole models execute is counted the same whichever way they execute it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_bk import FLOPsCounter
from resnet_bk.configuration.errors import SeesTheFutureWarning
from resnet_bk.flops import costs
from resnet_bk.resolvent.selection import VARIABLE

Make = Callable[..., Any]
Tokens = Callable[..., torch.Tensor]

CAUSAL: dict[str, dict[str, Any]] = {
    "default": {"copy_key_dim": None},
    "complex": {"complex_heads": 3},
    "bound": {"free_heads": 0, "complex_heads": 4},
    "swiglu": {"feed_forward": ["swiglu", "none"], "tie_word_embeddings": True},
    "positions": {"position_embeddings": True, "head_bias": True, "norm": "layer"},
    "diagonal": {"mixer": "diagonal", "feed_forward": "swiglu", "diagonal_heads": 4},
    "bump": {"use_prime_bump": True},
    "copying": {"copy_key_dim": 32},
    "copying, tied": {"copy_key_dim": 5, "tie_word_embeddings": True, "head_bias": True},
}
EXPERTS: dict[str, dict[str, Any]] = {
    "experts": {"num_experts": 4, "use_scattering_router": False},
    "routed": {"num_experts": 4, "parallel_feed_forward": True},
}
BIDIRECTIONAL = {"bidirectional": {"mixer": "diagonal-bidirectional"}}


def training(model: Any, ids: torch.Tensor) -> FLOPsCounter:
    """A counter of one forward and one backward pass."""
    with FLOPsCounter(model) as counter:
        model(ids, labels=ids).loss.backward()
    return counter


def reading(model: Any, ids: torch.Tensor) -> FLOPsCounter:
    """A counter of one forward pass."""
    with FLOPsCounter(model) as counter, torch.no_grad():
        model.eval()(ids)
    return counter


@pytest.mark.parametrize("kind", [*CAUSAL, *EXPERTS, *BIDIRECTIONAL])
def test_kernels_agree(
    kind: str, make_model: Make, tokens: Tokens, with_kernel: Callable[[str], None]
) -> None:
    """Exactly, forward and backward, fused or step by step, for each operation."""
    settings = {**CAUSAL, **EXPERTS, **BIDIRECTIONAL}[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeesTheFutureWarning)
        model = make_model(**settings)
    found = []
    for kernel in ("cpu", "torch"):
        with_kernel(kernel)
        found.append(training(model, tokens(2, 20)))

    assert found[0].by_operation == found[1].by_operation
    assert found[0].forward_flops == found[1].forward_flops
    assert found[0].by_module.items() <= found[1].by_module.items()
    assert found[1].by_module.keys() - found[0].by_module.keys() <= {
        f"model.layers.{number}.mixer.conv" for number in range(2)
    }


def test_the_default_layer_by_hand(make_model: Make, tokens: Tokens) -> None:
    """Projections, convolution, gates and memory of two layers, and the output; nothing else."""
    model, sites = make_model(), 2 * 20
    config = model.config
    heads, keys, values = config.num_heads, config.key_dim, config.value_dim
    bound = heads - config.free_heads
    channels, inner = heads * (2 * keys + values), heads * values
    macs = 32 * (channels + inner) + 32 * (heads + 2 * bound) + 4 * channels + 32 * inner
    recurrences = costs.gates(sites * heads) + costs.gated_state(sites * heads, keys, values)

    counter = training(model, tokens(2, 20))
    assert counter.forward_flops == 2 * (2 * sites * macs + recurrences) + 2 * sites * 32 * 61
    back = costs.gates_gradient(sites * heads) + costs.gated_state_gradient(sites * heads, keys, values)
    assert counter.backward_flops == 2 * (4 * sites * macs + back) + 4 * sites * 32 * 61


@pytest.mark.parametrize("kernel", ["cpu", "torch"])
@pytest.mark.parametrize("kind", CAUSAL)
def test_pieces_and_single_tokens(
    kind: str, kernel: str, make_model: Make, tokens: Tokens, with_kernel: Callable[[str], None]
) -> None:
    """A text costs the same at once, in pieces, and token by token, through one call or module by module."""
    with_kernel(kernel)
    model, ids = make_model(**CAUSAL[kind]).eval(), tokens(1, 20)
    whole = reading(model, ids)

    def pieces() -> Iterator[Any]:
        yield from model.stream_state().logits(ids[0], chunk_size=7)

    def steps() -> Iterator[Any]:
        yield from map(model.stream_state().step, ids[0].tolist())

    def cached() -> Iterator[Any]:
        cache = None
        for token in ids[0]:
            result = model(token.reshape(1, 1), past_key_values=cache, use_cache=True)
            cache = result.past_key_values
            yield result

    for way in (pieces, steps, cached):
        with FLOPsCounter(model) as counter, torch.no_grad():
            assert list(way())
        assert counter.total_flops == whole.total_flops
        assert counter.by_operation == whole.by_operation
        for name in ("", "lm_head", "model.layers.1", "model.layers.1.mixer"):
            assert counter.by_module[name] == whole.by_module[name]


@pytest.mark.parametrize("copy_key_dim", [0, 5, 32])
def test_fused_decoding_counts_what_modules_do(copy_key_dim: int, make_model: Make, tokens: Tokens) -> None:
    """A token decoded in one call counts for the same modules as one that goes through them."""
    model, found = make_model(head_bias=True, copy_key_dim=copy_key_dim).eval(), []
    for rows in (1, 2):
        stream = model.stream_state(batch_size=rows)
        stream.prefill(tokens(rows, 4))
        with FLOPsCounter(model) as counter:
            stream.step(tokens(rows, 1)[:, 0])
        found.append({name: flops // rows for name, flops in counter.by_module.items()})

    assert found[0] == found[1]
    assert "model.layers.1.mixer.conv" in found[0]
    assert ("copy_memory.proj" in found[0]) == (copy_key_dim > 0)


def test_counting_changes_nothing(make_model: Make, tokens: Tokens) -> None:
    """Results are the same to the last bit, so the model took the same way."""
    model, ids = make_model().eval(), tokens(1, 12)
    results = []
    for counter in (FLOPsCounter(model), None):
        stream = model.stream_state()
        if counter is None:
            results.append([stream.prefill(ids[0]), stream.step(3), stream.step(4)])
            continue
        with counter:
            results.append([stream.prefill(ids[0]), stream.step(3), stream.step(4)])

    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("kernel", ["cpu", "torch"])
def test_gradient_checkpointing(
    kernel: str, reentrant: bool, make_model: Make, tokens: Tokens, with_kernel: Callable[[str], None]
) -> None:
    """What is computed again counts again, for its modules, in the backward pass that asks for it."""
    with_kernel(kernel)
    model, ids = make_model().train(), tokens(2, 20)
    plain = training(model, ids)
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    repeated = training(model, ids)

    assert repeated.forward_flops == plain.forward_flops
    layers = reading(model, ids).by_module["model.layers"]
    again = repeated.backward_flops - plain.backward_flops
    # The last projection only makes the layer's result: it need not be repeated, and one of the ways knows.
    last = 2 * 2 * ids.numel() * model.model.layers[0].mixer.out_proj.weight.numel()
    assert again == layers if reentrant else again == layers - last
    assert repeated.by_module["lm_head"] == plain.by_module["lm_head"]
    assert repeated.by_module["model.layers"] == plain.by_module["model.layers"] + again


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("kind", ["complex", "diagonal", "bidirectional", "routed"])
def test_repeated_recurrences(kind: str, reentrant: bool, make_model: Make, tokens: Tokens) -> None:
    """Each recurrence counts again where it is computed again to find what its own gradient needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SeesTheFutureWarning)
        model = make_model(**{**CAUSAL, **EXPERTS, **BIDIRECTIONAL}[kind]).train()
    ids = tokens(2, 20)
    plain = training(model, ids).by_operation
    model.activation_checkpointing_enable({"use_reentrant": reentrant})
    repeated = training(model, ids).by_operation
    forward = reading(model, ids).by_operation
    own = [name for name in forward if name.startswith("resnet_bk.")]

    assert own
    assert {name: repeated[name] - plain[name] for name in own} == {name: forward[name] for name in own}


@pytest.mark.parametrize("kind", EXPERTS)
def test_only_chosen_experts(kind: str, make_model: Make, tokens: Tokens) -> None:
    """An expert counts for the tokens that go to it, filled up to the 64 rows that it computes at once."""
    model, ids = make_model(**EXPERTS[kind], n_seq=400).eval(), tokens(2, 150)
    chosen: dict[int, list[int]] = {}

    def remember(module: Any, _: Any, outputs: Any) -> None:
        numbers = outputs[0].flatten().bincount(minlength=4).tolist()
        chosen[id(module)] = numbers

    hooks = [layer.feed_forward.gate.register_forward_hook(remember) for layer in model.model.layers]
    counter = reading(model, ids)
    for hook in hooks:
        hook.remove()

    for number, layer in enumerate(model.model.layers):
        expert = layer.feed_forward.experts[0]
        macs = expert.up_proj.weight.numel() + expert.down_proj.weight.numel()
        for place, count in enumerate(chosen[id(layer.feed_forward.gate)]):
            name = f"model.layers.{number}.feed_forward.experts.{place}"
            assert counter.by_module.get(name, 0) == 2 * macs * (-(-count // 64) * 64)


def test_a_llama_as_pytorch_counts_it(make_llama: Make, tokens: Tokens) -> None:
    """Without operations of our own the count is PyTorch's, module by module."""
    model, ids = make_llama("eager"), tokens(2, 20)
    with FLOPsCounter(model) as ours, FlopCounterMode(display=False) as theirs:
        loss = model(ids, labels=ids).loss
    for module, counts in theirs.get_flop_counts().items():
        name = module.partition(".")[2]
        if module != "Global":
            assert ours.by_module[name] == sum(counts.values())
    with ours, theirs:
        loss.backward()

    assert ours.backward_flops == theirs.get_total_flops() == 2 * ours.forward_flops
    assert ours.by_module[""] == ours.total_flops
    assert ours.by_module["model.layers.0"] == ours.by_module["model.layers.1"]


def test_attention_of_any_implementation(make_llama: Make, tokens: Tokens) -> None:
    """Attention in one operator counts forward as its two matrix products."""
    ids = tokens(2, 20)
    eager, fused = (reading(make_llama(attention), ids) for attention in ("eager", "sdpa"))

    assert fused.total_flops == eager.total_flops
    assert fused.by_module == eager.by_module

    trained = training(make_llama("sdpa"), ids)
    attention = 2 * 2 * (2 * 2 * 4 * 20 * 20 * 8)
    # The way back computes one of them again, as it keeps no matrix of weights.
    assert trained.backward_flops == 2 * trained.forward_flops + attention // 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_counts_the_same(make_model: Make, tokens: Tokens) -> None:
    """Also backward, which another thread computes there."""
    model, ids = make_model(), tokens(2, 20)
    there = training(make_model().cuda(), ids.cuda())
    assert there.by_operation == training(model, ids).by_operation


INTERPRETED = """
import torch
from resnet_bk import FLOPsCounter, MambaKillerConfig, ResNetBK

settings = dict(vocab_size=11, d_model=8, n_layers=1, key_dim=4, value_dim=8, complex_heads=1)
model = ResNetBK(MambaKillerConfig(**settings))
ids = torch.arange(5).reshape(1, 5)
with FLOPsCounter(model) as counter:
    model(ids, labels=ids).loss.backward()
print(sorted(counter.by_operation.items()))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_triton_counts_the_same(tmp_path: Path) -> None:
    """Its kernels, which Triton interprets here in a process of its own, count like PyTorch's."""
    found = []
    for kernel in ("triton", "torch"):
        environment = {**os.environ, VARIABLE: kernel, "TRITON_INTERPRET": "1", "TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", INTERPRETED]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr[-3000:]
        found.append(result.stdout)

    assert found[0] == found[1]
    assert "resnet_bk.gated_state" in found[0]
