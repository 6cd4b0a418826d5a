"""`resnet-bk export`: write a model as an ONNX file."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelplug.errors import ModelFileError, ModelNotFoundError, ModelplugError

if TYPE_CHECKING:
    from modelplug.cli.context import App
    from resnet_bk.modeling import ResNetBKForCausalLM

__all__ = ["command"]


@click.command("export")
@click.argument("model", type=click.Path(path_type=Path), metavar="DIR")
@click.argument("output", type=click.Path(path_type=Path), metavar="OUT.onnx")
@click.option(
    "--length",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Tokens of the text that the file is verified with.",
)
@click.option("--with-state", is_flag=True, help="Let texts be read piece by piece, down to single tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def command(app: App, /, *, model: Path, output: Path, length: int, with_state: bool, as_json: bool) -> None:
    """Write the model in the folder DIR, or the newest of a training run there, as an ONNX file.

    The file takes any number of texts, of any length. Before it gets its name, ONNX Runtime runs it, and what
    it gives is compared with what the model gives.
    """
    from modelplug.cli.rendering import echo_pairs
    from resnet_bk.onnx_export import export_to_onnx

    folder = _folder(model)
    loaded = _load(folder)
    app.note("recording the model and running the file; this takes some seconds for each layer")
    path = export_to_onnx(loaded, output, (1, length), with_state=with_state)
    size = path.stat().st_size
    if as_json:
        app.echo_json({"model": str(folder), "file": str(path), "bytes": size, "with_state": with_state})
        return
    echo_pairs([("model", folder), ("file", path), ("size", f"{size / 1e6:.1f} MB")])


def _folder(path: Path) -> Path:
    """The folder with the model's weights."""
    from resnet_bk.backend.run_folders import inspect_run

    if not path.is_dir():
        raise ModelNotFoundError(
            f"there is no folder {path}", path=path, advice="Name the folder of a model or of a training run."
        )
    if (path / "config.json").is_file():
        return path
    found = inspect_run(path)
    if found is None:
        raise ModelNotFoundError(
            f"there is no model in {path}",
            path=path,
            why="it holds neither a config.json nor the checkpoints of a run",
            advice=f"`modelplug migrate plan {shlex.quote(str(path))}` says whether it is one of before 1.0.",
        )
    return found.path


def _load(folder: Path) -> ResNetBKForCausalLM:
    import torch
    import transformers

    from resnet_bk.configuration import SeesTheFutureWarning, UnusedSettingWarning
    from resnet_bk.modeling import ResNetBKForCausalLM

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # They are for those who build models.
            warnings.simplefilter("ignore", SeesTheFutureWarning)
            warnings.simplefilter("ignore", UnusedSettingWarning)
            model: ResNetBKForCausalLM = ResNetBKForCausalLM.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True
            )
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, ModelplugError):
            raise
        raise ModelFileError(
            f"the model in {folder} can't be loaded",
            path=folder,
            why=(str(error).strip() or type(error).__name__).splitlines()[0],
            advice="Give the folder of a ResNet-BK model, with config.json and model.safetensors.",
        ) from error
    return model
