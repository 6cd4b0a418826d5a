"""`modelplug inspect`."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from modelplug.errors import NotAModelError

if TYPE_CHECKING:
    from pathlib import Path


def test_everything_known_of_the_model_is_shown(kit: Any) -> None:
    """What it is, what it needs, and who can run it."""
    bench = kit.bench(kit.report("mine"), kit.report("no", formats=("ggml",)))

    text = bench.run("inspect", "demo").stdout

    assert "Architecture      llama" in text
    assert "Quantisation      Q8_0" in text
    assert "1,049,728" in text
    assert "general.architecture" in text
    assert "can run it: mine" in text
    assert "no can't: it does not load the format gguf (it loads ggml)" in text
    assert "Tensors" not in text


def test_memory_is_judged_on_each_device_by_itself(kit: Any) -> None:
    """One row per context and place; a card that hides its memory is not guessed at."""
    devices = (kit.device(0), kit.device(1, memory_free=1 << 20), kit.device(2, memory_free=None))
    bench = kit.bench(kit.report("mine"), system=kit.system(*devices))

    answer = json.loads(bench.run("inspect", "demo", "--json", "--context-size", "128").stdout)

    rows = [(row["place"], row["verdict"], row["gpu_layers"]) for row in answer["memory"]]
    assert rows == [("main memory", "fits", 0), ("cuda:0", "fits", 5), ("cuda:1", "partial", 0)]
    assert {row["context_size"] for row in answer["memory"]} == {128}


def test_a_model_that_does_not_fit_says_what_it_needs(kit: Any) -> None:
    """The sentence with the figures follows the table."""
    text = kit.bench(kit.report("mine"), system=kit.system(available=1 << 20)).run("inspect", "demo").stdout

    assert "does not fit" in text
    assert "it needs at least" in text


def test_tensors_are_listed_when_asked_for(kit: Any) -> None:
    """Name, type, shape and bytes of each, in the file's order; their bytes add up to the weights."""
    bench = kit.bench(kit.report("mine"))
    assert (
        "token_embd.weight         Q8_0  128 x 1024  139,264"
        in bench.run("inspect", "demo", "--tensors").stdout
    )

    answer = json.loads(bench.run("inspect", "demo", "--tensors", "--json").stdout)

    assert answer["tensors"][0]["name"] == "token_embd.weight"
    assert len(answer["tensors"]) == 39
    weights = answer["weights"]
    total = sum(weights["layers"]) + weights["output"] + weights["token_embedding"] + weights["other"]
    assert sum(tensor["size"] for tensor in answer["tensors"]) == total


def test_tensors_of_a_model_inside_a_llamafile_are_listed(kit: Any, tmp_path: Path) -> None:
    """The same tensors as in the model by itself, read where the archive holds it."""
    bench = kit.bench(kit.report("mine"))
    bare = json.loads(bench.run("inspect", "demo", "--tensors", "--json").stdout)
    file = tmp_path / "demo.llamafile"
    file.write_bytes(b"MZqFpD='\n'\n" + bytes(4096))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        archive.write(bare["path"], "demo.gguf")

    inside = json.loads(bench.run("inspect", str(file), "--tensors", "--json").stdout)

    assert inside["format"] == "llamafile"
    assert inside["tensors"] == bare["tensors"]


def test_what_is_no_model_is_an_error(kit: Any, tmp_path: Path) -> None:
    """A web page saved under a model's name is called what it is."""
    page = tmp_path / "model.gguf"
    page.write_text("<!DOCTYPE html><html><body>Not found</body></html>")

    with pytest.raises(NotAModelError):
        kit.bench(kit.report("mine")).run("inspect", str(page))


def test_metadata_is_written_as_a_person_would(kit: Any) -> None:
    """Arrays are counted, truth values and numbers are plain, and no value fills several lines."""
    lines = kit.bench(kit.report("mine")).run("inspect", "demo").stdout.splitlines()
    metadata = dict(line.split(None, 1) for line in lines[lines.index("Metadata") + 1 :])

    assert metadata["tokenizer.ggml.add_bos_token"] == "true"
    assert metadata["llama.attention.layer_norm_rms_epsilon"] == "1e-05"
    assert metadata["tokenizer.ggml.tokens"] == "1,024 x string"
    assert metadata["general.description"].endswith(" characters)")
    assert max(map(len, lines)) < 141
