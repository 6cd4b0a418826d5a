"""How much memory a model takes, and whether it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from core.tests.formats import format_samples as samples
from hypothesis import given
from hypothesis import strategies as st

from modelplug.errors import UsageError
from modelplug.formats import LayerSizes, ModelInfo, fit, inspect, memory_need, offloadable_layers
from modelplug.formats.kv_cache import KV_TYPES

MIB = 1 << 20
GIB = 1 << 30


def model(
    layers: int = 32, heads_kv: int | tuple[int, ...] = 32, head: int = 128, **changes: Any
) -> ModelInfo:
    """A model with the sizes of Llama-2-7B in Q4_0, unless changed."""
    facts: dict[str, Any] = {
        "path": Path("model.gguf"),
        "format": "gguf",
        "architecture": "llama",
        "parameters": 6_738_415_616,
        "layers": layers,
        "heads": 32,
        "heads_kv": (heads_kv,) * layers if isinstance(heads_kv, int) else heads_kv,
        "key_length": head,
        "value_length": head,
        "embedding_length": 4096,
        "vocabulary_size": 32000,
        "weights": LayerSizes(
            layers=(108 * MIB,) * layers, output=103 * MIB, token_embedding=70 * MIB, other=MIB
        ),
    }
    return ModelInfo(**(facts | changes))


@pytest.mark.parametrize(
    ("layers", "heads_kv", "head", "context", "mebibytes"),
    [
        pytest.param(60, 52, 128, 1024, 1560, id="LLaMA-30B"),
        pytest.param(32, 32, 128, 2048, 1024, id="Llama-2-7B"),
        pytest.param(32, 32, 128, 4096, 2048, id="Llama-2-7B-4096"),
        pytest.param(40, 40, 128, 2048, 1600, id="Llama-2-13B"),
        pytest.param(40, 40, 128, 4096, 3200, id="Llama-2-13B-4096"),
        pytest.param(32, 8, 128, 8192, 1024, id="Llama-3-8B"),
        pytest.param(80, 8, 128, 8192, 2560, id="Llama-3-70B"),
        pytest.param(36, 8, 128, 4096, 576, id="Qwen3-8B"),
    ],
)
def test_kv_cache_of_known_models(
    layers: int, heads_kv: int, head: int, context: int, mebibytes: int
) -> None:
    """The KV cache in 16 bits is what engines printed for these models."""
    need = memory_need(model(layers, heads_kv, head), context_size=context)
    assert need.kv == mebibytes * MIB
    assert need.kv_exact
    assert need.kv_host_low + need.kv_gpu_low == need.kv


@pytest.mark.parametrize(
    ("kv_type", "factor"),
    [
        ("f16", 1),
        ("f32", 2),
        ("bf16", 1),
        ("q8_0", 34 / 64),
        ("q4_0", 18 / 64),
        (("q8_0", "f16"), (34 / 64 + 1) / 2),
        ("Q8_0", 34 / 64),
    ],
)
def test_kv_types(kv_type: str | tuple[str, str], factor: float) -> None:
    """Quantised keys and values take the bytes of their blocks."""
    assert memory_need(model(), context_size=2048, kv_type=kv_type).kv == 1024 * MIB * factor


def test_an_unknown_kv_type() -> None:
    """The error lists the types there are."""
    with pytest.raises(UsageError, match="'f17'") as caught:
        memory_need(model(), context_size=2048, kv_type="f17")
    assert all(name in caught.value.advice for name in KV_TYPES)


@pytest.mark.parametrize(
    "wrong", [{"context_size": 0}, {"batch_size": 0}, {"ubatch": -1}, {"gpu_layers": -2}]
)
def test_numbers_out_of_range(wrong: dict[str, int]) -> None:
    """Sizes below one and layers below -1 are the caller's mistake."""
    with pytest.raises(UsageError, match="is "):
        memory_need(model(), **({"context_size": 2048} | wrong))  # type: ignore[arg-type]


def test_weights_go_to_the_gpu_from_the_last_layer_backwards() -> None:
    """N layers on the GPU are the last N; the output follows as one more; the embedding stays."""
    sizes = LayerSizes(layers=(1, 2, 4, 8), output=100, token_embedding=1000, other=10000)
    info = model(4, weights=sizes)
    placed = [
        (need.weights_host, need.weights_gpu)
        for need in (memory_need(info, context_size=8, gpu_layers=count) for count in (0, 1, 2, 4, 5, -1))
    ]
    assert placed == [(11115, 0), (11107, 8), (11103, 12), (11100, 15), (11000, 115), (11000, 115)]
    assert offloadable_layers(info) == 5


