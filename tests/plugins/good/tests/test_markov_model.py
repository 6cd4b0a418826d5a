"""The engine on its own, without modelplug's host around it."""

from __future__ import annotations

from pathlib import Path

import modelplug_markov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelplug_markov.engine import MarkovModel
from modelplug_markov.file import inspect
from modelplug_markov.tokenizer import Tokenizer
from modelplug_markov.training import train

from modelplug.backends.model import CancelToken, GenerateParams, Message
from modelplug.backends.types import LoadRequest
from modelplug.errors import CapabilityError, ModelFileError, TruncatedModelError, UnsupportedParameterError

TEXT = "the cat sat on the mat. the dog sat on the log. the frog sat on the cat.\n" * 20
TOKENIZER = Tokenizer.train(TEXT, 300)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small model file."""
    file = tmp_path / "cats.markov"
    train(TEXT, file, name="cats", order=3, vocabulary=300)
    return file


def load(path: Path, **settings: object) -> MarkovModel:
    """The model in `path`, loaded without the host."""
    info = inspect(path)
    assert info is not None
    return MarkovModel(
        LoadRequest(backend="markov", path=path, info=info, settings=dict(settings), context_size=256)
    )


@given(st.text())
def test_tokens_give_the_text_back(text: str) -> None:
    """Any text survives being split into tokens, whatever it was trained on."""
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_greedy_decoding_continues_the_training_text(path: Path) -> None:
    """Greedy decoding writes what followed most often, and says how much it did."""
    with load(path) as model:
        chunks = list(model.generate("the frog", GenerateParams(temperature=0, max_tokens=12)))

    assert "".join(chunk.text for chunk in chunks).startswith(" sat on the")
    assert chunks[-1].finish_reason == "length"
    assert chunks[-1].stats is not None
    assert chunks[-1].stats.completion_tokens == 12


def test_a_seed_repeats_the_text(path: Path) -> None:
    """The same seed gives the same text, another one gives another."""
    with load(path) as model:
        texts = [
            "".join(
                c.text for c in model.generate("the", GenerateParams(seed=seed, max_tokens=60, temperature=2))
            )
            for seed in (7, 7, 8)
        ]

    assert texts[0] == texts[1] != texts[2]


def test_a_stop_string_ends_the_text(path: Path) -> None:
    """Generation ends before the stop string."""
    with load(path) as model:
        chunks = list(model.generate("the frog", GenerateParams(temperature=0, stop="the")))

    assert "".join(chunk.text for chunk in chunks) == " sat on "
    assert chunks[-1].finish_reason == "stop"


def test_cancelling_ends_a_request(path: Path) -> None:
    """A request that is cancelled while it streams ends with the reason `cancelled`."""
    cancel = CancelToken()
    with load(path) as model:
        stream = model.generate("the", GenerateParams(max_tokens=200), cancel=cancel)
        next(stream)
        cancel.cancel()
        last = list(stream)[-1]

    assert last.finish_reason == "cancelled"


def test_what_it_lacks_is_refused(path: Path) -> None:
    """Chat, embeddings and grammars are errors."""
    with load(path) as model:
        with pytest.raises(CapabilityError):
            model.chat([Message("user", "hello")])
        with pytest.raises(CapabilityError):
            model.embed(["hello"])
        with pytest.raises(UnsupportedParameterError):
            model.generate("the", GenerateParams(grammar='root ::= "a"'))


def test_a_shorter_order_can_be_set(path: Path) -> None:
    """`order` shortens the contexts; asking for more than the file has is noted."""
    assert load(path, order=1).effective.notes == ()
    assert "order is 3 and not 5" in load(path, order=5).effective.notes[0]


def test_a_cut_file_is_refused(path: Path) -> None:
    """A file that ends early is told apart from one that is something else."""
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    with pytest.raises(TruncatedModelError):
        inspect(path)
    path.write_bytes(data[:40])
    with pytest.raises(TruncatedModelError):
        inspect(path)
    path.write_bytes(b"something else")
    assert inspect(path) is None


def test_a_damaged_payload_is_refused(path: Path) -> None:
    """A flipped bit in the payload is found by its checksum."""
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)

    with pytest.raises(ModelFileError, match="damaged"):
        load(path)


def test_the_hooks_import_no_engine() -> None:
    """Detection works from the plugin's module alone."""
    assert modelplug_markov.modelplug_detect_backends().formats == ("markov",)
