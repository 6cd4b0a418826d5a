"""`modelplug recommend`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelplug.errors import ModelNotFoundError, UsageError


def test_every_candidate_has_a_verdict_and_a_reason(kit: Any) -> None:
    """The chosen one comes first, then its settings, its expected speed, and what comes if it fails."""
    bench = kit.bench(
        kit.report("best", priority=9), kit.report("other"), kit.report("no", formats=("ggml",))
    )

    text = bench.run("recommend", "demo").stdout

    table = text[text.index("BACKEND") :].split("\n\n")[0]
    rows = {line.split()[0]: line.split()[1] for line in table.splitlines()}
    assert (rows["best"], rows["other"], rows["no"]) == ("recommended", "suitable", "no")
    assert "it does not load the format gguf (it loads ggml)" in text
    assert "Recommended: best" in text
    assert "context_size  512" in text
    assert "predicted, never measured" in text
    assert text.rstrip().endswith("If that fails, in this order\n  other on the CPU")


def test_json_has_the_plans_and_the_estimate_with_its_basis(kit: Any) -> None:
    """Programs get every candidate with its plans."""
    bench = kit.bench(kit.report("best"), kit.report("no", formats=("ggml",)))

    answer = json.loads(bench.run("recommend", "demo", "--json", "--context-size", "256").stdout)

    assert answer["backend"] == "best"
    assert answer["settings"]["context_size"] == 256
    assert answer["performance_estimate"]["basis"] == "predicted"
    assert answer["plans"][0]["context_size"] == 256
    suitable = {item["backend"]: item["suitable"] for item in answer["candidates"]}
    assert suitable["best"] is True
    assert suitable["no"] is False
    assert answer["model"].endswith("demo.gguf")


def test_nothing_suitable_shows_the_table_and_ends_with_status_3(kit: Any) -> None:
    """The verdicts are on standard output, the error and what to install on standard error."""
    result = kit.bench(kit.report("no", formats=("ggml",))).run("recommend", "demo", exit_code=3)

    assert "it does not load the format gguf" in result.stdout
    assert "no installed backend can run demo.gguf" in result.stderr
    assert "To get " in result.stderr

    as_json = kit.bench(kit.report("no", formats=("ggml",))).run("recommend", "demo", "--json", exit_code=3)
    answer = json.loads(as_json.stdout)
    assert answer["backend"] is None
    assert answer["error"]["exit_code"] == 3


def test_too_little_memory_ends_with_status_1(kit: Any) -> None:
    """It is not that nothing is installed."""
    bench = kit.bench(kit.report("engine"), system=kit.system(available=1 << 20))

    result = bench.run("recommend", "demo", exit_code=1)

    assert "demo.gguf does not fit into memory" in result.stderr


def test_a_gpu_gets_all_layers_and_the_cpu_comes_last(kit: Any) -> None:
    """The fallbacks are shown in the order in which they would be tried."""
    report = kit.report("quick", "gpu", devices=("cuda:0",), gpu_offload="layers")
    text = kit.bench(report, system=kit.system(kit.device())).run("recommend", "demo").stdout

    assert "gpu_layers    -1" in text
    assert text.rstrip().endswith("quick on the CPU")
    assert "quick with 3 layers on cuda:0" in text


def test_without_a_model_the_machine_is_judged(kit: Any) -> None:
    """`modelplug recommend` alone names the best backend here."""
    text = kit.bench(kit.report("best")).run("recommend").stdout

    assert "Recommended: best" in text
    assert "tokens/s divided by its size in GB" in text


def test_wrong_usage_is_refused(kit: Any) -> None:
    """An unknown model, an unknown backend and a senseless number are errors before any verdict."""
    bench = kit.bench(kit.report("best"))

    with pytest.raises(ModelNotFoundError):
        bench.run("recommend", "nothing.gguf")
    with pytest.raises(UsageError):
        bench.run("recommend", "demo", "--backend", "nobody")
    with pytest.raises(UsageError):
        bench.run("recommend", "demo", "--context-size", "0")