def test_a_tied_embedding_is_needed_twice() -> None:
    """With all layers on the GPU a tied embedding is there too, as output, and still on the host."""
    sizes = LayerSizes(layers=(1,) * 4, output=1, token_embedding=1000, tied_embedding=True)
    need = memory_need(model(4, weights=sizes), context_size=8, gpu_layers=-1)
    assert (need.weights_host, need.weights_gpu) == (1000, 1005)


def test_the_cache_follows_its_layers() -> None:
    """Each layer's cache is where the layer is."""
    need = memory_need(model(), context_size=2048, gpu_layers=8)
    assert (need.kv_host, need.kv_gpu) == (768 * MIB, 256 * MIB)


def test_heads_that_differ_by_layer() -> None:
    """A layer without key/value heads has no cache."""
    info = model(4, heads_kv=(8, 0, 8, 0))
    need = memory_need(info, context_size=1024, gpu_layers=1)
    assert (need.kv_host, need.kv_gpu) == (2 * 1024 * 8 * 128 * 4, 0)


def test_compute_buffers_bracket_what_engines_report() -> None:
    """The range holds what llama.cpp prints: 296 MiB for Llama-2-7B at 4096, 560 for Llama-3-8B at 8192."""
    for info, context, printed in (
        (model(metadata={"llama.feed_forward_length": 11008}), 4096, 296),
        (model(32, 8, vocabulary_size=128256, metadata={"llama.feed_forward_length": 14336}), 8192, 560),
    ):
        need = memory_need(info, context_size=context, gpu_layers=-1, device_overhead=(0, 0))
        assert need.compute_gpu_low <= printed * MIB <= need.compute_gpu_high
        assert need.compute_gpu_high < 2 * printed * MIB


def test_flash_attention_needs_no_scores() -> None:
    """With flash attention there is no buffer of scores; if the engine decides, the range covers both."""
    plain = memory_need(model(), context_size=32768)
    flash = memory_need(model(), context_size=32768, flash_attention=True)
    assert plain.compute_host_low == 32 * 32768 * 512 * 4
    assert flash.compute_host_low == 32000 * 512 * 4
    either = memory_need(model(), context_size=32768, flash_attention=None)
    assert either.compute_host_low == flash.compute_host_low
    assert either.compute_host_high == plain.compute_host_high


def test_a_small_batch_needs_small_buffers() -> None:
    """The step is no larger than the batch or the context."""
    small = memory_need(model(), context_size=2048, batch_size=8)
    assert small.compute_host_low == 32 * 2048 * 8 * 4
    assert memory_need(model(), context_size=8).compute_host_low == 32000 * 8 * 4


