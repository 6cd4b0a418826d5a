"""Importing the engine without noise, and loading model and tokenizer with it."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelplug.errors import BackendError
from modelplug_transformers.limits import NAME, model_directory, refuse, weights_file
from modelplug_transformers.probe import causal_architectures, gguf_architectures
from modelplug_transformers.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.backends.types import LoadRequest
    from modelplug.formats.model_info import ModelInfo
    from modelplug_transformers.settings import TransformersSettings

__all__ = ["Loaded", "import_engine", "load", "torch_device", "translated_errors"]


class Loaded:
    """What came of loading.

    Attributes:
        torch: The module.
        model: The engine's model.
        tokenizer: Its tokenizer.
        device: Where input goes, as torch names it.
        engine_version: The version of transformers.
        notes: Differences from what was asked for.
    """

    def __init__(
        self, *, torch: Any, model: Any, tokenizer: Any, engine_version: str, notes: tuple[str, ...]
    ) -> None:
        self.torch = torch
        self.model = model
        self.tokenizer = tokenizer
        # Weights that `device_map` leaves in main memory or on disk stand on the device `meta` until needed.
        places = (weight.device for weight in model.parameters())
        self.device = next((place for place in places if place.type != "meta"), torch.device("cpu"))
        self.engine_version = engine_version
        self.notes = notes


def import_engine() -> tuple[Any, Any]:
    """Import torch and transformers, quiet and offline.

    What the host process has set up for itself already stays as it is: these libraries keep such things in
    one place for the whole process.

    Returns:
        The modules.
    """
    first = "transformers" not in sys.modules
    try:
        torch = importlib.import_module("torch")
        with _offline():
            transformers = importlib.import_module("transformers")
    except (ImportError, OSError) as error:
        raise BackendError(
            "transformers could not be imported",
            backend=NAME,
            phase="load",
            cause="import-failed",
            why=str(error).strip(),
            advice="Run `modelplug doctor` for what is missing and how to install it.",
        ) from error
    if first:
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
    return torch, transformers


@contextmanager
def _offline() -> Iterator[None]:
    """Have the hub's client stay off the network, if this is the first use of it in the process.

    It reads the variable once, on import, so the environment can be as it was afterwards.
    """
    name = "HF_HUB_OFFLINE"
    if "huggingface_hub" in sys.modules or name in os.environ:
        yield
        return
    os.environ[name] = "1"
    try:
        importlib.import_module("huggingface_hub.constants")
        yield
    finally:
        del os.environ[name]


def torch_device(device: str, environ: dict[str, str] | None = None) -> str:
    """Give torch's name for a device.

    Args:
        device: `cpu` or a `Device.id`, whose number is the one the driver's own tools show.
        environ: The environment; None reads the process's own.
    """
    api, _, number = device.partition(":")
    if api == "metal":
        return "mps"
    if api not in ("cuda", "rocm"):
        return "cpu"
    variables = (
        ("CUDA_VISIBLE_DEVICES",) if api == "cuda" else ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
    )
    where = os.environ if environ is None else environ
    listed = next((where[name].split(",") for name in variables if where.get(name)), [])
    # torch counts only what these variables leave visible, in the order they give.
    shown = [item.strip() for item in listed]
    return f"cuda:{shown.index(number)}" if number in shown else f"cuda:{number or 0}"


@contextmanager
def translated_errors(phase: str, what: str) -> Iterator[None]:
    """Turn whatever the engine raises into a `BackendError` that says what happened.

    Args:
        phase: For the error.
        what: For the error, a sentence without a full stop.
    """
    try:
        yield
    except BackendError:
        raise
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        first = text.splitlines()[0]
        names = {kind.__name__ for kind in type(error).__mro__}
        if "OutOfMemoryError" in names or "MemoryError" in names or "can't allocate memory" in text:
            raise BackendError(
                f"{what}: out of memory",
                backend=NAME,
                phase=phase,
                cause="out-of-memory",
                why=first,
                advice=(
                    "Close other programs, use a smaller or quantised model with the llamacpp backend, "
                    f"or set backends.{NAME}.dtype to bfloat16."
                ),
            ) from error
        cause = "missing-package" if isinstance(error, ImportError) else "exception"
        if "trust_remote_code" in text:
            cause = "remote-code"
        advice = {
            "missing-package": "Install what the message names, or use another backend.",
            "remote-code": (
                "Read the code that comes with the model, then: "
                f"modelplug config set backends.{NAME}.trust_remote_code true"
            ),
        }.get(cause, "Try another backend; run again with --debug for the engine's own traceback.")
        raise BackendError(
            what,
            backend=NAME,
            phase=phase,
            cause=cause,
            why=f"{type(error).__name__}: {first}",
            advice=advice,
        ) from error


def load(request: LoadRequest, settings: TransformersSettings) -> Loaded:
    """Load model and tokenizer.

    Args:
        request: What to load and where.
        settings: This backend's settings.

    Raises:
        BackendError: It can't be loaded.
    """
    if request.scratch is not None:
        # Removed by whoever named it; nobody but this user has business in it.
        request.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _compiler_cache_in(request.scratch):
        return _load(request, settings)


@contextmanager
def _compiler_cache_in(scratch: Path | None) -> Iterator[None]:
    """Have torch's compiler, which is imported but not used, make its cache where it will be removed.

    Importing it makes a directory among the temporary files and sets an environment variable.
    """
    name = "TORCHINDUCTOR_CACHE_DIR"
    if "torch._dynamo" in sys.modules or name in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="modelplug-", dir=scratch) as folder:
        os.environ[name] = folder
        try:
            yield
        finally:
            os.environ.pop(name, None)


def _load(request: LoadRequest, settings: TransformersSettings) -> Loaded:
    torch, transformers = import_engine()
    info = request.info
    _check_architecture(info, settings)
    with _source(request) as (place, extra), translated_errors("load", f"could not load {info.path.name}"):
        common = {
            **extra,
            "local_files_only": True,
            "trust_remote_code": settings.trust_remote_code,
        }
        directory = None if info.format == "gguf" else Path(place)
        tokenizer = load_tokenizer(transformers, place, common, info, directory)
        placement, notes = _placement(request, settings)
        with _no_progress_bar():
            model, report = transformers.AutoModelForCausalLM.from_pretrained(
                place,
                **common,
                **placement,
                **_precision(torch, request, settings),
                weights_only=True,
                output_loading_info=True,
            )
        _check_complete(info, report, model)
        model.eval()
        left_out = sorted(str(key) for key in report.get("unexpected_keys") or ())
        if left_out:
            notes = (*notes, f"{len(left_out)} tensors are not used: {', '.join(left_out[:3])}.")
    return Loaded(
        torch=torch,
        model=model,
        tokenizer=tokenizer,
        engine_version=str(transformers.__version__),
        notes=notes,
    )


def _check_architecture(info: ModelInfo, settings: TransformersSettings) -> None:
    known = gguf_architectures() if info.format == "gguf" else causal_architectures()
    if info.architecture is None or info.architecture in known or settings.trust_remote_code:
        return
    where = "from GGUF files" if info.format == "gguf" else "as text generators"
    raise refuse(
        info,
        f"the installed transformers does not load the architecture {info.architecture} {where}",
        "Upgrade it (pip install --upgrade transformers), or use another backend.",
    )


@contextmanager
def _source(request: LoadRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the directory to load from, and the arguments that say which file in it."""
    if request.info.format != "gguf":
        yield str(model_directory(request.info)), {}
        return
    path = weights_file(request.info).resolve()
    # Files of another model may lie beside a GGUF file, and transformers would mix them in. A directory of
    # its own, with nothing but a link in it, prevents that.
    with tempfile.TemporaryDirectory(prefix="modelplug-", dir=request.scratch) as folder:
        link = Path(folder) / "model.gguf"
        with suppress(OSError, NotImplementedError):
            link.symlink_to(path)
        if link.exists():
            yield folder, {"gguf_file": link.name}
        else:
            yield str(path.parent), {"gguf_file": path.name}


