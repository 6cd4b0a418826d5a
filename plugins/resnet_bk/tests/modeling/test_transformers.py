"""A ResNet-BK model is a transformers model: saving, generating, pipelines, training, compiling."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling import ResNetBK, ResNetBKForCausalLM, ResNetBKModel

Maker = Callable[..., Any]


@torch.no_grad()
def test_a_saved_model_is_the_same(
    make_model: Maker, tokens: Maker, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """What is saved is safetensors, and the Auto classes give the same bits from it."""
    model, ids = make_model(**settings), tokens(2, 9)
    model.save_pretrained(tmp_path)
    read = AutoModelForCausalLM.from_pretrained(tmp_path)
    base = AutoModel.from_pretrained(tmp_path)

    assert (tmp_path / "model.safetensors").is_file()
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["ResNetBKForCausalLM"]
    assert (type(read), type(base)) == (ResNetBKForCausalLM, ResNetBKModel)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), MambaKillerConfig)
    assert torch.equal(read(ids).logits, model(ids).logits)
    assert torch.equal(base(ids).last_hidden_state, model.model(ids).last_hidden_state)
    assert read.generation_config.top_k != 2
    assert read.model.norm.weight._no_weight_decay


def test_a_directory_need_not_say_how_to_generate(
    make_model: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without generation_config.json the `top_k` of experts is not that of sampling; nobody is warned."""
    make_model(eos_token_id=7).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").unlink()
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    try:
        read = AutoModelForCausalLM.from_pretrained(tmp_path)
    finally:
        logger.removeHandler(caplog.handler)
    assert (read.generation_config.eos_token_id, read.generation_config.top_k) == (7, None)
    assert [record.getMessage() for record in caplog.records] == []


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_the_gates(
    make_model: Maker, tokens: Maker, tmp_path: Path, dtype: torch.dtype
) -> None:
    """In 16 bits the gates stay in 32, and so do the chain and the memory of the state."""
    model, ids = make_model(), tokens(1, 20)
    model.save_pretrained(tmp_path)
    half = ResNetBK.from_pretrained(tmp_path, dtype=dtype)
    found = half(ids)
    mixer = half.model.layers[0].mixer

    assert (mixer.gates.rho.dtype, mixer.in_proj.weight.dtype) == (torch.float32, dtype)
    assert torch.equal(mixer.gates.rho, model.model.layers[0].mixer.gates.rho)
    assert found.past_key_values.layers[0]["memory"].dtype == torch.float32
    assert found.past_key_values.layers[0]["chain"].dtype == torch.float32
    scale = model(ids).logits.abs().max()
    assert float((found.logits.float() - model(ids).logits).abs().max() / scale) < 0.05


@torch.no_grad()
def test_generation_with_a_state_is_generation_without(
    make_model: Maker, tokens: Maker, settings: dict[str, Any]
) -> None:
    """Greedy, sampled and beam search give the same tokens with the state as without, also after padding."""
    model, ids = make_model(**settings), tokens(3, 8)
    mask = torch.ones_like(ids)
    mask[0, :3] = 0
    ways: list[dict[str, Any]] = [
        {"do_sample": False},
        {"do_sample": True, "temperature": 0.7},
        {"num_beams": 3, "do_sample": False},
        {"num_beams": 2, "num_return_sequences": 2, "do_sample": False},
    ]
    for way in ways:
        made = []
        for use_cache in (True, False):
            with torch.random.fork_rng():
                torch.manual_seed(4)
                made.append(
                    model.generate(
                        ids, attention_mask=mask, max_new_tokens=7, pad_token_id=0, use_cache=use_cache, **way
                    )
                )

        assert torch.equal(*made)


@pytest.mark.parametrize("copy_key_dim", [0, 8])
@torch.no_grad()
def test_left_padding_gives_what_the_text_alone_gives(
    make_model: Maker, tokens: Maker, copy_key_dim: int
) -> None:
    """Texts of a padded batch go on as each does by itself."""
    model = make_model(copy_key_dim=copy_key_dim)
    texts = [tokens(1, length, seed=length) for length in (3, 9, 6)]
    ids = torch.cat([torch.nn.functional.pad(text, (9 - text.shape[1], 0)) for text in texts])
    mask = torch.cat(
        [torch.nn.functional.pad(torch.ones_like(text), (9 - text.shape[1], 0)) for text in texts]
    )
    together = model.generate(ids, attention_mask=mask, max_new_tokens=6, do_sample=False, pad_token_id=0)
    for row, text in enumerate(texts):
        alone = model.generate(text, max_new_tokens=6, do_sample=False, pad_token_id=0)
        assert torch.equal(together[row, 9:], alone[0, text.shape[1] :])


