"""What tests of benchmarking share: reports made of numbers, as if they had been measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from modelplug.benchmark.metrics import round_medians
from modelplug.benchmark.records import (
    BenchmarkReport,
    CandidateResult,
    Environment,
    Metric,
    ModelFacts,
    Protocol,
    RequestRecord,
    RoundRecord,
)
from modelplug.benchmark.statistics import median_interval

ENVIRONMENT = Environment(
    machine="a" * 16,
    cpu="A processor",
    architecture="x86_64",
    physical_cores=2,
    logical_cores=4,
    usable_cores=4,
    memory_total=8 * 2**30,
    os="Some Linux",
    python="3.11.7",
    modelplug="0.1.0",
    packages={"engine": "1.0"},
    governors=("performance",),
    load_before=0.1,
    load_after=0.2,
)
UNITS = {"load": ("s", "lower"), "memory": ("bytes", "lower"), "gpu-utilization": ("%", "neither")}


class Reports:
    """Makes reports."""

    environment = ENVIRONMENT

    @staticmethod
    def metric(name: str, rounds: Sequence[Sequence[float]], **rest: Any) -> Metric:
        """A metric of these samples, one sequence for each round."""
        values = tuple(value for samples in rounds for value in samples)
        numbers = tuple(number for number, samples in enumerate(rounds) for _ in samples)
        interval = median_interval(round_medians(values, numbers))
        unit, better = UNITS.get(name.partition("-first")[0], ("tokens/s", "higher"))
        if name.startswith("first-token"):
            unit, better = "s", "lower"
        return Metric(
            **{
                "name": name,
                "label": name.replace("-", " "),
                "unit": unit,
                "better": better,
                "how": "it was made up",
                "values": values,
                "rounds": numbers,
                "median": interval.middle,
                "low": interval.low,
                "high": interval.high,
                "confidence": interval.confidence,
                "stable": True,
                **rest,
            }
        )

    @staticmethod
    def round(number: int = 0, **rest: Any) -> RoundRecord:
        """A round."""
        facts = {"at": float(number), "seconds": 1.0, "load_seconds": 0.5, "resident_bytes": 1000}
        return RoundRecord(**{"number": number, **facts, "peak_bytes": 2000, **rest})

    @staticmethod
    def request(workload: str, number: int = 0, **rest: Any) -> RequestRecord:
        """A request."""
        facts: dict[str, Any] = {
            "at": 0.0,
            "warm_up": False,
            "prompt_tokens": 32,
            "cached_tokens": 0,
            "completion_tokens": 1,
            "prompt_seconds": 0.5,
            "generate_seconds": 0.25,
            "first_token_seconds": 0.6,
            "total_seconds": 0.9,
        }
        return RequestRecord(**{"workload": workload, "round": number, **facts, **rest})

    def candidate(self, metrics: Mapping[str, Any], **rest: Any) -> CandidateResult:
        """A candidate with these metrics: samples for each round, or one number for each."""
        made = []
        for name, rounds in metrics.items():
            lists = [[entry] if isinstance(entry, (int, float)) else entry for entry in rounds]
            made.append(self.metric(name, lists))
        return CandidateResult(
            **{
                "label": "demo on engine",
                "model": ModelFacts(name="demo", path="/models/demo.gguf", fingerprint="f" * 16),
                "backend": "engine",
                "engine": "An engine",
                "engine_version": "1.0",
                "effective": {"device": "cpu", "threads": 2},
                "metrics": tuple(made),
                **rest,
            }
        )

    def report(self, *candidates: CandidateResult, **rest: Any) -> BenchmarkReport:
        """A report on candidates."""
        workloads = tuple(
            {"name": name, "prompt_tokens": prompt, "generate_tokens": generate}
            for name, prompt, generate in (("prompt-32", 32, 1), ("generate-32", 16, 32))
        )
        return BenchmarkReport(
            **{
                "created": "2026-11-26T10:00:00+00:00",
                "seconds": 12.5,
                "interrupted": False,
                "protocol": Protocol(
                    rounds=10, budget=180.0, quick=False, deadline=None, workloads=workloads
                ),
                "environment": ENVIRONMENT,
                "candidates": candidates,
                **rest,
            }
        )


@pytest.fixture
def reports() -> Reports:
    """Makes reports, candidates, metrics, rounds and requests of numbers."""
    return Reports()


@pytest.fixture
def steady() -> Callable[[float], list[float]]:
    """Ten rounds around a value, half a percent apart at most."""
    return lambda value: [value * (1 + 0.001 * offset) for offset in (0, 3, -2, 1, -4, 5, -1, 2, -3, 4)]


@pytest.fixture
def speaking(
    own_home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Install three engines that say what their settings want, for this process and those it starts.

    They are the only ones there are then: `alpha`, which is preferred, `beta` and `gamma`.
    """
    directory = tmp_path_factory.mktemp("speaking")
    information = directory / "speaking-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: speaking\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[modelplug]\nspeaking = modelplug_speaking\n")
    paths = [str(directory), str(Path(__file__).parent / "speaking")]
    for path in paths:
        monkeypatch.syspath_prepend(path)
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, *inherited]))
    monkeypatch.setenv("MODELPLUG_PLUGINS", "speaking")
