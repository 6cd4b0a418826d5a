"""Measures what quantising the bundled model costs: held-out loss, size, and time for a token.

    python plugins/resnet_bk/bench/quantization.py --text tiny-shakespeare.txt [--train STEPS]

The loss is that of the last twentieth of the text, which the bundled model was not trained on. Times are
processor times, the least of several runs with one thread; the ways to decode take turns. With --train,
training with rounded weights is compared with the same training without, from which any model may gain or
lose.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import click
import tokenizers
import torch
from torch import Tensor, nn

from resnet_bk.backend.demo_model import demo_directory
from resnet_bk.evaluation import StreamingEvaluator
from resnet_bk.modeling import ResNetBK
from resnet_bk.quantization import MixedPrecisionQuantization, QuantizedBirmanSchwinger, size_in_bytes

# As it was for the training of the bundled model.
HELD_OUT = 0.05
ROUNDS, STEPS = 7, 40
GUIDE = {"experts": 4, "bk_core": 8, "output": 16}


def ways() -> dict[str, Callable[[ResNetBK], ResNetBK]]:
    """What is compared, by the name it has in the table."""
    four = partial(QuantizedBirmanSchwinger, bits=4)
    return {
        "float32": lambda model: model,
        "float32, module by module": without_fused_decoding,
        "16 bits": partial(QuantizedBirmanSchwinger, bits=16),
        "8 bits": partial(QuantizedBirmanSchwinger, bits=8),
        "8 bits, embeddings too": partial(QuantizedBirmanSchwinger, bits=8, embeddings=True),
        "4 bits, whole rows": partial(four, group_size=None),
        "4 bits, groups of 128": partial(four, group_size=128),
        "4 bits, groups of 64": partial(four, group_size=64),
        "4 bits, groups of 32": partial(four, group_size=32),
        "4 bits, embeddings 8": partial(four, embeddings=True),
        "mixed: core 8, output 16, embeddings 8": partial(MixedPrecisionQuantization, config=GUIDE),
        "mixed: core 4, output 8, embeddings 8": partial(
            MixedPrecisionQuantization, config={"bk_core": 4, "output": 8}
        ),
    }


def without_fused_decoding(model: ResNetBK) -> ResNetBK:
    """The same model, decoded as those are that the compiled step does not know."""
    made = ResNetBK(model.config)
    made.load_state_dict(model.state_dict())
    made.model.norm.register_forward_hook(lambda *_: None)
    made.eval()
    return made


@attrs.define
class Row:
    """What is measured of a model.

    Attributes:
        loss: Held out, nats per token.
        size: Bytes of its tensors.
        seconds: The least processor time for a token.
    """

    loss: float
    size: int
    seconds: float = float("inf")


def seconds_per_token(model: ResNetBK, tokens: list[int]) -> float:
    """The processor time of one token, in a stream that has begun."""
    stream = model.stream_state()
    stream.prefill(tokens[:16])
    stream.step(tokens[16])
    started = time.process_time()
    for token in tokens[17 : 17 + STEPS]:
        stream.step(token)
    return (time.process_time() - started) / STEPS


def loss_of(model: nn.Module, tokens: Tensor) -> float:
    """Nats per token."""
    return float(StreamingEvaluator(model).evaluate(tokens).loss)


def measure(model: ResNetBK, held_out: Tensor) -> dict[str, Row]:
    """Every way to quantise a model."""
    made = {name: way(model) for name, way in ways().items()}
    rows = {name: Row(loss_of(one, held_out), size_in_bytes(one)) for name, one in made.items()}
    for _ in range(ROUNDS):
        for name, one in made.items():
            rows[name].seconds = min(rows[name].seconds, seconds_per_token(one, held_out[:100].tolist()))
    return rows


def trained(model: Any, tokens: Tensor, steps: int) -> Any:
    """The model after some further training; the same batches for all."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, weight_decay=0.0)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model.train()
    for _ in range(steps):
        starts = torch.randint(0, len(tokens) - 257, (8,), generator=generator).tolist()
        batch = torch.stack([tokens[start : start + 256] for start in starts])
        loss = model(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def compare_training(tokens: Tensor, held_out: Tensor, steps: int) -> dict[str, float]:
    """Held-out losses of 4 bits after training, and after training without and with rounding."""
    usual = trained(load(), tokens, steps)
    return {
        "4 bits": loss_of(QuantizedBirmanSchwinger(load(), 4), held_out),
        f"{steps} steps, float32": loss_of(usual, held_out),
        f"{steps} steps, then 4 bits": loss_of(QuantizedBirmanSchwinger(usual, 4), held_out),
        f"{steps} steps with 4 bits": loss_of(
            trained(QuantizedBirmanSchwinger(load(), 4, qat=True), tokens, steps).convert(), held_out
        ),
    }


def load() -> ResNetBK:
    """The bundled model."""
    model: ResNetBK = ResNetBK.from_pretrained(demo_directory(), dtype=torch.float32)
    model.eval()
    return model


@click.command(help=__doc__)
@click.option("--text", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--train", default=0, show_default=True, type=click.IntRange(min=0), help="Steps of training.")
def main(text: Path, train: int) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    plays = text.read_text(encoding="utf-8")
    cut = int(len(plays) * (1 - HELD_OUT))
    tokenizer = tokenizers.Tokenizer.from_file(str(demo_directory() / "tokenizer.json"))
    tokens, held_out = (torch.tensor(tokenizer.encode(part).ids) for part in (plays[:cut], plays[cut:]))
    click.echo("| weights | held-out loss | bytes | microseconds a token |\n|---|---|---|---|")
    for name, row in measure(load(), held_out).items():
        click.echo(f"| {name} | {row.loss:.4f} | {row.size:,} | {row.seconds * 1e6:.0f} |")
    if train:
        click.echo("\n| training | held-out loss |\n|---|---|")
        for name, loss in compare_training(tokens, held_out, train).items():
            click.echo(f"| {name} | {loss:.4f} |")


if __name__ == "__main__":
    main()
