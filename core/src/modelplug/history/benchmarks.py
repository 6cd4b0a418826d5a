"""From the result of a benchmark to what the history keeps of it."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

import attrs

from modelplug.history.records import BenchmarkRecord, machine_name, now

__all__ = ["BenchmarkDocument", "read_benchmark"]

_SIZE = re.compile(r"\d+")


@attrs.frozen(kw_only=True)
class BenchmarkDocument:
    """A benchmark's whole result, and the rows of figures in it.

    Attributes:
        text: The result as JSON.
        time: When it was measured, as ISO 8601 in UTC.
        machine: The processor it was measured on.
        rows: One for each model and engine; their `document` is not known yet.
    """

    text: str
    time: str
    machine: str
    rows: tuple[BenchmarkRecord, ...] = ()


def read_benchmark(result: Mapping[str, Any]) -> BenchmarkDocument:
    """What the history keeps of a benchmark's result.

    Whatever is not where today's results have it stays in the document and is missing from the rows.

    Args:
        result: What `modelplug bench --json` prints; plain data.

    Raises:
        ValueError: It holds something that is no JSON.
    """
    try:
        text = json.dumps(result, ensure_ascii=True, allow_nan=False)
    except TypeError as error:
        raise ValueError(str(error)) from error
    environment = _mapping(result.get("environment"))
    cores = environment.get("usable_cores")
    machine = machine_name(str(environment.get("cpu", "")), cores if isinstance(cores, int) else 0)
    created = result.get("created")
    moment = created if isinstance(created, str) and created else now()
    rows = tuple(_row(candidate, moment, machine) for candidate in _mappings(result.get("candidates")))
    return BenchmarkDocument(text=text, time=moment, machine=machine, rows=rows)


def _row(candidate: Mapping[str, Any], moment: str, machine: str) -> BenchmarkRecord:
    model, effective = _mapping(candidate.get("model")), _mapping(candidate.get("effective"))
    metrics = [metric for metric in _mappings(candidate.get("metrics")) if _number(metric.get("median"))]
    rounds = list(_mappings(candidate.get("rounds")))
    failed = candidate.get("status") == "failed"
    error = _mapping(candidate.get("error"))
    return BenchmarkRecord(
        document=0,
        fingerprint=str(model.get("fingerprint", "")),
        model=str(model.get("name", "")),
        backend=str(candidate.get("backend", "")),
        engine_version=str(candidate.get("engine_version", "")),
        device=str(effective.get("device", "cpu")),
        gpu_layers=_whole(effective.get("gpu_layers")) or 0,
        context_size=_whole(effective.get("context_size")),
        threads=_whole(effective.get("threads")),
        machine=machine,
        load_seconds=_median(rounds, "load_seconds"),
        prompt_speed=_largest(metrics, "prompt-"),
        generate_speed=_largest(metrics, "generate-"),
        first_token_seconds=_first_token(metrics),
        resident_bytes=_whole(_most(rounds, "peak_bytes")),
        device_bytes=_whole(_most(rounds, "peak_device_bytes")),
        gpu_utilization=_median(rounds, "gpu_utilization"),
        stable=all(bool(metric.get("stable")) for metric in metrics) if metrics else None,
        success=not failed,
        error=str(error.get("what", "")) if failed else "",
        time=moment,
    )


def _largest(metrics: Iterable[Mapping[str, Any]], kind: str) -> float | None:
    """The median speed of the largest size of a kind, which start-up costs weigh least on."""
    sizes = {
        int(found[0]): float(metric["median"])
        for metric in metrics
        if str(metric.get("name", "")).startswith(kind)
        and metric.get("unit") == "tokens/s"
        and (found := _SIZE.search(str(metric["name"])))
    }
    return sizes[max(sizes)] if sizes else None


def _first_token(metrics: Iterable[Mapping[str, Any]]) -> float | None:
    """The median time to the first token after the shortest prompt."""
    sizes = {
        int(found[0]): float(metric["median"])
        for metric in metrics
        if str(metric.get("name", "")).startswith("first-token-") and (found := _SIZE.search(metric["name"]))
    }
    return sizes[min(sizes)] if sizes else None


def _numbers(rounds: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    return [float(value) for entry in rounds if _number(value := entry.get(name))]


def _median(rounds: Iterable[Mapping[str, Any]], name: str) -> float | None:
    values = _numbers(rounds, name)
    return statistics.median(values) if values else None


def _most(rounds: Iterable[Mapping[str, Any]], name: str) -> float | None:
    return max(_numbers(rounds, name), default=None)


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> int | None:
    return int(value) if _number(value) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    entries = value if isinstance(value, Iterable) and not isinstance(value, (str, Mapping)) else ()
    return (entry for entry in entries if isinstance(entry, Mapping))