def _placement(
    request: LoadRequest, settings: TransformersSettings
) -> tuple[dict[str, Any], tuple[str, ...]]:
    device = torch_device(request.device)
    wanted = settings.device_map
    if device == "cpu":
        if wanted in (None, "cpu", "auto"):
            return {}, ()
        return {}, (f"device_map={wanted!r} is not used, because this plan computes on the CPU.",)
    return {"device_map": wanted if wanted is not None else {"": device}}, ()


def _precision(torch: Any, request: LoadRequest, settings: TransformersSettings) -> dict[str, Any]:
    name = settings.precision
    if name is None and request.device == "cpu":
        name = "float32"
    if name is None and request.info.format != "gguf" and request.info.quantization not in ("F32", "F64"):
        name = "auto"
    if name is None or (name == "auto" and request.info.format == "gguf"):
        # Unpacked GGUF weights have no type of their own; 16 bits hold all that was in them.
        bfloat16 = request.device.startswith(("cuda", "rocm")) and torch.cuda.is_bf16_supported()
        name = "bfloat16" if bfloat16 or request.device == "cpu" else "float16"
    return {"dtype": "auto" if name == "auto" else getattr(torch, name)}


def _check_complete(info: ModelInfo, report: dict[str, Any], model: Any) -> None:
    """Refuse a model in which the engine made up weights that it did not find, or left some out."""
    missing = sorted(str(key) for key in report.get("missing_keys") or ())
    wrong = sorted(str(key) for key in report.get("mismatched_keys") or ())
    if missing or wrong:
        shown = ", ".join((missing + wrong)[:3])
        raise refuse(
            info,
            f"{len(missing) + len(wrong)} weights are missing or have another shape ({shown}, ...), and the "
            "engine would fill them with random numbers",
            "Use another backend for this model, or get the complete model.",
            cause="incomplete",
        )
    if info.format == "gguf" and info.parameters is not None:
        # The GGUF reader passes over tensors that it has no place for, and says nothing.
        surplus = info.parameters - int(model.num_parameters())
        if surplus > 0:
            raise refuse(
                info,
                f"the engine has no place for {surplus} of its {info.parameters} weights, and would compute "
                "wrong results without them",
                "Use the llamacpp backend.",
                cause="incomplete",
            )


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep the GGUF reader's progress bar away: it knows no setting that turns it off."""
    with suppress(ImportError):
        module = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
        before = getattr(module, "tqdm", None)
        if before is not None:
            module.tqdm = _plain  # type: ignore[attr-defined]
            try:
                yield
            finally:
                module.tqdm = before  # type: ignore[attr-defined]
            return
    yield


def _plain(items: Any, *_args: object, **_options: object) -> Any:
    return items
