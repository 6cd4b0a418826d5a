"""`resnet-bk train`: train a model on text."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from modelplug.errors import EXIT_INTERRUPTED, UsageError

if TYPE_CHECKING:
    from modelplug.cli.context import App
    from resnet_bk.cli.inputs import DataWish
    from resnet_bk.training import ConfigFile, TrainingConfig, TrainingResult

__all__ = ["command"]

_RUN_FILE = "run.json"
# The bytes, and the end of a text.
_LEAST_VOCABULARY = 257
# What the command line calls otherwise than the settings do.
_OF_DATA = ("texts", "validation", "validation_fraction", "column", "tokenizer", "vocabulary")


@click.command("train")
@click.argument("texts", nargs=-1, metavar="TEXT...")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The folder of the run.")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="A configuration of 1.0, with sections."
)
@click.option("--resume", is_flag=True, help="Go on from the newest intact checkpoint, if there is one.")
@click.option("--validation", multiple=True, metavar="TEXT", help="What to evaluate on; may be repeated.")
@click.option("--validation-fraction", type=click.FloatRange(0, 0.9), default=0.05, show_default=True)
@click.option("--text-column", "column", default="text", show_default=True, help="Of a saved dataset.")
@click.option("--tokenizer", metavar="PATH", help="tokenizer.json or a SentencePiece model; else made anew.")
@click.option(
    "--vocab-size", "vocabulary", type=click.IntRange(_LEAST_VOCABULARY), default=4096, show_default=True
)
@click.option("--model", type=click.Path(path_type=Path), help="A config.json, or a folder with weights.")
@click.option(
    "--set", "changes", multiple=True, metavar="NAME=VALUE", help="Entry of the model's configuration."
)
@click.option("--settings", type=click.Path(path_type=Path), help="A JSON file of training settings.")
@click.option("--steps", type=int, help="Updates; else --epochs decides.")
@click.option("--epochs", type=float, help="Passes over the data.  [default: 1]")
@click.option("--batch-size", type=int, help="Sequences per update.  [default: the model's, or 16]")
@click.option("--accumulation", type=int, help="Parts a batch is divided into.  [default: 1]")
@click.option("--sequence-length", type=int, help="Tokens in a sequence.  [default: 256]")
@click.option("--learning-rate", type=float, help="The highest.  [default: the model's, or 0.001]")
@click.option("--schedule", type=click.Choice(["one-cycle", "cosine", "constant"]))
@click.option("--warmup", type=float, help="Share of the steps.  [default: 0.05]")
@click.option("--weight-decay", type=float, help="Of matrices.  [default: 0.1]")
@click.option("--gradient-clip", type=float, help="Largest norm.  [default: 1]")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16", "float16"]))
@click.option("--seed", type=int, help="Of everything random.  [default: 0]")
@click.option("--device", help="cpu, cuda, ...  [default: auto]")
@click.option("--evaluate-every", type=int, help="Steps.  [default: at the end]")
@click.option("--checkpoint-every", type=int, help="Steps.  [default: 500]")
@click.option("--keep-checkpoints", type=int, help="Besides the best.  [default: 5]")
@click.option("--patience", type=int, help="Stop after so many evaluations without a gain.")
@click.option("--log-every", type=int, help="Steps.  [default: 10]")
@click.option("--tensorboard/--no-tensorboard", default=None, help="Write TensorBoard's files, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    output: Path | None,
    config_path: Path | None,
    resume: bool,
    model: Path | None,
    changes: tuple[str, ...],
    settings: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a model on TEXTs: text files, folders of them, or saved Hugging Face datasets.

    --config FILE takes model, training, data and output folder from a configuration of 1.0, such as
    `modelplug migrate` writes (YAML, JSON, TOML); what is typed goes before it.

    Ctrl-C saves a checkpoint and ends; --resume goes on from there, exactly, and everything not given is then
    as it was. Several processes train together under `accelerate launch -m resnet_bk.cli train ...`.
    """
    from resnet_bk.cli.inputs import build_model, prepare_data
    from resnet_bk.cli.stopping import StopSignals
    from resnet_bk.training import TrainingConfig, train
    from resnet_bk.training.processes import leave_processes, main_process
    from resnet_bk.training.progress import make_progress

    app: App = ctx.obj
    file = _config_file(app, config_path, model)
    output = output or file.output
    if output is None:
        raise UsageError("there is no folder for the run", advice="`resnet-bk train TEXT --output DIR`")
    stored = _stored(output) if resume else {}
    entries = {**stored.get("changes", {}), **file.model, **_changes(changes)}
    wish = _wish(ctx, given, {**stored.get("data", {}), **_data_of(file, entries)})
    typed = {name: value for name, value in given.items() if name not in _OF_DATA and value is not None}
    read = {} if settings is None else _read_object(settings)
    wanted = {**stored.get("settings", {}), **file.training, **read, **typed}
    config = TrainingConfig.from_dict(wanted)
    if model is None and not file.model and stored.get("model"):
        model = Path(stored["model"])
    data = prepare_data(wish, output, sequence_length=config.sequence_length)
    if data.validation is None:
        app.note("there is too little text to keep some for evaluating")
    made = build_model(model, entries, data.tokenizer.vocabulary, config.seed)
    config = TrainingConfig.from_dict({**TrainingConfig.wishes_of(getattr(made, "config", None)), **wanted})
    if main_process():
        _store(output, wish, config, model, entries)
    with StopSignals() as stop:
        result = train(
            made,
            data.train,
            config,
            output=output,
            validation=data.validation,
            tokenizer=data.tokenizer,
            resume=resume,
            progress=make_progress(),
            should_stop=stop,
        )
    if main_process():
        _show(app, result, output, as_json=as_json)
    leave_processes()
    if result.stopped == "interrupted":
        ctx.exit(EXIT_INTERRUPTED)


