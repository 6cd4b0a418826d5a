"""Asking plugins: answers, wrong answers and exceptions."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelplug.errors import BackendError, ModelFileError, PluginError, UsageError
from modelplug.formats.model_info import ModelInfo
from modelplug.plugins import PluginState


def commands(*names: str) -> str:
    """The source of a plugin that brings commands."""
    made = ", ".join(f"click.Command({name!r})" for name in names)
    return f"import click\n@hookimpl\ndef modelplug_commands():\n    yield from [{made}]\n"


def test_every_plugin_answers_in_order_of_name(site: Any) -> None:
    """Answers come with the plugin's name, and a generator has become a tuple."""
    site.add("b", commands("two", "three"))
    site.add("a", commands("one"))
    results = site.manager().call("modelplug_commands")

    assert [result.plugin for result in results] == ["a", "b"]
    assert [[command.name for command in result.value] for result in results] == [["one"], ["two", "three"]]


def test_tryfirst_is_honoured(site: Any) -> None:
    """A plugin can ask to be asked before the others, as pluggy has it."""
    site.add("a", commands("one"))
    site.add("z", commands("last").replace("@hookimpl", "@hookimpl(tryfirst=True)"))

    assert [result.plugin for result in site.manager().call("modelplug_commands")] == ["z", "a"]


def test_no_answer_is_left_out(site: Any) -> None:
    """A plugin that returns None gives no result."""
    site.add("none", "@hookimpl\ndef modelplug_detect_backends():\n    return None\n")

    assert site.manager().call("modelplug_detect_backends", system=None) == []


@pytest.mark.parametrize("exception", ["ValueError('no')", "SystemExit(0)", "GeneratorExit", "MemoryError"])
def test_a_hook_that_raises_is_contained(exception: str, site: Any) -> None:
    """The plugin is set apart with hook, exception, file and line; the others answer, then and later."""
    file = site.add("bad", f"@hookimpl\ndef modelplug_commands():\n    raise {exception}\n")
    site.add("good", commands("one"))
    manager = site.manager()

    assert [result.plugin for result in manager.call("modelplug_commands")] == ["good"]
    record = manager.record("bad")
    assert record.state is PluginState.FAILED
    assert record.cause.startswith(f"its modelplug_commands raised {exception.partition('(')[0]}")
    assert f"({file}:7)" in record.cause
    assert "Traceback" in record.traceback
    assert [result.plugin for result in manager.call("modelplug_commands")] == ["good"]


def test_ctrl_c_in_a_hook_reaches_the_caller(site: Any) -> None:
    """KeyboardInterrupt is the user's and passes through."""
    site.add("slow", "@hookimpl\ndef modelplug_commands():\n    raise KeyboardInterrupt\n")
    manager = site.manager()

    with pytest.raises(KeyboardInterrupt):
        manager.call("modelplug_commands")
    assert manager.record("slow").state is PluginState.READY


def test_a_generator_that_raises_is_contained(site: Any) -> None:
    """What a lazy result raises counts as the hook's failure, with its place."""
    file = site.add(
        "lazy", "@hookimpl\ndef modelplug_benchmarks():\n    yield object()\n    raise LookupError('late')\n"
    )
    manager = site.manager()

    assert manager.call("modelplug_benchmarks") == []
    assert f"LookupError: late ({file}:8)" in manager.record("lazy").cause


def test_an_endless_generator_ends(site: Any) -> None:
    """A hook result without end is refused after a bounded number of items."""
    site.add("endless", "@hookimpl\ndef modelplug_benchmarks():\n    while True: yield object()\n")
    manager = site.manager()

    assert manager.call("modelplug_benchmarks") == []
    assert "at most 10000" in manager.record("endless").cause


def test_strict_raises_for_a_hook_that_fails(site: Any) -> None:
    """A strict manager turns the failure of a hook into a `PluginError` that keeps its cause."""
    site.add("bad", "@hookimpl\ndef modelplug_commands():\n    raise ValueError('no')\n")

    with pytest.raises(PluginError) as caught:
        site.manager(strict=True).call("modelplug_commands")
    assert isinstance(caught.value.__cause__, ValueError)


def inspector(result: str) -> str:
    """The source of a plugin that inspects models."""
    return f"""
from modelplug.formats.model_info import ModelInfo
from modelplug.errors import ModelFileError
@hookimpl
def modelplug_inspect_model(path):
    {result}
"""


def test_call_first_takes_the_first_answer(site: Any, tmp_path: Path) -> None:
    """Plugins without an answer or with a wrong one are passed over; the first good one counts."""
    site.add("a", inspector("return None"))
    site.add("b", inspector("return 'a model'"))
    site.add("c", inspector("return ModelInfo(path=path, format='mine')"))
    site.add("d", inspector("return ModelInfo(path=path, format='later')"))
    manager = site.manager()
    result = manager.call_first("modelplug_inspect_model", path=tmp_path)

    assert result is not None
    assert result.plugin == "c"
    assert result.value == ModelInfo(path=tmp_path, format="mine")
    assert manager.record("b").state is PluginState.FAILED


