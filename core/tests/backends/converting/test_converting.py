"""Conversion as the core does it: planning, placing, refusing; with a plugin that fails on demand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest

from modelplug import ModelConverter
from modelplug.backends.conversion_place import default_place
from modelplug.data import demo_model_path
from modelplug.errors import (
    ConversionError,
    ConversionMismatchError,
    ConversionRefusedError,
    ModelNotFoundError,
    NothingSuitableError,
    UsageError,
)
from modelplug.formats.model_info import ModelInfo
from modelplug.runtime import Runtime

pytestmark = pytest.mark.usefixtures("scribe")
MakeModel = Callable[..., Path]


def left_in(directory: Path) -> list[str]:
    """The names of what is in a folder."""
    return sorted(entry.name for entry in directory.iterdir())


def test_the_result_lies_beside_its_source(make_model: MakeModel) -> None:
    """Without engines the file is placed, and the record says that only tensors were compared."""
    source = make_model()
    steps: list[tuple[str, float]] = []
    done = ModelConverter().convert(source, on_progress=lambda step, part: steps.append((step, part)))

    assert done.path == source.with_name("sample-F16.gguf")
    assert done.path.read_bytes() == demo_model_path().read_bytes()
    assert left_in(source.parent) == ["sample", "sample-F16.gguf"]
    assert (done.converter, done.converted, done.notes) == ("scribe", True, ("It lacks a handle.",))
    assert done.verification is not None
    assert done.verification.method == "tensors"
    assert "no engine here runs huggingface" in done.verification.note
    assert steps[0] == ("writing", 0.3)
    assert [part for _, part in steps] == sorted(part for _, part in steps)


def test_the_place_and_type_can_be_chosen(make_model: MakeModel, tmp_path: Path) -> None:
    """Folders on the way are made; small letters name a type as well."""
    output = tmp_path / "new" / "folder" / "model.gguf"

    assert ModelConverter().convert_model(make_model(), to="q8_0", output=output) == output
    assert output.exists()


def test_models_in_a_cache_go_into_our_own_folder(tmp_path: Path) -> None:
    """Nothing is written into a cache of Hugging Face's."""
    runtime = Runtime(environ={"MODELPLUG_HOME": str(tmp_path)})
    path = tmp_path / "hub/models--org--name/snapshots/abc"
    info = ModelInfo(path=path, format="huggingface", name="org/name")

    assert default_place(info, "F16", runtime) == tmp_path / "models" / "org-name-F16.gguf"


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("refused", ConversionRefusedError, "it can't be"),
        ("no-plan", ConversionError, "the plugin scribe failed while planning a conversion: .*ZeroDivision"),
        ("nothing", ConversionError, "the plugin scribe failed while converting"),
        ("raises", ConversionError, "the plugin scribe failed while converting: .*ZeroDivisionError"),
        ("fails", ConversionError, "the disk is full"),
        ("damaged", ConversionMismatchError, "no sound GGUF file"),
        ("huge", ConversionError, "there is no room for sample-F16.gguf"),
        ("interrupted", KeyboardInterrupt, None),
    ],
)
def test_a_failure_leaves_nothing(
    fault: str, error: type[BaseException], message: str | None, make_model: MakeModel
) -> None:
    """Whatever goes wrong, and Ctrl-C, the folder is as it was."""
    source = make_model(fault)

    with pytest.raises(error, match=message):
        ModelConverter().convert(source)
    assert left_in(source.parent) == ["sample"]


@pytest.mark.parametrize("fault", ["fails", "damaged", "interrupted"])
def test_a_failure_leaves_what_was_there(fault: str, make_model: MakeModel) -> None:
    """A file that was to be replaced is still there, byte for byte."""
    source = make_model(fault)
    target = source.with_name("sample-F16.gguf")
    target.write_text("precious")

    with pytest.raises((ConversionError, KeyboardInterrupt)):
        ModelConverter().convert(source, force=True)
    assert target.read_text() == "precious"
    assert left_in(source.parent) == ["sample", "sample-F16.gguf"]


