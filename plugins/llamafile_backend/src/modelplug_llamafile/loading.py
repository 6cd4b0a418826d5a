"""From a load request to a loaded model."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelplug.backends.model import Effective
from modelplug.errors import BackendError
from modelplug.paths import Paths
from modelplug_llamafile.abilities import probe_abilities
from modelplug_llamafile.command import build_launch, model_argument
from modelplug_llamafile.find import command_of, examine, find_program
from modelplug_llamafile.log_facts import facts_in
from modelplug_llamafile.model import LlamafileModel
from modelplug_llamafile.server import start_server
from modelplug_llamafile.settings import LlamafileSettings

if TYPE_CHECKING:
    from modelplug.backends.types import LoadRequest
    from modelplug_llamafile.abilities import Abilities
    from modelplug_llamafile.command import Launch
    from modelplug_llamafile.find import Program
    from modelplug_llamafile.server import RunningServer

__all__ = ["load"]

NAME = "llamafile"
LOG_READ = 4 * 1024 * 1024


def load(request: LoadRequest) -> LlamafileModel:
    """Start a llamafile server for the request and wait until it can generate.

    Raises:
        BackendError: There is no program, or it failed; carries the end of its log.
    """
    settings = request.settings_as(LlamafileSettings)
    program = _program(request, settings)
    abilities = probe_abilities(program, Paths.from_environment().cache, deadline=request.deadlines.load)
    model = model_argument(request.path, request.info.payload, program)
    launch = build_launch(request, settings, abilities, model, secrets.token_hex(16))
    scratch = _own_directory(request.scratch)
    server = start_server(
        command_of(program.absolute()),
        launch,
        scratch=scratch,
        environment=os.environ,
        load_seconds=request.deadlines.load,
    )
    try:
        return LlamafileModel(
            request.info,
            server,
            _in_force(request, abilities, launch, server),
            embeddings=request.embeddings,
            deadlines=request.deadlines,
        )
    except BaseException:
        server.process.stop()
        raise


def _program(request: LoadRequest, settings: LlamafileSettings) -> Path:
    """The program to run: the one in the settings, the model itself if it is one, or one that is found."""
    itself = examine(request.path) if request.info.format == "llamafile" else None
    if itself is not None and not itself.problem and not settings.executable:
        return itself.path
    found = find_program(settings.executable, os.environ, Path.cwd())
    if found is not None and not found.problem:
        return found.path
    raise _no_program(itself or found)


def _no_program(broken: Program | None) -> BackendError:
    return BackendError(
        "there is no llamafile program to run the model with",
        backend=NAME,
        phase="start",
        cause="start-failed",
        why=broken.problem if broken else "none was found on PATH or in the usual places",
        advice=broken.remedy
        if broken
        else "Run `modelplug backends` to see how to install it, or name it in the setting "
        "backends.llamafile.executable.",
    )


def _own_directory(parent: Path | None) -> Path:
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="modelplug-llamafile-", dir=parent))


def _in_force(request: LoadRequest, abilities: Abilities, launch: Launch, server: RunningServer) -> Effective:
    notes = list(launch.notes)
    device, layers = _placement(request, server, notes)
    context = _context_size(server.properties)
    if context is None:
        # The second server does not tell; it never goes beyond what the model was trained for.
        context = min(request.context_size, request.info.context_length or request.context_size)
    if context != request.context_size:
        notes.append(f"A context of {request.context_size} tokens was asked for; it holds {context}.")
    if server.dialect.name == "v2":
        notes.append(
            "The second server samples from the 40 most probable tokens and drops those less than 0.05 as "
            "probable as the first, whatever top_k and min_p say."
        )
    return Effective(
        backend=NAME,
        engine_version=abilities.version,
        device=device,
        gpu_layers=layers,
        context_size=context,
        threads=launch.threads,
        batch_size=launch.batch_size,
        notes=tuple(notes),
    )


def _placement(request: LoadRequest, server: RunningServer, notes: list[str]) -> tuple[str, int | None]:
    """Where the layers really are, by the server's own log, and what differs from the request."""
    facts = facts_in(_log_text(server.process.log))
    if request.device == "cpu" or request.gpu_layers == 0:
        if facts.offloaded:
            notes.append(f"The CPU was asked for, but {facts.offloaded} layers are on the GPU.")
            return facts.device or "gpu", facts.offloaded
        return "cpu", 0
    asked = "all layers" if request.gpu_layers < 0 else f"{request.gpu_layers} layers"
    if facts.offloaded is None:
        if server.dialect.name == "v2":
            notes.append(f"{asked} were asked for on {request.device}; this server does not say if they are.")
            return request.device, None
        notes.append(
            f"{asked} were asked for on {request.device}, but llamafile's log speaks of no GPU: everything "
            "runs on the CPU."
        )
        return "cpu", 0
    wanted = facts.layers if request.gpu_layers < 0 else request.gpu_layers
    if wanted is not None and facts.offloaded < min(wanted, facts.layers or wanted):
        notes.append(f"{asked} were asked for on {request.device}; {facts.offloaded} are there.")
    return (request.device, facts.offloaded) if facts.offloaded else ("cpu", 0)


def _log_text(log: Path) -> str:
    try:
        with log.open("rb") as file:
            return file.read(LOG_READ).decode("utf-8", "replace")
    except OSError:
        return ""


def _context_size(properties: dict[str, Any]) -> int | None:
    settings = properties.get("default_generation_settings")
    value = settings.get("n_ctx") if isinstance(settings, dict) else None
    return value if isinstance(value, int) and value > 0 else None
