"""What is particular to the llama.cpp plugin; what every backend must do is in the conformance kit."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modelplug
import modelplug_llamacpp
from modelplug import GenerateParams
from modelplug.backends.types import LoadRequest
from modelplug.errors import BackendError, ConfigError, ContextOverflowError
from modelplug.formats import inspect
from modelplug.testing.demo_weights import write_gguf
from modelplug_llamacpp.binary import knows_architecture
from modelplug_llamacpp.completion import completion_body
from modelplug_llamacpp.direct import DirectCall, full_event
from modelplug_llamacpp.engine import LlamaCppModel
from modelplug_llamacpp.http import ServerConnection
from modelplug_llamacpp.probe import device_ids

GREEDY = GenerateParams(max_tokens=16, temperature=0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo model in F16."""
    return write_gguf(tmp_path_factory.mktemp("weights"), "f16")


def request_for(path: Path, **changes: Any) -> LoadRequest:
    """A load request for `path`, as the core would make it."""
    values: dict[str, Any] = {"context_size": 512, "threads": 2, **changes}
    return LoadRequest(backend="llamacpp", path=path, info=inspect(path), **values)


@pytest.fixture(scope="module")
def model(weights: Path) -> Iterator[LlamaCppModel]:
    """The demo model, loaded in this process."""
    loaded = LlamaCppModel(request_for(weights))
    yield loaded
    loaded.close()


def text_of(model: Any, prompt: Any, params: GenerateParams = GREEDY) -> str:
    """The whole continuation."""
    return "".join(chunk.text for chunk in model.generate(prompt, params))


def test_another_backend_is_not_this_plugins_business(weights: Path) -> None:
    """A request for another backend is answered with None."""
    request = LoadRequest(backend="other", path=weights, info=inspect(weights))

    assert modelplug_llamacpp.modelplug_load_model(request) is None


def test_detection_does_not_import_the_engine() -> None:
    """Detection and the settings class leave xllamacpp unimported."""
    script = (
        "import sys, modelplug_llamacpp as plugin\n"
        "from modelplug.system import probe\n"
        "plugin.modelplug_detect_backends(system=probe())\n"
        "plugin.modelplug_backend_settings()\n"
        "print('xllamacpp' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("names", "visible", "expected"),
    [
        (["CPU", "BLAS"], [], []),
        (["CUDA0", "CUDA1", "CPU"], ["cuda:0", "cuda:1"], ["cuda:0", "cuda:1"]),
        (["CUDA0"], ["cuda:2"], ["cuda:2"]),
        (["ROCm0", "Vulkan1"], ["rocm:1", "vulkan:0", "vulkan:3"], ["rocm:1", "vulkan:3"]),
        (["Metal"], ["metal:0"], ["metal:0"]),
        (["MTL0"], ["metal:0"], ["metal:0"]),
        (["CUDA11"], [], ["cuda:11"]),
    ],
)
def test_engine_names_of_devices_become_device_ids(
    names: list[str], visible: list[str], expected: list[str]
) -> None:
    """The engine's n-th visible device of a kind is the system's n-th visible one."""
    assert device_ids(names, visible) == expected


def test_the_loopback_server_is_locked(model: LlamaCppModel) -> None:
    """A request without the key is refused: other users of the machine can't use the model."""
    connection = http.client.HTTPConnection(model._address)
    connection.request(
        "POST", "/completion", json.dumps({"prompt": "x"}), {"Content-Type": "application/json"}
    )

    assert connection.getresponse().status == 401
    connection.close()


def test_a_prompt_as_tokens_is_taken_as_it_is(model: LlamaCppModel) -> None:
    """Token ids and the text they stand for are continued alike."""
    assert text_of(model, "ROMEO:") == text_of(model, model.tokenize("ROMEO:"))


def test_too_long_a_prompt_names_both_sizes(model: LlamaCppModel) -> None:
    """A prompt longer than the context is refused with the number of tokens of both."""
    with pytest.raises(ContextOverflowError) as caught:
        text_of(model, "hello " * 600)

    assert caught.value.context_size == 512
    assert caught.value.prompt_tokens > 512


def test_truncation_is_recorded(model: LlamaCppModel) -> None:
    """A prompt that was cut at the caller's wish is a warning in the statistics."""
    params = GenerateParams(max_tokens=4, temperature=0, overflow="truncate")
    last = list(model.generate("hello " * 600, params))[-1]

    assert last.stats is not None
    assert "dropped" in last.stats.warnings[0]


def test_a_bad_grammar_is_the_callers_mistake(model: LlamaCppModel) -> None:
    """A grammar that does not parse is refused with the engine's reason, and the model goes on working."""
    with pytest.raises(BackendError) as caught:
        text_of(model, "x", GenerateParams(grammar="root ::= undefined-rule"))

    assert caught.value.cause == "unsupported"
    assert text_of(model, "ROMEO:")


def test_a_grammar_forces_the_output(model: LlamaCppModel) -> None:
    """The output follows the grammar."""
    params = GenerateParams(grammar='root ::= "yes" | "no"', max_tokens=8)

    assert text_of(model, "Well?", params) in ("yes", "no")


def test_parallel_requests_share_the_context(weights: Path) -> None:
    """With two parallel requests each has half of the context, and the difference is stated."""
    loaded = LlamaCppModel(request_for(weights, settings={"parallel": 2}))
    try:
        assert loaded.effective.context_size == 256
        assert "shared by 2 requests" in loaded.effective.notes[0]
        assert loaded.capabilities.parallel_requests == 2
    finally:
        loaded.close()