@pytest.mark.parametrize("copy_key_dim", [0, 8])
@torch.no_grad()
def test_generation_goes_on_from_a_state(make_model: Maker, tokens: Maker, copy_key_dim: int) -> None:
    """A state that was returned can be given to the next call, which computes the new tokens only."""
    model, ids = make_model(copy_key_dim=copy_key_dim), tokens(1, 10)
    first = model.generate(
        ids, max_new_tokens=4, do_sample=False, return_dict_in_generate=True, pad_token_id=0
    )
    both = model.generate(ids, max_new_tokens=9, do_sample=False, pad_token_id=0)
    seen = first.past_key_values.get_seq_length()
    rest = model.generate(
        first.sequences,
        past_key_values=first.past_key_values,
        max_new_tokens=5,
        do_sample=False,
        pad_token_id=0,
    )

    assert seen == 13
    assert torch.equal(rest, both)


def test_a_pipeline_generates(make_model: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pipeline("text-generation")` takes the model with any tokenizer."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # a pipeline sets it and leaves it
    alphabet = {letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({**alphabet, "?": 27}, unk_token="?"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="?", padding_side="left"
    )
    pipe = transformers.pipeline(
        "text-generation", model=make_model(vocab_size=28), tokenizer=tokenizer, device="cpu"
    )
    single = pipe("to be or not", max_new_tokens=5, do_sample=False)
    batch = pipe(["to be or not", "be"], max_new_tokens=5, do_sample=False, batch_size=2)

    assert single[0]["generated_text"] == batch[0][0]["generated_text"]
    assert len(batch[1][0]["generated_text"]) > len("be")


def test_the_trainer_trains(make_model: Maker, tmp_path: Path) -> None:
    """The Trainer of transformers brings the loss down, evaluates, and saves what can be loaded."""
    model = make_model(d_model=64, n_layers=1)
    cycle = torch.arange(24) % 6
    data = [{"input_ids": cycle.roll(shift), "labels": cycle.roll(shift)} for shift in range(6)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=6,
        max_steps=30,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
        logging_strategy="no",
        dataloader_pin_memory=False,
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    after = trainer.evaluate()["eval_loss"]
    trainer.save_model(str(tmp_path / "saved"))

    assert after < 0.5 * before
    assert torch.equal(ResNetBK.from_pretrained(tmp_path / "saved").lm_head.weight, model.lm_head.weight)


def gradients(model: Any, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gradient of every parameter for the usual loss."""
    model.zero_grad()
    model(ids, labels=ids).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_recomputing_gives_the_same_gradients(
    make_model: Maker, tokens: Maker, settings: dict[str, Any]
) -> None:
    """Every parameter has a gradient, and it is the same with gradient checkpointing."""
    model, ids = make_model(**settings).train(), tokens(2, 12)
    plain = gradients(model, ids)
    model.activation_checkpointing_enable()
    recomputed = gradients(model, ids)

    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)
    free_of_gradient = {name for name, gradient in plain.items() if not gradient.any()}
    assert not {name for name in free_of_gradient if "gate" not in name}


def test_the_configuration_can_ask_for_recomputing(make_model: Maker, tmp_path: Path) -> None:
    """`gradient_checkpointing=True` switches it on, and is saved."""
    model = make_model(gradient_checkpointing=True)
    model.save_pretrained(tmp_path)

    assert model.is_activation_checkpointing
    assert ResNetBK.from_pretrained(tmp_path).is_activation_checkpointing


def test_mixed_precision_is_close(make_model: Maker, tokens: Maker, settings: dict[str, Any]) -> None:
    """Under autocast to bfloat16 logits are close to exact, the state has 32 bits, gradients are finite."""
    model, ids = make_model(**settings).train(), tokens(2, 24)
    exact = model(ids).logits.detach()
    with torch.autocast("cpu", torch.bfloat16):
        found = model(ids, labels=ids, use_cache=True)
    found.loss.backward()

    difference = (found.logits.detach().float() - exact).abs()
    if "num_experts" not in settings:  # another expert is another function, however close its score
        # What a copy memory reads is a product of features that tell states apart which differ little.
        assert float(difference.max() / exact.abs().max()) < (0.15 if "copy_key_dim" in settings else 0.06)
    assert float(difference.median() / exact.abs().max()) < 0.02
    for state in found.past_key_values.layers:
        kept = {name: tensor.dtype for name, tensor in state.items() if name != "window"}
        assert set(kept.values()) <= {torch.float32, torch.complex64}
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@torch.no_grad()
def test_double_precision_is_double_throughout(
    make_model: Maker, tokens: Maker, settings: dict[str, Any]
) -> None:
    """In 64 bits a text in pieces and at once agree to 1e-10, so nothing in between has fewer."""
    model, ids = make_model(**settings).double(), tokens(2, 12)
    whole = model(ids).logits
    cache, parts = None, []
    for piece in ids.split([5, 1, 6], dim=1):
        found = model(piece, past_key_values=cache, use_cache=True)
        cache = found.past_key_values
        parts.append(found.logits)

    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-10)


@torch.no_grad()
def test_fresh_weights(make_model: Maker) -> None:
    """Matrices are N(0, 0.02), energies lie in the band, widths fill their range, the rest is neutral."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ResNetBK(MambaKillerConfig(vocab_size=512, d_model=128, n_layers=2))
    mixer = model.model.layers[1].mixer
    eta = torch.nn.functional.softplus(mixer.gates.rho.detach())

    for matrix in (model.model.embeddings, model.lm_head, mixer.in_proj, mixer.out_proj, mixer.gates):
        assert float(matrix.weight.std()) == pytest.approx(0.02, rel=0.1)
    assert mixer.gates.energy.abs().max() < 2
    assert float(eta.min()) > 1e-4
    assert float(eta.max()) < 0.1
    torch.testing.assert_close(eta[:4].log().diff(), eta[4:].log().diff(), rtol=1e-3, atol=1e-3)
    assert float(mixer.conv.weight.abs().max()) <= 0.5
    assert all(bool((neutral == 1).all()) for neutral in (mixer.skip, model.model.norm.weight))


def test_weight_decay_is_for_matrices(make_model: Maker, settings: dict[str, Any]) -> None:
    """Convolutions, biases, norms, energies, widths and skips are free of weight decay, matrices are not."""
    model = make_model(**settings)
    free = model.no_weight_decay()
    marked = {
        name for name, parameter in model.named_parameters() if getattr(parameter, "_no_weight_decay", False)
    }
    decayed = {name for name, _ in model.named_parameters()} - free

    assert all(name.endswith(".weight") and "conv" not in name and "norm" not in name for name in decayed)
    assert marked == free
    assert any(name.endswith("energy") for name in free)
    assert any("in_proj" in name or "out_proj" in name for name in decayed)


@pytest.mark.slow
@pytest.mark.parametrize("copy_key_dim", [0, 8])
@torch.no_grad()
def test_a_compiled_model_is_the_same(make_model: Maker, tokens: Maker, copy_key_dim: int) -> None:
    """`torch.compile` gives the same logits, with padding and without, and from a state."""
    model, ids = make_model(copy_key_dim=copy_key_dim), tokens(2, 12)
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    compiled = torch.compile(model, backend="aot_eager")
    whole = model(ids).logits
    atol = 1e-5 * max(1.0, float(whole.abs().max()))

    torch.testing.assert_close(compiled(ids).logits, whole, rtol=0, atol=atol)
    torch.testing.assert_close(
        compiled(ids, attention_mask=mask).logits[0, 4:],
        model(ids, attention_mask=mask).logits[0, 4:],
        rtol=0,
        atol=atol,
    )
    states = [run(ids, use_cache=True).past_key_values for run in (compiled, model)]
    following = [
        run(tokens(2, 1, seed=9), past_key_values=state).logits
        for run, state in zip((compiled, model), states, strict=True)
    ]
    torch.testing.assert_close(*following, rtol=0, atol=atol)
