"""The parts of the conformance kit: messages, watching processes, damage; and the fixtures for everybody."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

import modelplug.testing.conformance
from modelplug.backends.loaded import LoadedModel
from modelplug.backends.model import CancelToken, GenerateParams, Message
from modelplug.data import demo_model_path
from modelplug.errors import BackendError, CapabilityError, ContextOverflowError
from modelplug.testing import ScriptedModel
from modelplug.testing.conformance.clauses import PLACES, clause
from modelplug.testing.conformance.damage import doubtful_models, useless_models
from modelplug.testing.conformance.watching import Tree, run_child, wait_until

KIT = Path(modelplug.testing.conformance.__file__).parent


def references() -> set[str]:
    """Every clause that an assertion of the kit names."""
    found = set()
    for file in KIT.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "clause":
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


@pytest.mark.parametrize("reference", sorted(references()))
def test_clauses_exist_and_are_documented(reference: str) -> None:
    """Whatever a message of the kit refers to is there to be read."""
    name, _, attribute = reference.partition(".")
    module = importlib.import_module(PLACES[name])
    described: Any = getattr(module, name, module)
    documentation = (module.__doc__ or "") if isinstance(described, ModuleType) else described.__doc__ or ""
    if isinstance(described, ModuleType):
        assert name in documentation
    elif attribute:
        fields = {field.name for field in attrs.fields(described)} if attrs.has(described) else set()
        member = getattr(described, attribute, None)
        assert attribute in fields or callable(member) or f"{attribute}:" in documentation
        own_words = "" if member is None else member.__doc__
        assert f"{attribute}:" in documentation or own_words


def test_references_are_found() -> None:
    """The test above has many clauses to look at."""
    assert len(references()) > 40


def test_a_clause_says_where_to_read() -> None:
    """A message holds the problem, the clause and the command that shows it."""
    message = clause("Chunk.text", "it is empty")

    assert message.startswith("it is empty\n")
    assert "Chunk.text" in message
    assert "python -m pydoc modelplug.backends.model" in message


def test_a_tree_knows_children_that_lost_their_parent(tmp_path: Path) -> None:
    """A grandchild is found and ended after the child between has gone."""
    code = (
        "import subprocess, sys; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); "
        "sys.stdin.readline()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    assert wait_until(lambda: len(Tree(parent.pid).living()) == 2, 30)
    tree = Tree(parent.pid)
    parent.kill()
    parent.wait()
    assert parent.stdin is not None
    parent.stdin.close()

    left = tree.wait_gone(0.2)

    assert len(left) == 1
    assert "time.sleep(60)" in left[0]
    assert wait_until(lambda: not tree.living(), 30)


def test_a_child_without_answer_is_an_error() -> None:
    """A child process that fails is reported with its own words."""
    with pytest.raises(AssertionError, match="KeyError"):
        run_child("modelplug.testing.conformance.inline_child", {}, 60)


def test_damaged_copies_differ_and_vanish(tmp_path: Path) -> None:
    """Each damaged copy differs from its source, and is removed after use."""
    source = demo_model_path()
    names = []
    for name, path in (*useless_models(source, tmp_path),):
        names.append(name)
        assert not path.exists()
    for name, path in doubtful_models(source, tmp_path):
        names.append(name)
        assert path.read_bytes() != source.read_bytes()
        assert path.stat().st_size == source.stat().st_size

    assert list(tmp_path.iterdir()) == []
    assert "an unknown architecture" in names
    assert len(set(names)) == len(names) > 10


# Fixtures and the scripted model ------------------------------------------------------------------------


def test_scripted_model_says_its_reply(modelplug_scripted: Callable[..., ScriptedModel]) -> None:
    """A scripted model streams its reply, counts it, and remembers what it was asked."""
    model = modelplug_scripted("Good morrow.")
    chunks = list(model.generate("Speak!", GenerateParams(temperature=0.3)))

    assert "".join(chunk.text for chunk in chunks) == "Good morrow."
    assert len(chunks) > 2
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].stats is not None
    assert chunks[-1].stats.completion_tokens == 12
    assert [request.prompt for request in model.received] == ["Speak!"]
    assert model.received[0].params.temperature == 0.3
    assert model.stats.requests == 1


def test_scripted_replies_in_turn(modelplug_scripted: Callable[..., ScriptedModel]) -> None:
    """Several replies come one after the other, and an exception among them is raised."""
    model = modelplug_scripted(["one", BackendError("broken", backend="x", phase="generate"), "three"])

    assert model.complete("?") == "one"
    with pytest.raises(BackendError, match="broken"):
        model.complete("?")
    assert model.complete("?") == "three"
    assert model.complete("?") == "one"


def test_scripted_replies_by_prompt(modelplug_scripted: Callable[..., ScriptedModel]) -> None:
    """A function decides by the prompt; of a conversation, by the last message."""
    model = modelplug_scripted(str.upper)

    assert model.complete("be quiet") == "BE QUIET"
    chunks = model.chat([Message("system", "Shout."), Message("user", "hello")])
    assert "".join(chunk.text for chunk in chunks) == "HELLO"
    assert [message.role for message in model.received[-1].messages] == ["system", "user"]


def test_scripted_model_behaves_like_an_engine(modelplug_scripted: Callable[..., ScriptedModel]) -> None:
    """Stop strings, limits, the context, capabilities and closing work as with any engine."""
    model = modelplug_scripted("one two three", context_size=32, chat=False)

    assert model.complete("?", GenerateParams(stop=" t")) == "one"
    assert model.complete("?", GenerateParams(max_tokens=5)) == "one t"
    assert model.complete(model.tokenize("?")) == "one two three"
    assert model.detokenize(model.tokenize("naïve ☃")) == "naïve ☃"
    with pytest.raises(ContextOverflowError):
        model.complete("x" * 40)
    with pytest.raises(CapabilityError):
        model.chat([Message("user", "?")])
    with pytest.raises(CapabilityError):
        model.embed(["?"])
    model.close()
    with pytest.raises(BackendError):
        model.complete("?")


def test_scripted_model_can_be_cancelled(modelplug_scripted: Callable[..., ScriptedModel]) -> None:
    """A slow scripted model ends between two tokens when it is cancelled."""
    model = modelplug_scripted("a very long story " * 1000, delay=0.001, context_size=100_000)
    token = CancelToken()
    stream = model.generate("?", GenerateParams(max_tokens=None), cancel=token)
    next(stream)
    token.cancel()

    assert list(stream)[-1].finish_reason == "cancelled"


def test_scripted_model_needs_a_reply() -> None:
    """An empty list of replies is an error at once."""
    with pytest.raises(ValueError, match="empty"):
        ScriptedModel([])


def test_demo_path(modelplug_demo_path: Path) -> None:
    """The fixture gives the bundled model."""
    assert modelplug_demo_path == demo_model_path()


@pytest.mark.integration
def test_demo_model(modelplug_demo_model: LoadedModel) -> None:
    """The fixture gives the bundled model, loaded."""
    assert modelplug_demo_model.complete("ROMEO:", GenerateParams(temperature=0, max_tokens=8)).strip()


def test_the_kit_is_imported_when_asked_for() -> None:
    """`modelplug.testing` itself needs no pytest, and has no other names."""
    code = "import sys, modelplug.testing.demo_weights; print('pytest' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
    module: Any = modelplug.testing
    with pytest.raises(AttributeError, match="Backend"):
        _ = module.BackendConformity
