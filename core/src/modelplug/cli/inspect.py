"""`modelplug inspect`: what a model file is, what it needs, and which engines can run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from modelplug.cli.rendering import echo_heading, echo_pairs, wrapped
from modelplug.cli.tables import echo_table

if TYPE_CHECKING:
    from modelplug.cli.context import App
    from modelplug.formats.memory_fit import FitVerdict
    from modelplug.formats.model_info import ModelInfo
    from modelplug.formats.weights import Tensor
    from modelplug.system.info import SystemInfo

__all__ = ["command"]

CONTEXTS = (2048, 4096, 8192, 32768)
MAIN_MEMORY = "main memory"
VERDICTS = {"fits": "fits", "partial": "fits in part", "does-not-fit": "does not fit"}


@click.command("inspect")
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--tensors", "with_tensors", is_flag=True, help="List every tensor.")
@click.option(
    "--context-size",
    type=click.IntRange(min=1),
    help="Tokens of context to compute memory for. [default: several]",
)
@click.pass_obj
def command(app: App, /, *, path: str, as_json: bool, with_tensors: bool, context_size: int | None) -> None:
    """Show what the model at PATH is, what memory it needs, and which backends can run it.

    PATH is a file, a directory, `demo`, or a registered name. Only headers are read, and no engine is used.
    """
    from modelplug.backends.inspection import ModelInspector

    info = ModelInspector(app.runtime).inspect_model(path)
    memory = _memory(info, app.runtime.system, context_size)
    tensors = _tensors(info) if with_tensors else None
    if as_json:
        app.echo_json(_as_plain(info, memory, tensors))
        return
    _print_info(info)
    _print_memory(memory)
    _print_backends(info)
    if info.metadata:
        _print_metadata(info.metadata)
    if info.warnings:
        echo_heading("Oddities")
        for warning in info.warnings:
            click.echo(wrapped(warning, indent="  "))
    if with_tensors:
        _print_tensors(info, tensors)


# Memory --------------------------------------------------------------------------------------------------


def _contexts(info: ModelInfo, asked: int | None) -> list[int]:
    if asked is not None:
        return [asked]
    if info.context_length is None:
        return [CONTEXTS[0]]
    return [*(size for size in CONTEXTS if size < info.context_length), info.context_length]


def _memory(
    info: ModelInfo, system: SystemInfo, context_size: int | None
) -> list[tuple[int, str, FitVerdict]]:
    """Verdicts as (context, place, verdict) for main memory and each accelerator by itself."""
    from modelplug.formats.memory_fit import fit

    if info.kind != "model":
        return []
    rows = []
    for context in _contexts(info, context_size):
        ram = system.memory.available
        rows.append((context, MAIN_MEMORY, fit(info, ram_available=ram, context_size=context)))
        for device in system.visible_devices:
            if device.memory_free is None:
                continue
            verdict = fit(
                info,
                ram_available=ram,
                device_free=device.memory_free,
                context_size=context,
                unified_memory=device.unified_memory,
            )
            rows.append((context, device.id, verdict))
    return rows


def _print_memory(rows: list[tuple[int, str, FitVerdict]]) -> None:
    from modelplug.system.report import format_bytes

    if not rows:
        return
    echo_heading("Memory, with weights as stored and a KV cache in f16")
    columns = ["CONTEXT", "PLACE", "WEIGHTS", "KV CACHE", "BUFFERS", "VERDICT", "GPU LAYERS"]
    on_gpu = any(place != MAIN_MEMORY for _, place, _ in rows)
    table: list[list[object]] = []
    for context, place, verdict in rows:
        need = verdict.need
        buffers = f"{format_bytes(need.compute_host_low + need.compute_gpu_low)} to " + format_bytes(
            need.compute_host_high + need.compute_gpu_high
        )
        weights = format_bytes(need.weights_host + need.weights_gpu)
        cache = ("" if need.kv_exact else "up to ") + format_bytes(need.kv)
        row = [context, place, weights, cache, buffers, VERDICTS[verdict.verdict], _layers(place, verdict)]
        table.append(row if on_gpu else row[:-1])
    echo_table(columns if on_gpu else columns[:-1], table, numbers=["CONTEXT", "GPU LAYERS"])
    notes = dict.fromkeys(note for _, _, verdict in rows for note in verdict.need.notes)
    for note in notes:
        click.echo(wrapped(note, indent="  "))
    last = rows[0] if rows[0][2].verdict == "does-not-fit" else None
    if last is not None:
        click.echo(wrapped(last[2].reason, indent="  "))


def _layers(place: str, verdict: FitVerdict) -> str:
    return "" if place == MAIN_MEMORY or not verdict.fits else str(verdict.gpu_layers)


# The model -----------------------------------------------------------------------------------------------


def _print_info(info: ModelInfo) -> None:
    from modelplug.system.report import format_bytes

    heads = f"{info.heads}" if info.heads is not None else None
    if heads and info.heads_kv:
        kinds = sorted(set(info.heads_kv))
        heads += f" ({', '.join(map(str, kinds))} for keys and values)"
    types = ", ".join(
        f"{name} {format_bytes(size)}"
        for name, size in sorted(info.tensor_types.items(), key=lambda item: -item[1])
    )
    version = f" version {info.format_version}" if info.format_version else ""
    order = ", big-endian" if info.byte_order == "big" else ""
    echo_pairs(
        [
            ("Path", info.path),
            ("Format", f"{info.format}{version}{order}"),
            ("Kind", info.kind),
            ("Name", info.name),
            ("Architecture", info.architecture),
            ("Parameters", f"{info.parameters:,}" if info.parameters is not None else None),
            ("Quantisation", info.quantization),
            ("Tensor types", types),
            ("Context length", info.context_length),
            ("Layers", info.layers),
            ("Embedding length", info.embedding_length),
            ("Heads", heads),
            ("Sliding window", info.sliding_window),
            ("State", _state(info)),
            ("Experts", info.experts),
            ("Vocabulary", f"{info.vocabulary_size:,} tokens" if info.vocabulary_size else None),
            ("Tokenizer", info.tokenizer),
            ("Chat template", "yes" if info.chat_template else "no"),
            ("Size", f"{format_bytes(info.size)} ({info.size:,} bytes)"),
            ("Files", len(info.files) if len(info.files) > 1 else None),
            ("Payload", f"{info.payload} at byte {info.payload_offset}" if info.payload else None),
            ("Fingerprint", info.fingerprint),
        ]
    )


def _state(info: ModelInfo) -> str | None:
    from modelplug.system.report import format_bytes

    if info.state_bytes is None:
        return None
    if not info.state_bytes:
        return "none: the whole text is computed again for every token"
    return f"{format_bytes(info.state_bytes)}, in place of a KV cache, for a text of any length"


def _print_metadata(metadata: Mapping[str, object]) -> None:
    import shutil

    echo_heading("Metadata")
    label = max(map(len, metadata), default=0)
    width = max(40, min(shutil.get_terminal_size().columns, 140) - label - 2)
    echo_pairs((key, _shortened(_metadatum(value), width)) for key, value in metadata.items())


def _metadatum(value: object) -> str:
    """A metadata value as a person would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.7g}"  # files hold single precision, of which more digits are noise
    if isinstance(value, Mapping) and value.get("type") == "array":
        values = value.get("values") or ()
        items = ", ".join(map(_metadatum, values[:16])) + (", ..." if len(values) > 16 else "")
        return f"{value['length']:,} x {value['items']}" + (f": {items}" if items else "")
    return str(value)


