"""Train the demo model that this distribution bundles, and write its directory.

    python plugins/resnet_bk/tools/train_demo.py --text tiny-shakespeare.txt --out build/demo

trains a byte-level BPE and a ResNet-BK model of about one million parameters, in some three minutes
on two processor cores. Weights are written in bfloat16, and those that need it in float32. The
bundled `src/resnet_bk/backend/demo` is what it writes.

Needs, beside this distribution: click.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import attrs
import click
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.evaluation import StreamingEvaluator
from resnet_bk.modeling import ResNetBK

END = "<|endoftext|>"
HELD_OUT = 0.05


@attrs.frozen
class Options:
    """How to train.

    Attributes:
        steps: Updates.
        rows: Texts in a batch.
        length: Tokens of a text.
        rate: The highest learning rate.
        seed: Of weights and batches.
    """

    steps: int
    rows: int
    length: int
    rate: float
    seed: int


def train_tokenizer(text: str, size: int) -> tokenizers.Tokenizer:
    """A byte-level BPE: every text has tokens, and they give it back."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def configuration(*, length: int, dropout: float, end: int) -> MambaKillerConfig:
    """The bundled model's: half of its heads have a potential, as all models had when it was trained.

    Args:
        length: Tokens of a text.
        dropout: Share of what is left out in training.
        end: The token between texts.
    """
    return MambaKillerConfig(
        vocab_size=1024,
        d_model=128,
        n_layers=6,
        n_seq=length,
        free_heads=4,
        copy_key_dim=0,
        eos_token_id=end,
        pad_token_id=end,
        dropout=dropout,
    )


def optimizer_of(model: ResNetBK, rate: float) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    free = model.no_weight_decay()
    named = list(model.named_parameters())
    groups = [
        {"params": [parameter for name, parameter in named if name not in free], "weight_decay": 0.1},
        {"params": [parameter for name, parameter in named if name in free], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))


def batches(tokens: Tensor, options: Options) -> Tensor:
    """The beginnings of the texts of all batches, (steps, rows)."""
    generator = torch.Generator().manual_seed(options.seed)
    return torch.randint(
        0, len(tokens) - options.length - 1, (options.steps, options.rows), generator=generator
    )


def train(model: ResNetBK, tokens: Tensor, held_out: Tensor, options: Options) -> None:
    """Train, and report now and then."""
    optimizer = optimizer_of(model, options.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=options.steps, pct_start=0.05
    )
    started = time.monotonic()
    model.train()
    for step, starts in enumerate(batches(tokens, options), 1):
        texts = torch.stack([tokens[start : start + options.length + 1] for start in starts.tolist()])
        logits = model(texts[:, :-1]).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), texts[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == options.steps:
            measured = StreamingEvaluator(model).evaluate(held_out)
            spent = time.monotonic() - started
            losses = f"loss {loss.item():.3f}, held out {measured.loss:.4f}"
            click.echo(f"step {step}: {losses}, {spent / step:.2f} s each")


def half_precision(model: ResNetBK) -> dict[str, Tensor]:
    """The weights in bfloat16, but those of the gates as they are."""
    kept = ("gates", "energy", "rho")
    return {
        name: tensor if any(part in kept for part in name.split(".")) else tensor.to(torch.bfloat16)
        for name, tensor in model.state_dict().items()
    }


def write(model: ResNetBK, tokenizer: tokenizers.Tokenizer, out: Path) -> None:
    """Write the directory, and read it back to make sure that it is whole."""
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)
    wrapped.save_pretrained(out)
    config = model.config
    config.architectures = ["ResNetBKForCausalLM"]
    config.dtype = torch.bfloat16
    config.save_pretrained(out)
    model.generation_config.save_pretrained(out)
    save_file(half_precision(model), out / "model.safetensors", metadata={"format": "pt"})


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--text", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--steps", default=500, show_default=True, type=click.IntRange(min=1))
@click.option("--rows", default=8, show_default=True, type=click.IntRange(min=1))
@click.option("--length", default=256, show_default=True, type=click.IntRange(min=2))
@click.option("--rate", default=4e-3, show_default=True, type=click.FloatRange(0, min_open=True))
@click.option("--dropout", default=0.1, show_default=True, type=click.FloatRange(0, 1, max_open=True))
@click.option("--seed", default=0, show_default=True, type=int)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(min=1))
def main(text: Path, out: Path, threads: int, dropout: float, **options: float) -> None:
    """Train, report and write."""
    torch.set_num_threads(threads)
    torch.manual_seed(options["seed"])
    plays = text.read_text(encoding="utf-8")
    cut = int(len(plays) * (1 - HELD_OUT))
    tokenizer = train_tokenizer(plays[:cut], size=1024)
    tokens, held_out = (torch.tensor(tokenizer.encode(part).ids) for part in (plays[:cut], plays[cut:]))
    end = tokenizer.token_to_id(END)
    model = ResNetBK(configuration(length=int(options["length"]), dropout=dropout, end=end))
    click.echo(
        f"{model.parameter_count()} parameters; {len(tokens)} tokens to train on, {len(held_out)} held out"
    )
    train(model, tokens, held_out, Options(**options))
    write(model, tokenizer, out)

    read = ResNetBK.from_pretrained(out, dtype=torch.float32)
    measured = StreamingEvaluator(read).evaluate(held_out)
    click.echo(f"held out, with the weights as written: {measured.loss:.4f} nats per token")
    prompt = torch.tensor([tokenizer.encode("ROMEO:").ids])
    made = read.generate(prompt, max_new_tokens=80, do_sample=False)
    size = sum(file.stat().st_size for file in out.iterdir())
    click.echo(f"{tokenizer.decode(made[0].tolist())}\n{out}: {size} bytes")


if __name__ == "__main__":
    main()
