"""Turns a load request into a llamafile command line of flags that the program knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pathlib import Path

    from modelplug.backends.types import LoadRequest
    from modelplug_llamafile.abilities import Abilities
    from modelplug_llamafile.settings import LlamafileSettings

__all__ = ["Launch", "build_launch"]

ALL_LAYERS = "999"
_BRANDS = {"cuda": "nvidia", "rocm": "amd", "metal": "apple", "vulkan": "vulkan"}
_KEY_VARIABLE = "LLAMA_API_KEY"


@attrs.frozen(kw_only=True)
class Launch:
    """How to start the server.

    Attributes:
        arguments: What follows the program; `{port}` stands for the port.
        environment: Variables to add.
        key: The key the server will demand; empty if it knows none.
        second_server: Whether this is the second server (`--v2`).
        batch_size: The one passed; None if none was.
        threads: The number passed; None if none was.
        notes: What could not be passed on, in full sentences.
    """

    arguments: tuple[str, ...]
    environment: dict[str, str] = attrs.field(factory=dict)
    key: str = ""
    second_server: bool = False
    batch_size: int | None = None
    threads: int | None = None
    notes: tuple[str, ...] = ()

    def with_port(self, port: int) -> list[str]:
        """The arguments with a port in them; 0 has the kernel choose."""
        return [argument.replace("{port}", str(port)) for argument in self.arguments]


def build_launch(
    request: LoadRequest, settings: LlamafileSettings, abilities: Abilities, model: str, key: str
) -> Launch:
    """The command line for a request, of known flags only.

    Args:
        request: What to load.
        settings: The plugin's settings.
        abilities: What the program understands.
        model: The model's path as the program is to see it.
        key: A secret to demand of clients, where the server can.
    """
    second = settings.server == "v2" or (settings.server == "auto" and not abilities.flags & {"--port"})
    if second and not abilities.flags_v2:
        second = False
    if second:
        return _second_server(request, settings, abilities, model)
    return _first_server(request, settings, abilities, model, key)


def _first_server(
    request: LoadRequest, settings: LlamafileSettings, abilities: Abilities, model: str, key: str
) -> Launch:
    notes: list[str] = []
    arguments = ["--server", "--host", "127.0.0.1", "--port", "{port}", "-m", model]
    arguments += ["-c", str(request.context_size), "-t", str(request.threads)]
    arguments += _placement(request, settings, abilities, notes)
    arguments += _memory(settings, abilities, notes)
    if settings.batch_size and abilities.first("-b", "--batch-size"):
        arguments += ["-b", str(settings.batch_size)]
    if settings.batch_size and abilities.first("-ub", "--ubatch-size"):
        arguments += ["-ub", str(min(512, settings.batch_size))]
    # One request at a time, with all of the context; nothing to look at; nothing fetched or rearranged.
    for spellings, values in (
        (("--parallel", "-np"), ("1",)),
        (("--nobrowser",), ()),
        (("--no-ui", "--no-webui"), ()),
        (("--no-context-shift",), ()),
        (("--offline",), ()),
        (("--fit", "-fit"), ("off",)),
        # Gigabytes of main memory for earlier prompts, which nobody has reckoned with.
        (("--cache-ram", "-cram"), ("0",)),
    ):
        flag = abilities.first(*spellings)
        if flag:
            arguments += [flag, *values]
    if request.embeddings:
        arguments += _embedding(request, abilities, notes)
    environment = {}
    if _KEY_VARIABLE in abilities.environment:
        # Not on the command line, where every user of this machine can read it.
        environment[_KEY_VARIABLE] = key
    elif "--api-key" in abilities.flags:
        arguments += ["--api-key", key]
    else:
        key = ""
    # `--log-disable` is never passed: the log says where the layers went, and why loading failed.
    return Launch(
        arguments=(*arguments, *settings.arguments),
        environment=environment,
        key=key,
        batch_size=settings.batch_size if "-b" in arguments else None,
        threads=request.threads,
        notes=tuple(notes),
    )


def _second_server(
    request: LoadRequest, settings: LlamafileSettings, abilities: Abilities, model: str
) -> Launch:
    known = attrs.evolve(abilities, flags=abilities.flags_v2)
    notes: list[str] = []
    arguments = ["--server", "--v2", "-m", model, "-l", "127.0.0.1:{port}", "-c", str(request.context_size)]
    slots = known.first("-s", "--slots")
    arguments += [slots, "1"] if slots else []
    arguments += _placement(request, settings, known, notes)
    if settings.use_mlock or not settings.use_mmap:
        notes.append(
            "The second server always maps the file and never locks it: use_mmap and use_mlock "
            "have no effect."
        )
    return Launch(arguments=(*arguments, *settings.arguments), second_server=True, notes=tuple(notes))


def _placement(
    request: LoadRequest, settings: LlamafileSettings, abilities: Abilities, notes: list[str]
) -> list[str]:
    layers = abilities.first("-ngl", "--n-gpu-layers", "--gpu-layers")
    gpu = abilities.first("--gpu")
    if request.device == "cpu" or request.gpu_layers == 0 or settings.gpu == "disable":
        # Apple's GPU is used unless told otherwise, hence both.
        return ([layers, "0"] if layers else []) + ([gpu, "disable"] if gpu else [])
    api, _, index = request.device.partition(":")
    arguments = []
    if layers:
        arguments += [layers, ALL_LAYERS if request.gpu_layers < 0 else str(request.gpu_layers)]
    else:
        notes.append("This llamafile has no flag for GPU layers: it decides by itself.")
    if gpu:
        # Named, a GPU that can't be used is an error; `auto` would fall back to the CPU without a word.
        brand = settings.gpu if settings.gpu != "auto" else _BRANDS.get(api, "auto")
        arguments += [gpu, brand]
    main = abilities.first("-mg", "--main-gpu")
    split = abilities.first("-sm", "--split-mode")
    if index not in ("", "0") and main:
        arguments += [main, index]
    if split:
        arguments += [split, "none"]
    return arguments


def _memory(settings: LlamafileSettings, abilities: Abilities, notes: list[str]) -> list[str]:
    mode = abilities.first("-lm", "--load-mode")
    arguments = []
    if mode and (settings.use_mlock or not settings.use_mmap):
        if settings.use_mlock:
            return [mode, "mmap+mlock" if settings.use_mmap else "mlock"]
        return [mode, "none"]
    if not settings.use_mmap:
        if "--no-mmap" in abilities.flags:
            arguments.append("--no-mmap")
        else:
            notes.append("This llamafile always maps the file: use_mmap=false has no effect.")
    if settings.use_mlock:
        if "--mlock" in abilities.flags:
            arguments.append("--mlock")
        else:
            notes.append("This llamafile can't lock memory: use_mlock has no effect.")
    return arguments


def _embedding(request: LoadRequest, abilities: Abilities, notes: list[str]) -> list[str]:
    flag = abilities.first("--embedding", "--embeddings")
    if flag is None:
        notes.append("This llamafile has no flag for embeddings.")
        return []
    pooling = abilities.first("--pooling")
    own = any(key.endswith(".pooling_type") for key in request.info.metadata)
    return [flag, pooling, "mean"] if pooling and not own else [flag]


def model_argument(path: Path, payload: str | None, program: Path) -> str:
    """The model's path as the program is to see it: within itself if the model is the program.

    Args:
        path: The model.
        payload: The member of the llamafile that is the model.
        program: The program that will run.
    """
    if payload is not None and path.resolve() == program.resolve():
        return f"/zip/{payload}"
    return str(path)