def test_call_first_without_an_answer_is_none(site: Any, tmp_path: Path) -> None:
    """No plugin, no answer."""
    site.add("a", inspector("return None"))

    assert site.manager().call_first("modelplug_inspect_model", path=tmp_path) is None


def test_an_error_of_modelplug_is_an_answer(site: Any, tmp_path: Path) -> None:
    """A `ModelplugError` from `call_first` arrives unchanged, and the plugin stays ready."""
    site.add("a", inspector("raise ModelFileError('broken file', path=path, offset=8)"))
    manager = site.manager()

    with pytest.raises(ModelFileError, match="broken file") as caught:
        manager.call_first("modelplug_inspect_model", path=tmp_path)
    assert caught.value.offset == 8
    assert manager.record("a").state is PluginState.READY


def test_one_plugin_can_be_asked_alone(site: Any, tmp_path: Path) -> None:
    """With `plugin`, no other plugin is even imported."""
    site.add("a", inspector("return ModelInfo(path=path, format='a')"))
    site.add("b", inspector("return ModelInfo(path=path, format='b')"))
    manager = site.manager()
    result = manager.call_first("modelplug_inspect_model", plugin="b", path=tmp_path)

    assert result is not None
    assert result.value.format == "b"
    assert "plug_a" not in sys.modules
    with pytest.raises(UsageError):
        manager.call_first("modelplug_inspect_model", plugin="nobody", path=tmp_path)


@pytest.mark.parametrize(
    ("exception", "cause"), [("OSError('disk')", "exception"), ("MemoryError", "out-of-memory")]
)
def test_loading_turns_any_exception_into_a_backend_error(exception: str, cause: str, site: Any) -> None:
    """What an engine raises while it loads is the model's failure to load and not a broken plugin."""
    file = site.add("engine", f"@hookimpl\ndef modelplug_load_model(request):\n    raise {exception}\n")
    manager = site.manager()

    with pytest.raises(BackendError) as caught:
        manager.call_first("modelplug_load_model", request=SimpleNamespace(backend="mine"))
    assert (caught.value.backend, caught.value.phase, caught.value.cause) == ("mine", "load", cause)
    assert f"({file}:7)" in caught.value.why
    assert manager.record("engine").state is PluginState.READY


def test_an_unknown_hook_or_argument_is_a_fault_of_the_caller(site: Any) -> None:
    """The core can't misspell a hook or forget an argument without noticing."""
    manager = site.manager()

    with pytest.raises(LookupError, match="did you mean 'modelplug_commands'"):
        manager.call("modelplug_command")
    with pytest.raises(TypeError, match="takes system"):
        manager.call("modelplug_detect_backends")
    with pytest.raises(TypeError):
        manager.call("modelplug_commands", extra=1)


def test_a_problem_can_be_held_against_a_plugin(site: Any) -> None:
    """What only the caller sees is kept in the record once, and the plugin goes on unless set apart."""
    site.add("a", commands("one"))
    manager = site.manager()
    manager.load_all()
    for _ in range(2):
        manager.report_problem("a", "it takes a name that is taken", "rename it")
        manager.report_problem("a", "it takes another one")
    record = manager.record("a")

    assert record.state is PluginState.READY
    assert (record.cause, record.remedy) == ("it takes a name that is taken", "rename it")
    assert record.warnings == ("it takes another one",)
    assert any("it takes a name that is taken. rename it" in problem for problem in manager.problems)

    manager.report_problem("a", "and it is dangerous", quarantine=True)
    assert manager.call("modelplug_commands") == []


def test_strict_raises_for_a_reported_problem(site: Any) -> None:
    """A problem reported to a strict manager is a `PluginError`."""
    site.add("a", commands("one"))
    manager = site.manager(strict=True)
    manager.load_all()

    with pytest.raises(PluginError, match="has a problem"):
        manager.report_problem("a", "it takes a name that is taken")


def test_several_threads_may_ask_at_once(site: Any) -> None:
    """The first question loads the plugins once, whichever thread asks it, and all get the answer."""
    counter = site.root / "count"
    source = f"import pathlib\npathlib.Path({str(counter)!r}).open('a').write('x')\n"
    site.add("a", source + commands("one"))
    manager = site.manager({"MODELPLUG_PLUGIN_DEADLINE": "20"})
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: manager.call("modelplug_commands"), range(8)))

    assert [[result.plugin for result in answer] for answer in answers] == [["a"]] * 8
    # Once in the child of the first contact, and once here.
    assert counter.read_text() == "xx"