def test_layers_that_no_gpu_takes_are_reported(weights: Path) -> None:
    """Asking for GPU layers where the engine has no GPU runs on the CPU and says so."""
    loaded = LlamaCppModel(request_for(weights, gpu_layers=-1, device="cuda:0"))
    try:
        assert (loaded.effective.device, loaded.effective.gpu_layers) == ("cpu", 0)
        assert "everything runs on the CPU" in loaded.effective.notes[0]
    finally:
        loaded.close()


@pytest.mark.parametrize("kv_type", ["f32", "q8_0"])
def test_settings_reach_the_engine(weights: Path, kv_type: str) -> None:
    """The model loads and generates with each kind of cache and without mapping the file."""
    loaded = LlamaCppModel(request_for(weights, settings={"kv_type": kv_type, "use_mmap": False}))
    try:
        assert text_of(loaded, "ROMEO:")
    finally:
        loaded.close()


def test_a_wrong_setting_names_what_is_allowed(weights: Path) -> None:
    """A value outside a setting's choices is an error with the choices in it."""
    with pytest.raises(ConfigError, match="kv_type"):
        LlamaCppModel(request_for(weights, settings={"kv_type": "q9"}))


def test_embeddings_have_unit_length_and_the_models_width(weights: Path) -> None:
    """Loaded for embeddings, each text gives one normalised vector, alike for alike texts."""
    with modelplug.load(weights, backend="llamacpp", embeddings=True) as loaded:
        first, second, again = loaded.embed(["good morrow", "a horse", "good morrow"])

    assert len(first) == 128
    assert pytest.approx(1.0, abs=1e-3) == sum(value * value for value in first)
    assert pytest.approx(first, abs=1e-4) == again
    assert first != pytest.approx(second, abs=1e-2)


def test_a_closed_model_says_so(weights: Path) -> None:
    """Using a model after closing it is an error with advice, and closing twice is none."""
    loaded = LlamaCppModel(request_for(weights))
    loaded.close()
    loaded.close()

    with pytest.raises(BackendError, match="closed"):
        loaded.tokenize("x")


@pytest.mark.parametrize(
    ("name", "known"), [("llama", True), ("qwen3", True), ("no-such-architecture", False)]
)
def test_the_library_tells_which_architectures_it_can_know(name: str, known: bool) -> None:
    """An architecture is known if its name stands in the library."""
    assert knows_architecture(name) is known


def test_an_unknown_architecture_is_named(weights: Path, tmp_path: Path) -> None:
    """A model of an architecture that llama.cpp does not know is refused with that reason."""
    strange = tmp_path / "strange.gguf"
    # The same length, so that nothing else in the file moves.
    strange.write_bytes(weights.read_bytes().replace(b"llama", b"lhama"))

    with pytest.raises(BackendError, match="does not know the architecture 'lhama'") as caught:
        LlamaCppModel(request_for(strange))

    assert caught.value.cause == "unsupported"


def test_no_token_of_a_character_is_lost(model: LlamaCppModel) -> None:
    """Characters of several tokens come with the ids of all of them."""
    params = GenerateParams(grammar='root ::= "né😀x"', max_tokens=20, temperature=0, return_tokens=True)
    chunks = list(model.generate("ROMEO:", params))
    tokens = [token for chunk in chunks for token in chunk.tokens]
    stats = chunks[-1].stats

    assert "".join(chunk.text for chunk in chunks) == "né😀x"
    assert stats is not None
    assert (len(tokens), stats.warnings) == (stats.completion_tokens, ())


def test_the_direct_call_says_what_http_says(model: LlamaCppModel) -> None:
    """A request without HTTP gives the same text and counts; events of mere text are read the fast way."""
    body = completion_body("ROMEO:", GREEDY)
    direct, connection = DirectCall(model._alive()), ServerConnection(model._address, model._key)
    events, over_http = list(direct.complete(body)), list(connection.complete(body))
    direct.close()
    connection.close()

    assert [event["content"] for event in events] == [event["content"] for event in over_http]
    assert all("raw" in event for event in events[:-1])
    for name in ("tokens_predicted", "tokens_evaluated", "stop_type"):
        assert events[-1][name] == over_http[-1][name]
    assert full_event(events[3]["raw"])["tokens_predicted"] == over_http[3]["tokens_predicted"]


def test_an_aborted_direct_call_ends_and_frees_the_engine(model: LlamaCppModel) -> None:
    """After abort the stream ends at once, and the next request is served."""
    call = DirectCall(model._alive())
    stream = call.complete(completion_body("ROMEO:", GenerateParams(max_tokens=400, temperature=0)))
    next(stream)
    call.abort()

    assert len(list(stream)) < 399
    call.close()
    assert text_of(model, "ROMEO:")


def test_names_that_are_not_utf8_are_refused(weights: Path, tmp_path: Path) -> None:
    """A path that llama.cpp can't be given is an error that says so; other letters than ASCII are fine."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.gguf"))
    fine = tmp_path / "mod\u00e8le \u732b.gguf"
    for copy in (odd, fine):
        copy.symlink_to(weights)

    with pytest.raises(BackendError, match="can't open a file of this name"):
        LlamaCppModel(request_for(odd))
    loaded = LlamaCppModel(request_for(fine))
    assert text_of(loaded, "ROMEO:")
    loaded.close()
