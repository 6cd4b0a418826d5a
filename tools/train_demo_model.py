"""Train the demo model that modelplug bundles, and write it in several formats.

    python tools/train_demo_model.py --text tiny-shakespeare.txt --out build/demo

trains a Llama model of about one million parameters from scratch and writes `demo-f32.gguf`,
`demo-f16.gguf`, `demo-q8_0.gguf`, `demo-q4_0.gguf` and a Hugging Face directory `demo-hf`. F32, F16, Q8_0 and
the directory hold exactly the same numbers. The bundled `core/src/modelplug/data/demo.gguf` is the Q8_0 file.

Needs, beside modelplug itself: torch, sentencepiece, numpy, gguf, attrs, click.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import torch

from demo_model.corpus import ASSISTANT, USER, build_corpus
from demo_model.export import PRECISIONS, Export, round_weights
from demo_model.network import Llama, Shape
from demo_model.tokenizer import BOS, Tokenizer, train_tokenizer
from demo_model.training import TrainingOptions, TrainingResult, held_out_loss, sample, train
from modelplug.testing.demo_gguf import read_demo_gguf
from modelplug.testing.demo_hugging_face import write_demo_hugging_face

EXAMPLE_TOKENS = 192
FORMATS = (*PRECISIONS, "hf")
NAME_REPETITIONS = 300
"""How often the chat's speaker names are put into the tokenizer's text: enough for pieces of their own."""


def parse_formats(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
    """The formats named in a comma-separated list."""
    chosen = [name.strip() for name in value.split(",") if name.strip()]
    for name in chosen:
        if name not in FORMATS:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(FORMATS)}", context, parameter)
    return chosen


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.option("--text", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--steps", default=2000, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--rows", default=16, show_default=True, type=click.IntRange(min=1), help="Examples in a batch."
)
@click.option("--dropout", default=0.1, show_default=True, type=click.FloatRange(0, 1, max_open=True))
@click.option("--seed", default=20, show_default=True, type=int)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(min=1))
@click.option("--formats", default=",".join(FORMATS), show_default=True, callback=parse_formats)
def main(text: Path, out: Path, threads: int, formats: list[str], **training: Any) -> None:
    """Train, report and write."""
    torch.set_num_threads(threads)
    shape = Shape()
    plays = text.read_text(encoding="utf-8")
    speakers = [USER.strip(), ASSISTANT.strip()] * NAME_REPETITIONS
    tokenizer = train_tokenizer(plays, size=shape.vocabulary, extra_lines=speakers)
    corpus = build_corpus(plays, tokenizer, length=EXAMPLE_TOKENS)
    click.echo(f"{len(corpus.stream)} tokens to train on, {len(corpus.held_out)} held out")
    options = TrainingOptions(**training)
    result = train(corpus, shape, options, click.echo)
    click.echo(f"training loss {result.training_loss:.4f}, held-out loss {result.held_out_loss:.4f}")

    export = build_export(result, tokenizer, options)
    load_weights(result.model, export)
    click.echo(f"held-out loss of the rounded weights {held_out_loss(result.model, corpus):.4f}")
    for prompt in ("ROMEO:", f"{USER}What news from Rome?\n\n{ASSISTANT}"):
        continuation = sample(result.model, [BOS, *tokenizer.encode(prompt)], 80)
        click.echo(f"--- {prompt!r}\n{tokenizer.decode(continuation)}")
    write(export, out, formats)


def build_export(result: TrainingResult, tokenizer: Tokenizer, options: TrainingOptions) -> Export:
    """The model with rounded weights and the facts of its training."""
    weights = {name: values.numpy() for name, values in result.model.gguf_tensors().items()}
    return Export(
        shape=result.model.shape,
        vocabulary=tokenizer.vocabulary(),
        weights=round_weights(weights),
        training=(
            f"{options.steps} steps of {options.rows} x {EXAMPLE_TOKENS} tokens, seed {options.seed}, "
            f"training loss {result.training_loss:.2f}, held-out loss {result.held_out_loss:.2f} "
            "nats per token."
        ),
    )


def load_weights(model: Llama, export: Export) -> None:
    """Put the rounded weights back into the model, so that what is reported is what is written."""
    for name, parameter in model.gguf_tensors().items():
        parameter.copy_(torch.from_numpy(export.weights[name].values))


def write(export: Export, out: Path, formats: list[str]) -> None:
    """Write the chosen formats into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for precision in formats:
        if precision in PRECISIONS:
            path = out / f"demo-{precision}.gguf"
            export.write_gguf(path, precision)
            click.echo(f"{path}: {path.stat().st_size} bytes")
    if "hf" in formats:
        # The directory is derived from a GGUF file by the code that the cross-engine tests use.
        with tempfile.TemporaryDirectory(dir=out) as workplace:
            source = Path(workplace) / "source.gguf"
            export.write_gguf(source, "f32")
            directory = out / "demo-hf"
            directory.mkdir(exist_ok=True)
            write_demo_hugging_face(read_demo_gguf(source), directory)
        click.echo(f"{directory}")


if __name__ == "__main__":
    main()