def _shortened(text: str, width: int) -> str:
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    end = f"... ({len(text):,} characters)" if len(text) > 2 * width else "..."
    return text[: width - len(end)] + end


def _print_backends(info: ModelInfo) -> None:
    echo_heading("Backends")
    click.echo(f"  can run it: {', '.join(info.compatible_backends) or 'none that is installed'}")
    for name, reason in info.incompatible_backends.items():
        click.echo(wrapped(f"{name} can't: {reason}", indent="  "))


# Tensors -------------------------------------------------------------------------------------------------


def _tensors(info: ModelInfo) -> list[Tensor] | None:
    from modelplug.cli.tensor_table import list_tensors

    return list_tensors(info)


def _print_tensors(info: ModelInfo, tensors: list[Tensor] | None) -> None:
    echo_heading("Tensors")
    if tensors is None:
        click.echo(f"  The tensors of a model in the format {info.format} can't be listed.")
        return
    echo_table(
        ["NAME", "TYPE", "SHAPE", "BYTES"],
        [[t.name, t.type, " x ".join(map(str, t.shape)), f"{t.size:,}"] for t in tensors],
        numbers=["BYTES"],
    )


# JSON ----------------------------------------------------------------------------------------------------


def _as_plain(
    info: ModelInfo, memory: list[tuple[int, str, FitVerdict]], tensors: list[Tensor] | None
) -> dict[str, Any]:
    from modelplug.backends.plain import plain
    from modelplug.formats.serialize import to_dict

    result = to_dict(info)
    result["memory"] = [
        {"context_size": context, "place": place, **plain(verdict)} for context, place, verdict in memory
    ]
    if tensors is not None:
        result["tensors"] = [
            {
                "name": tensor.name,
                "type": tensor.type,
                "shape": list(tensor.shape),
                "elements": tensor.elements,
                "size": tensor.size,
            }
            for tensor in tensors
        ]
    return result
