"""Requests, answers and errors as plain data: what is sent is what arrives."""

from __future__ import annotations

import inspect
import io
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelplug import errors
from modelplug.backends import wire
from modelplug.backends.frames import read_frame, write_frame
from modelplug.backends.model import (
    Capabilities,
    Chunk,
    Effective,
    GenerateParams,
    GenerationStats,
    ModelStats,
)
from modelplug.backends.types import Deadlines, LoadRequest
from modelplug.data import demo_model_path
from modelplug.errors import BackendError, ModelplugError
from modelplug.formats import inspect as inspect_model

texts = st.text(st.characters(), max_size=20)
seconds = st.none() | st.floats(0, 1e6)
counts = st.integers(0, 10**9)

params = st.builds(
    GenerateParams,
    max_tokens=st.none() | st.integers(1, 10**6),
    temperature=st.floats(0, 100),
    top_k=counts,
    top_p=st.floats(0, 1),
    min_p=st.floats(0, 1),
    repeat_penalty=st.floats(0.01, 10),
    seed=st.none() | st.integers(0, 2**32 - 1),
    stop=st.lists(st.text(min_size=1), max_size=3),
    overflow=st.sampled_from(["error", "truncate"]),
    unsupported=st.sampled_from(["error", "warn"]),
    grammar=st.none() | texts.map('root ::= "{}'.format),
    logprobs=counts,
    return_tokens=st.booleans(),
)
stats = st.builds(
    GenerationStats,
    prompt_tokens=counts,
    completion_tokens=counts,
    prompt_seconds=seconds,
    generate_seconds=seconds,
    first_token_seconds=seconds,
    total_seconds=seconds,
    cached_tokens=counts,
    warnings=st.lists(texts, max_size=2).map(tuple),
)
chunks = st.builds(
    Chunk,
    texts,
    st.lists(counts, max_size=3).map(tuple),
    st.none() | st.sampled_from(["stop", "length", "cancelled"]),
    st.none() | stats,
    st.lists(st.dictionaries(texts, st.floats(-100, 0), max_size=3), max_size=2).map(tuple),
)


def through_the_wire(value: Any) -> Any:
    """What arrives at the other side of a stream."""
    stream = io.BytesIO()
    write_frame(stream, {"op": "test", "value": value})
    stream.seek(0)
    message = read_frame(stream)
    assert message is not None
    return message["value"]


@given(params)
def test_parameters_round_trip(sent: GenerateParams) -> None:
    """Every parameter arrives with its value, and what has its default is not sent."""
    plain = wire.params_to_wire(sent)
    assert wire.params_from_wire(through_the_wire(plain)) == sent
    assert wire.params_to_wire(GenerateParams()) == {}


@given(chunks)
def test_chunks_round_trip(sent: Chunk) -> None:
    """A chunk arrives as it was; a bare one travels as a bare string."""
    chunk = attrs.evolve(sent, stats=sent.stats if sent.finish_reason else None)
    assert wire.chunk_from_wire(through_the_wire(wire.chunk_to_wire(chunk))) == chunk
    assert wire.chunk_to_wire(Chunk(sent.text)) == sent.text


def test_what_is_no_chunk_is_refused() -> None:
    """Anything else in an engine's stream is named by its type."""
    with pytest.raises(TypeError, match="holds a dict where a Chunk belongs"):
        wire.chunk_to_wire({"text": "x"})  # type: ignore[arg-type]


def test_what_was_loaded_round_trips() -> None:
    """Capabilities and effective settings arrive with their sets and tuples."""
    capabilities = Capabilities(embeddings=True, parallel_requests=3, parameters=frozenset({"seed", "stop"}))
    effective = Effective(backend="x", gpu_layers=None, threads=4, notes=("One.", "Two."))
    plain = through_the_wire(wire.loaded_to_wire(capabilities, effective))
    assert wire.loaded_from_wire(plain) == (capabilities, effective)


def test_model_statistics_round_trip() -> None:
    """Statistics of a model arrive as they were."""
    sent = ModelStats(resident_bytes=None, device_bytes=7, requests=3)
    assert wire.stats_from_wire(through_the_wire(wire.stats_to_wire(sent))) == sent


def test_a_load_request_round_trips(tmp_path: Path) -> None:
    """A request arrives with the whole model description, and settings of any simple type."""
    request = LoadRequest(
        backend="x",
        path=demo_model_path(),
        info=inspect_model(demo_model_path()),
        settings={"executable": tmp_path, "pair": (1, 2), "nested": {"a": [1, None]}, "flag": True},
        device="cuda:1",
        gpu_layers=-1,
        context_size=99,
        threads=3,
        embeddings=True,
        deadlines=Deadlines(load=None, first_token=1.5),
        scratch=tmp_path / "scratch",
    )
    assert wire.request_from_wire(through_the_wire(wire.request_to_wire(request))) == request
    bare = attrs.evolve(request, scratch=None)
    assert wire.request_from_wire(through_the_wire(wire.request_to_wire(bare))) == bare