def test_nothing_is_replaced_unless_told_to(make_model: MakeModel) -> None:
    """A file at the place of the result stops the conversion; `force` replaces it."""
    source = make_model()
    target = source.with_name("sample-F16.gguf")
    target.write_text("precious")

    with pytest.raises(UsageError, match="exists"):
        ModelConverter().convert(source)
    assert target.read_text() == "precious"
    assert ModelConverter().convert(source, force=True).converted
    assert target.read_bytes() == demo_model_path().read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "link.gguf"])
def test_the_source_is_never_replaced(name: str, make_model: MakeModel) -> None:
    """Not even with `force`, and not through a link."""
    source = make_model()
    (source / "link.gguf").symlink_to(source / "model.safetensors")
    before = (source / "model.safetensors").read_bytes()

    with pytest.raises(UsageError, match="is the model itself"):
        ModelConverter().convert(source, output=source / name, force=True)
    assert (source / "model.safetensors").read_bytes() == before


def test_a_directory_is_no_place_for_a_file(make_model: MakeModel) -> None:
    """A folder as output is bad usage that shows a better one."""
    source = make_model()

    with pytest.raises(UsageError) as caught:
        ModelConverter().convert(source, output=source.parent)
    assert "--output" in caught.value.advice


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="whoever may write anything")
def test_a_folder_that_can_not_be_written(make_model: MakeModel) -> None:
    """The error names the file and the way out."""
    source = make_model()
    source.parent.chmod(0o500)
    try:
        with pytest.raises(ConversionError, match="can't be written"):
            ModelConverter().convert(source)
    finally:
        source.parent.chmod(0o700)