@pytest.mark.parametrize(
    ("architecture", "metadata", "mebibytes", "exact"),
    [
        ("gemma2", {}, 16 * (1536 + 8192) * 16 // 1024, True),
        ("llama", {}, 32 * 8192 * 16 // 1024, True),
        ("novel", {}, 32 * 8192 * 16 // 1024, False),
        ("novel", {"novel.attention.sliding_window_pattern": 0}, 32 * 1536 * 16 // 1024, True),
        (
            "novel",
            {"novel.attention.sliding_window_pattern": {"values": [True] * 31 + [False]}},
            (31 * 1536 + 8192) * 16 // 1024,
            True,
        ),
    ],
)
def test_sliding_windows(architecture: str, metadata: dict[str, Any], mebibytes: int, exact: bool) -> None:
    """Layers known to attend to a window keep window + batch; otherwise the size is an upper bound."""
    info = model(architecture=architecture, sliding_window=1024, metadata=metadata)
    need = memory_need(info, context_size=8192)
    assert need.kv == mebibytes * MIB
    assert need.kv_exact is exact
    if not exact:
        assert need.kv_host_low == 32 * 1536 * 16 // 1024 * MIB
        assert any("upper bound" in note for note in need.notes)


def test_latent_attention_is_an_upper_bound() -> None:
    """MLA is counted as if everything were stored, with the compressed size as the lower end."""
    metadata = {"deepseek2.attention.kv_lora_rank": 512, "deepseek2.rope.dimension_count": 64}
    need = memory_need(model(architecture="deepseek2", metadata=metadata), context_size=1024)
    assert need.kv == 512 * MIB
    assert need.kv_host_low == 32 * 1024 * 576 * 2
    assert not need.kv_exact
    assert "MLA" in need.notes[0]


def test_recurrent_models_are_an_upper_bound() -> None:
    """A hybrid's cache may be smaller than counted; a purely recurrent model keeps only states."""
    ssm = {"x.ssm.inner_size": 8192, "x.ssm.state_size": 16, "x.ssm.conv_kernel": 4, "x.ssm.group_count": 0}
    hybrid = memory_need(model(architecture="x", metadata=ssm), context_size=2048)
    state = 32 * 4 * (3 * 8192 + 8192 * 16)
    assert (hybrid.kv_host_low, hybrid.kv, hybrid.kv_exact) == (0, 1024 * MIB + state, False)
    mamba = model(architecture="x", metadata=ssm, heads=None, heads_kv=(), key_length=None, value_length=None)
    need = memory_need(mamba, context_size=1 << 20, parallel=2)
    assert need.kv == 2 * state


def test_a_state_that_is_stated_is_all_there_is() -> None:
    """A model that says how large its state is needs that much for each text, at any length."""
    for context_size in (512, 1 << 20):
        need = memory_need(model(layers=7, state_bytes=1000), context_size=context_size, parallel=2)
        assert (need.kv, need.kv_host_low, need.kv_exact) == (2000, 2000, True)
    assert memory_need(model(state_bytes=0), context_size=512).kv == 0


def test_an_encoder_has_no_cache() -> None:
    """Models that read everything at once keep nothing between tokens."""
    need = memory_need(model(architecture="bert"), context_size=512)
    assert (need.kv, need.kv_exact) == (0, True)


def test_what_the_header_does_not_say_is_not_guessed() -> None:
    """Without heads the width gives an upper bound; without that nothing is counted, and a note says so."""
    bound = memory_need(model(heads_kv=(), key_length=None), context_size=2048)
    assert (bound.kv, bound.kv_host_low, bound.kv_exact) == (1024 * MIB, 0, False)
    unknown = memory_need(model(heads_kv=(), embedding_length=None, key_length=None), context_size=2048)
    assert (unknown.kv, unknown.kv_exact) == (0, False)
    assert "not counted" in unknown.notes[0]


def test_dequantised_weights() -> None:
    """An engine that converts to 16 bits needs two bytes per parameter, and room for the conversion."""
    info = model()
    plain = memory_need(info, context_size=2048)
    wide = memory_need(info, context_size=2048, dequantised_bytes_per_parameter=2)
    assert wide.weights_host == pytest.approx(2 * 6_738_415_616, rel=1e-6)
    assert wide.compute_host_high > plain.compute_host_high
    assert "2 bytes per parameter" in wide.notes[-1]
    unknown = memory_need(model(parameters=None), context_size=2048, dequantised_bytes_per_parameter=2)
    assert unknown.weights_host == plain.weights_host


def test_a_file_from_disk(tmp_path: Path) -> None:
    """What inspection returns can be computed with directly, and its weights add up."""
    path = tmp_path / "tiny.gguf"
    path.write_bytes(samples.llama_gguf())
    info = inspect(path)
    need = memory_need(info, context_size=512)
    assert need.weights_host == info.weights.total
    assert need.kv == 2 * 512 * 2 * 16 * 4


@given(
    layers=st.integers(0, 40),
    gpu_layers=st.integers(-1, 50),
    context=st.integers(1, 1 << 17),
    tied=st.booleans(),
    architecture=st.sampled_from(["llama", "gemma3", "novel", "bert"]),
    window=st.sampled_from([None, 512]),
)
def test_estimates_are_consistent(
    layers: int, gpu_layers: int, context: int, tied: bool, architecture: str, window: int | None
) -> None:
    """The low end never exceeds the high end, and no weight is lost in placing."""
    sizes = LayerSizes(
        layers=tuple(range(100, 100 + layers)), output=7, token_embedding=50, other=3, tied_embedding=tied
    )
    info = model(layers, architecture=architecture, sliding_window=window, weights=sizes)
    need = memory_need(info, context_size=context, gpu_layers=gpu_layers)
    assert 0 <= need.host_low <= need.host_high
    assert 0 <= need.gpu_low <= need.gpu_high
    again = need.weights_host + need.weights_gpu - sizes.total
    assert again in {0, sizes.token_embedding}
    if not gpu_layers:
        assert need.gpu_high == 0


def verdict(**options: Any) -> tuple[str, int]:
    """Verdict and layers for the model on a machine with 16 GiB, unless changed."""
    defaults: dict[str, Any] = {"ram_available": 16 * GIB, "context_size": 4096}
    answer = fit(model(), **(defaults | options))
    assert answer.need.gpu_layers == answer.gpu_layers
    return answer.verdict, answer.gpu_layers


def test_fits_entirely_on_a_large_gpu() -> None:
    """With room for everything, all layers go to the GPU."""
    assert verdict(device_free=24 * GIB) == ("fits", 33)


def test_fits_partly_on_a_small_gpu() -> None:
    """Layers are chosen so that the highest estimate leaves the margin free."""
    answer = fit(model(), ram_available=16 * GIB, device_free=5 * GIB, context_size=4096)
    assert answer.verdict == "partial"
    assert 0 < answer.gpu_layers < 32
    assert answer.need.gpu_high + GIB <= 5 * GIB
    more = memory_need(model(), context_size=4096, gpu_layers=answer.gpu_layers + 1)
    assert more.gpu_high + GIB > 5 * GIB, "as many as fit"
    assert f"with {answer.gpu_layers} of 33 layers on the GPU" in answer.reason
    assert not answer.tight


def test_a_gpu_that_is_too_small_is_left_alone() -> None:
    """With no room for one layer the model runs from main memory, and the reason says so."""
    answer = fit(model(), ram_available=16 * GIB, device_free=GIB, context_size=4096)
    assert (answer.verdict, answer.gpu_layers) == ("partial", 0)
    assert "no layers on the GPU" in answer.reason
    assert "1,024 MiB on the GPU" in answer.reason


def test_main_memory_only() -> None:
    """Without a GPU main memory decides."""
    assert verdict() == ("fits", 0)
    assert verdict(device_free=24 * GIB, gpu_layers=0) == ("fits", 0)
    assert verdict(gpu_layers=10) == ("partial", 0)
    assert verdict(ram_available=2 * GIB) == ("does-not-fit", 0)


def test_what_is_asked_for_is_done_if_it_may_fit() -> None:
    """Layers asked for are granted while the lowest estimate fits, with a warning that it is tight."""
    need = memory_need(model(), context_size=4096, gpu_layers=20)
    answer = fit(model(), ram_available=16 * GIB, device_free=need.gpu_low, context_size=4096, gpu_layers=20)
    assert (answer.verdict, answer.gpu_layers, answer.tight) == ("fits", 20, True)
    assert "tight" in answer.reason
    fewer = fit(
        model(), ram_available=16 * GIB, device_free=need.gpu_low - 1, context_size=4096, gpu_layers=20
    )
    assert fewer.verdict == "partial"
    assert fewer.gpu_layers < 20


def test_only_the_lowest_estimate_refuses() -> None:
    """The model is refused one byte below its lowest estimate, and not before."""
    low = memory_need(model(), context_size=4096).host_low
    assert fit(model(), ram_available=low, context_size=4096).fits
    refusal = fit(model(), ram_available=low - 1, context_size=4096)
    assert not refusal.fits
    assert (refusal.needed, refusal.available) == (low, low - 1)
    assert "does not fit" in refusal.reason


def test_host_and_gpu_together() -> None:
    """A model that neither memory holds alone fits if both together do."""
    both = fit(model(), ram_available=3 * GIB, device_free=5 * GIB, context_size=4096)
    assert both.verdict == "partial"
    assert both.need.host_low <= 3 * GIB
    assert both.need.gpu_low <= 5 * GIB
    assert not fit(model(), ram_available=3 * GIB, context_size=4096).fits


def test_unified_memory_is_not_counted_twice() -> None:
    """Where the GPU uses main memory, both parts must fit into it together."""
    shared = {"device_free": 6 * GIB, "unified_memory": True}
    assert verdict(ram_available=12 * GIB, device_free=12 * GIB, unified_memory=True) == ("fits", 33)
    assert verdict(ram_available=2 * GIB, **shared) == ("does-not-fit", 0)


@given(
    ram=st.integers(0, 16 * GIB),
    device=st.none() | st.integers(0, 16 * GIB),
    asked=st.none() | st.integers(-1, 40),
    context=st.sampled_from([512, 4096, 32768]),
    unified=st.booleans(),
)
def test_a_verdict_is_always_kept(
    ram: int, device: int | None, asked: int | None, context: int, unified: bool
) -> None:
    """A positive verdict is never below the lowest estimate, and a refusal never above it on the CPU."""
    answer = fit(
        model(),
        ram_available=ram,
        device_free=device,
        context_size=context,
        gpu_layers=asked,
        unified_memory=unified,
    )
    if answer.fits:
        assert answer.need.host_low <= ram
        assert answer.need.gpu_low <= (device or 0)
    else:
        assert memory_need(model(), context_size=context).host_low > ram
    if asked is not None and asked >= 0:
        assert answer.gpu_layers <= asked