# Errors ---------------------------------------------------------------------------------------------------

ATTRIBUTES: dict[str, Any] = {
    "reasons": {"llamacpp": "not installed"},
    "plugin": "bad",
    "distribution": "bad-plugin",
    "path": Path("/models/x.gguf"),
    "offset": 24,
    "expected": 100,
    "actual": 60,
    "needed": 10**12,
    "available": 10**9,
    "backend": "llamacpp",
    "phase": "load",
    "cause": "crash",
    "stderr_tail": "ggml: assert\nlast",
    "exit_status": -11,
    "signal_name": "SIGSEGV",
    "seconds": 1.5,
    "prompt_tokens": 600,
    "context_size": 512,
    "capability": "grammar",
    "parameter": "min_p",
    "value": (0.1, "x"),
    "supported": ("seed", "stop"),
    "key": "backends.llamacpp.threads",
    "family": "gguf-loader",
    "known": ("gguf-loader", "other"),
    "near": ("other",),
    "kind": "config",
    "kinds": ("a config", "a checkpoint"),
    "source": "1",
    "target": "3",
    "version": "9",
    "newest": "3",
    "versions": ("1", "2", "1"),
    "step": "gguf-loader 1 -> 2",
    "transaction_id": "20260101-1",
    "transaction_ids": ("20260101-2", "20260101-1"),
    "stale": {Path("/a.json"): ("00ff", None)},
    "damage": ("a file is missing",),
    "conflicts": (Path("/a.json"), Path("/b.json")),
    "holder": 4711,
    "tool": "llama-quantize",
    "measured": 0.7,
    "limit": 0.05,
    "why": "because",
    "advice": "do this",
}
CLASSES = [
    kind
    for kind in (getattr(errors, name) for name in errors.__all__)
    if isinstance(kind, type) and issubclass(kind, ModelplugError)
]


def made(kind: type[ModelplugError]) -> ModelplugError:
    """An error of the class with everything said that it can say."""
    names: set[str] = set()
    for cls in kind.__mro__:
        parameters = inspect.signature(cls.__init__).parameters.values()
        names |= {each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}
        # One that passes nothing on decides alone what its base class is told.
        passes_on = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)
        if cls is ModelplugError or not passes_on:
            break
    if kind is errors.UnsupportedParameterError:
        names -= {"capability"}
    return kind("it happened", **{name: ATTRIBUTES[name] for name in names})


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_survives_the_wire(kind: type[ModelplugError]) -> None:
    """Every class of error arrives as itself, with every attribute, its text and its JSON form."""
    sent = made(kind)
    plain = wire.error_to_wire(sent, backend="other", phase="generate")
    arrived = wire.error_from_wire(through_the_wire(plain))
    assert type(arrived) is kind
    assert arrived.__dict__ == sent.__dict__
    assert (str(arrived), arrived.args, arrived.exit_code) == (str(sent), sent.args, sent.exit_code)
    assert arrived.to_dict() == sent.to_dict()


def test_a_plugins_own_error_class_arrives_as_the_nearest_known_one() -> None:
    """A subclass that the host can't know becomes its base class, with its attributes."""

    class OddError(errors.ContextOverflowError):
        pass

    sent = OddError("odd", prompt_tokens=3, context_size=2, backend="x")
    sent.extra = object()  # type: ignore[attr-defined]
    arrived = wire.error_from_wire(through_the_wire(wire.error_to_wire(sent, backend="x", phase="load")))
    assert type(arrived) is errors.ContextOverflowError
    assert arrived.prompt_tokens == 3
    assert "object" in arrived.extra  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["Path", "annotations", "no_such_thing", "EXIT_DONE"])
def test_only_error_classes_can_be_named(name: str) -> None:
    """A name that is not one of the error classes is taken for a backend error, whatever it is."""
    plain = wire.error_to_wire(BackendError("x", backend="b", phase="load"), backend="b", phase="load")
    assert type(wire.error_from_wire({**plain, "error": name})) is BackendError


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ValueError("bad"), "exception"),
        (MemoryError(), "out-of-memory"),
        (RuntimeError("CUDA error: out of memory"), "out-of-memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("no"), "out-of-memory"),
        (SystemExit(3), "exception"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_foreign_exception_becomes_a_backend_error(error: BaseException, cause: str) -> None:
    """Any other exception becomes a backend error that says what was being done, why and what to do."""
    made_of_it = wire.error_from_wire(wire.error_to_wire(error, backend="x", phase="load"))
    assert isinstance(made_of_it, BackendError)
    assert (made_of_it.backend, made_of_it.phase, made_of_it.cause) == ("x", "load", cause)
    assert made_of_it.what == "x failed while it was to load the model"
    assert made_of_it.why.startswith(type(error).__name__)
    assert ("--context-size" in made_of_it.advice) == (cause == "out-of-memory")
