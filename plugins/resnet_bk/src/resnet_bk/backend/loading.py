"""Loading a model directory of the 1.0 format, quietly and without a trace in the process."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import BackendError
from resnet_bk.backend import NAME
from resnet_bk.backend.conversation import ChatTemplate, read_chat_template
from resnet_bk.backend.errors import refuse, translated
from resnet_bk.backend.settings import ResNetBKSettings

if TYPE_CHECKING:
    import tokenizers

    from modelplug.backends.types import LoadRequest
    from modelplug.formats.model_info import ModelInfo
    from resnet_bk.modeling import ResNetBKForCausalLM

__all__ = ["Loaded", "load", "read_tokenizer"]


@attrs.frozen
class Loaded:
    """What a model's directory holds, read.

    Attributes:
        model: The model, on its device.
        tokenizer: Its tokenizer.
        template: Its chat template; None if it has none.
    """

    model: ResNetBKForCausalLM
    tokenizer: tokenizers.Tokenizer
    template: ChatTemplate | None


def load(request: LoadRequest, settings: ResNetBKSettings) -> Loaded:
    """Load model, tokenizer and chat template.

    Args:
        request: What to load and where.
        settings: This backend's settings.

    Raises:
        BackendError: It can't be loaded.
    """
    info = request.info
    if info.architecture != "resnet_bk":
        raise refuse(
            info, f"it is a {info.architecture} model, not a ResNet-BK model", "Use another backend."
        )
    tokenizer = read_tokenizer(info)
    with _traces_in(request.scratch), translated("load", f"could not load {info.path.name}"):
        return Loaded(_read_model(info, request.device, settings), tokenizer, read_chat_template(info))


def read_tokenizer(info: ModelInfo) -> tokenizers.Tokenizer:
    """The tokenizer of a model directory.

    Raises:
        BackendError: There is none.
    """
    path = info.path / "tokenizer.json"
    if not path.is_file():
        raise refuse(
            info,
            "there is no tokenizer.json beside the weights, so text can't be turned into tokens",
            "Copy the tokenizer.json that the model was trained with into the directory.",
            cause="no-tokenizer",
        )
    engine = _imported("tokenizers")
    try:
        found: tokenizers.Tokenizer = engine.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more special
        raise refuse(
            info,
            f"its tokenizer.json can't be read: {error}",
            "Copy the tokenizer.json that the model was trained with into the directory.",
            cause="no-tokenizer",
        ) from error
    found.no_padding()
    found.no_truncation()
    return found


def _read_model(info: ModelInfo, device: str, settings: ResNetBKSettings) -> Any:
    import warnings

    torch, transformers = _imported("torch"), _imported("transformers")
    configuration = importlib.import_module("resnet_bk.configuration")
    modeling = importlib.import_module("resnet_bk.modeling")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    name = settings.dtype or ("float32" if device == "cpu" else "auto")
    with warnings.catch_warnings():
        # They are for those who build models; what matters here stands in the notes of the loaded model.
        warnings.simplefilter("ignore", configuration.SeesTheFutureWarning)
        warnings.simplefilter("ignore", configuration.UnusedSettingWarning)
        model = modeling.ResNetBKForCausalLM.from_pretrained(
            info.path,
            dtype="auto" if name == "auto" else getattr(torch, name),
            local_files_only=True,
        )
    return model.to(_torch_device(device)).eval()


def _torch_device(device: str) -> str:
    """Torch's name for a device; its numbers count what `CUDA_VISIBLE_DEVICES` leaves, in that order."""
    api, _, number = device.partition(":")
    if api != "cuda":
        return "cpu"
    shown = [item.strip() for item in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if item.strip()]
    return f"cuda:{shown.index(number)}" if number in shown else f"cuda:{number or 0}"


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise BackendError(
            f"{name} could not be imported",
            backend=NAME,
            phase="load",
            cause="import-failed",
            why=str(error).strip(),
            advice="Run `modelplug doctor` for what is missing and how to install it.",
        ) from error


@contextmanager
def _traces_in(scratch: Path | None) -> Iterator[None]:
    """Leave the process as it was, although the engine's import sets it up for itself.

    torch's compiler, which is imported but not used, makes a directory among the temporary files and names it
    in the environment; the hub's client reads from the environment, once, whether it may use the network.
    """
    if scratch is not None:
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="modelplug-", dir=scratch) as folder:
        wanted = {}
        if "torch._dynamo" not in sys.modules:
            wanted["TORCHINDUCTOR_CACHE_DIR"] = folder
        if "huggingface_hub" not in sys.modules:
            wanted["HF_HUB_OFFLINE"] = "1"
        ours = {name: value for name, value in wanted.items() if name not in os.environ}
        os.environ.update(ours)
        try:
            yield
        finally:
            for name in ours:
                os.environ.pop(name, None)