def _config_file(app: App, path: Path | None, model: Path | None) -> ConfigFile:
    """What the configuration file says; nothing if there is none."""
    import attrs

    from resnet_bk.training import ConfigFile, read_config_file

    if path is None:
        return ConfigFile(model={}, training={}, data={})
    file = read_config_file(path)
    if model is None or not file.model:
        return file
    app.note(f"--model takes the place of the section model in {path}")
    return attrs.evolve(file, model={})


def _data_of(file: ConfigFile, entries: dict[str, Any]) -> dict[str, Any]:
    """What the file says of the data; a new tokenizer has as many tokens as the model is made for."""
    tokens = entries.get("vocab_size")
    if not file.model or type(tokens) is not int or tokens < _LEAST_VOCABULARY:
        return file.data
    return {"vocabulary": tokens, **file.data}


def _wish(ctx: click.Context, given: dict[str, Any], before: dict[str, Any]) -> DataWish:
    """What to train on: what was typed, then what file or run say, then the defaults."""
    from resnet_bk.cli.inputs import DataWish

    values: dict[str, Any] = {}
    for name in _OF_DATA:
        typed = ctx.get_parameter_source(name) is not ParameterSource.DEFAULT and given[name] != ()
        values[name] = before[name] if name in before and not typed else given[name]
    if not values["texts"]:
        raise UsageError(
            "there is nothing to train on",
            why="no text was named",
            advice="`resnet-bk train TEXT --output DIR`; without TEXT only to --resume a run in DIR, or with "
            "a --config that names texts.",
        )
    for name in ("texts", "validation"):
        values[name] = tuple(values[name])
    return DataWish(**values)


def _changes(texts: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(
                f"--set takes NAME=VALUE, not {text!r}", advice="For example `--set d_model=256`."
            )
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _stored(output: Path) -> dict[str, Any]:
    path = output / _RUN_FILE
    return _read_object(path) if path.is_file() else {}


def _read_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} can't be read", why=str(error), advice="Give a file with a JSON object."
        ) from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no JSON object", advice="Give a file with a JSON object.")
    return found


def _store(
    output: Path, wish: DataWish, config: TrainingConfig, model: Path | None, changes: dict[str, Any]
) -> None:
    import attrs

    from modelplug.atomic import write_atomically

    data = attrs.asdict(wish)
    for name in ("texts", "validation"):
        data[name] = [str(Path(path).expanduser().absolute()) for path in data[name]]
    if wish.tokenizer is not None:
        data["tokenizer"] = str(Path(wish.tokenizer).expanduser().absolute())
    content = {
        "data": data,
        "settings": config.to_dict(),
        "model": None if model is None else str(model.absolute()),
        "changes": changes,
    }
    write_atomically(output / _RUN_FILE, json.dumps(content, indent=1) + "\n")


def _show(app: App, result: TrainingResult, output: Path, *, as_json: bool) -> None:
    from modelplug.cli.rendering import echo_pairs

    if as_json:
        app.echo_json(result.to_dict())
        return
    validation = result.best_validation_loss
    echo_pairs(
        [
            ("training", f"{result.stopped} at step {result.step}"),
            ("training loss", f"{result.loss:.4f}"),
            ("best validation loss", None if validation is None else f"{validation:.4f}"),
            ("failures overcome", len(result.failures) or None),
            ("last checkpoint", result.checkpoint),
            ("best checkpoint", result.best_checkpoint),
            ("measurements", output / "metrics.jsonl"),
        ]
    )
    best = result.best_checkpoint or result.checkpoint
    if best is not None:
        app.note(f"`modelplug run {shlex.quote(str(best))} PROMPT` lets it speak")
    if result.stopped == "interrupted":
        app.note(f"`resnet-bk train --resume --output {output}` goes on from here")
