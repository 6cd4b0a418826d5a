"""`modelplug backends`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def test_every_backend_is_listed_with_state_and_what_to_type(kit: Any) -> None:
    """The four states are told apart in words; a broken one says why and how to repair it."""
    bench = kit.bench(
        kit.report("quick", "gpu", devices=("cuda:0",)),
        kit.report("plain", cause="built without CUDA"),
        kit.report("torn", "broken", cause="libfoo.so is missing", install="pip install torn\nand libfoo"),
        system=kit.system(kit.device()),
    )

    lines = bench.run("backends").stdout.splitlines()

    assert lines[0].split() == ["BACKEND", "STATE", "VERSION", "FORMATS", "DEVICES"]
    assert lines[1].split() == ["quick", "works", "on", "GPU", "1.0", "gguf", "cuda:0"]
    assert lines[2].startswith("plain          works on CPU only")
    assert lines[3].startswith("torn           installed but broken")
    assert any(line.startswith("llamafile      not installed") for line in lines)
    position = lines.index("torn (torn engine): libfoo.so is missing")
    assert lines[position + 1 : position + 3] == ["  pip install torn", "  and libfoo"]
    assert "plain (plain engine): built without CUDA" in lines


def test_json_has_every_field_of_every_report_and_the_problems(kit: Any) -> None:
    """Programs get the whole report, plugins' problems included."""
    bench = kit.bench(kit.report("mine", architectures=frozenset({"b", "a"})), bad=RuntimeError("torn apart"))

    answer = json.loads(bench.run("backends", "--json").stdout)

    first = answer["backends"][0]
    assert (first["name"], first["state"], first["usable"]) == ("mine", "cpu", True)
    assert first["architectures"] == ["a", "b"]
    assert first["plugin"] == "made_up"
    assert any("torn apart" in problem for problem in answer["problems"])


def test_a_failing_plugin_is_mentioned_beside_the_table(kit: Any) -> None:
    """It goes to standard error, so that the table can be piped."""
    result = kit.bench(kit.report("mine"), bad=RuntimeError("torn apart")).run("backends")

    assert "torn apart" in result.stderr
    assert "torn apart" not in result.stdout


def test_listing_backends_imports_no_engine(own_home: Any) -> None:
    """With the plugins that are really installed here, no engine and no tensor library is imported."""
    code = (
        "import sys\n"
        "from modelplug.cli.main import program\n"
        "program.main(['backends', '--json'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'transformers', 'ctransformers', 'xllamacpp', 'rich'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert {item["name"] for item in json.loads(result.stdout)["backends"]} >= {"llamacpp", "llamafile"}