def test_a_full_disk_is_noticed_before_writing(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the plan says of the size is compared with what is free."""
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    source = make_model()

    with pytest.raises(ConversionError, match="there is no room") as caught:
        ModelConverter().convert(source)
    assert "1.0 MiB left" in caught.value.why
    assert left_in(source.parent) == ["sample"]


def test_two_conversions_to_one_place(make_model: MakeModel, own_home: Path) -> None:
    """The second one is told of the first, and does not disturb it."""
    source = make_model()
    ModelConverter().convert(source)
    (lock,) = (own_home / "cache" / "conversions").iterdir()
    with filelock.FileLock(lock), pytest.raises(ConversionError, match="another process is converting"):
        ModelConverter().convert(source, force=True)


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_conversion_leaves_no_half_file(number: int, make_model: MakeModel) -> None:
    """Killed while writing, the place of the result is empty, and the next conversion clears up."""
    source = make_model("slow")
    process = subprocess.Popen(
        [sys.executable, "-m", "modelplug", "convert", str(source)],
        stdout=subprocess.PIPE,
        text=True,
        # In a shell's background the tests would hand on that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while len(left_in(source.parent)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(number)
    process.communicate(timeout=60)

    left = left_in(source.parent)
    assert "sample-F16.gguf" not in left
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert left == ["sample"]
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps(config | {"fault": ""}))
    assert ModelConverter().convert(source).path.exists()
    assert left_in(source.parent) == ["sample", "sample-F16.gguf"]


# Verification --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noise", "to", "sound"),
    [
        ("0", "F16", True),
        ("0.01", "F16", True),
        ("0.2", "F16", False),
        ("0.2", "Q4_0", True),
        ("2", "Q4_0", False),
    ],
)
def test_probabilities_decide(
    noise: str, to: str, sound: bool, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result whose probabilities are too far from its source's is thrown away; the figures say how far."""
    monkeypatch.setenv("SCRIBE_ENGINES", "reader scribe")
    monkeypatch.setenv("SCRIBE_NOISE", noise)
    source = make_model()
    if sound:
        found = ModelConverter().convert(source, to=to).verification
        assert found is not None
        assert (found.method, found.source_backend, found.backend) == ("logits", "reader", "scribe")
        assert found.error is not None
        assert found.limit is not None
        # Among the most probable tokens the spread is half of what it is among all.
        assert found.error == pytest.approx(2 * float(noise), rel=0.4, abs=1e-9)
        assert found.error <= found.limit
        assert found.positions == 12
        return
    with pytest.raises(ConversionMismatchError, match="does not compute what its source"):
        ModelConverter().convert(source, to=to)
    assert left_in(source.parent) == ["sample"]


def test_other_tokens_are_another_model(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that splits a text differently is thrown away; the error shows the text."""
    monkeypatch.setenv("SCRIBE_ENGINES", "reader scribe")
    monkeypatch.setenv("SCRIBE_SHIFT", "1")
    source = make_model()

    with pytest.raises(ConversionMismatchError, match="splits texts into other tokens") as caught:
        ModelConverter().convert(source)
    assert 'from token 0 in "Once upon a time' in caught.value.why
    assert left_in(source.parent) == ["sample"]


@pytest.mark.parametrize("engines", ["reader scribe", "scribe"])
def test_a_result_that_no_engine_loads_is_thrown_away(
    engines: str, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the source could not be run to compare it."""
    monkeypatch.setenv("SCRIBE_ENGINES", engines)
    monkeypatch.setenv("SCRIBE_NOISE", "broken")
    source = make_model()

    with pytest.raises(ConversionMismatchError, match="can't be run") as caught:
        ModelConverter().convert(source)
    assert "it can't be loaded" in caught.value.why
    assert left_in(source.parent) == ["sample"]


def test_without_an_engine_for_the_source_the_result_is_at_least_run(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record names the engine, and says what was not done."""
    monkeypatch.setenv("SCRIBE_ENGINES", "scribe")
    found = ModelConverter().convert(make_model()).verification

    assert found is not None
    assert (found.method, found.backend, found.error) == ("tensors", "scribe", None)


# What needs conversion, and what is refused ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("engines", "needed"), [("", False), ("reader", False), ("scribe", True), ("reader scribe", False)]
)
def test_a_directory_needs_conversion_where_only_gguf_runs(
    engines: str, needed: bool, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where an engine runs it as it is, and not where nothing would run the result."""
    monkeypatch.setenv("SCRIBE_ENGINES", engines)

    assert ModelConverter().needs_conversion(make_model()) is needed


def test_gguf_never_needs_conversion() -> None:
    """Whether or not an engine is there."""
    assert ModelConverter().needs_conversion("demo") is False


def test_a_model_that_is_not_there() -> None:
    """Both questions answer alike."""
    with pytest.raises(ModelNotFoundError):
        ModelConverter().needs_conversion("/no/such/model")
    with pytest.raises(ModelNotFoundError):
        ModelConverter().convert_model("/no/such/model")


def test_gguf_is_quantised_by_another_program() -> None:
    """Asked to convert a GGUF file, the refusal names it."""
    with pytest.raises(ConversionRefusedError) as caught:
        ModelConverter().convert_model("demo", to="Q4_0")
    assert caught.value.tool == "llama-quantize"


def test_an_unknown_architecture_names_the_tool_that_may_know_it(make_model: MakeModel) -> None:
    """No plugin takes the model: the class is named, and llama.cpp's converter."""
    source = make_model(model_type="other", architectures=["OtherForCausalLM"])

    with pytest.raises(ConversionRefusedError, match="OtherForCausalLM") as caught:
        ModelConverter().convert(source)
    assert caught.value.tool == "convert_hf_to_gguf.py"


@pytest.mark.parametrize("to", ["", "../../x", "Q4 0", "F16\n\n/"])
def test_a_type_must_be_a_name(to: str, make_model: MakeModel) -> None:
    """What could lead to another folder is no name of a type."""
    with pytest.raises(UsageError, match="there is no tensor type"):
        ModelConverter().convert(make_model(), to=to)


def test_without_a_converter_it_is_said_what_to_install(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that converts is installed: exit code 3, and the plugin to install."""
    with pytest.raises(NothingSuitableError) as caught:
        ModelConverter(Runtime(no_plugins=True)).convert(make_model())
    assert "modelplug-llamacpp[convert]" in caught.value.advice


def test_a_weight_file_is_no_model(make_model: MakeModel, tmp_path: Path) -> None:
    """Beside a configuration the directory is named; elsewhere, what is missing."""
    source = make_model()
    alone = tmp_path / "alone.safetensors"
    shutil.copy(source / "model.safetensors", alone)

    with pytest.raises(ConversionRefusedError) as caught:
        ModelConverter().convert(source / "model.safetensors")
    assert caught.value.advice == f"Give the directory: modelplug convert {source}"
    with pytest.raises(ConversionRefusedError) as caught:
        ModelConverter().convert(alone)
    assert "config.json" in caught.value.advice
