"""Real third-party distributions, installed with pip, and the program run against them."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from modelplug import HOOKSPEC_VERSION


def _helper() -> ModuleType:
    """The module `plugins/environment.py`, which is no package of the tests."""
    name = "modelplug_tests_environment"
    if name not in sys.modules:
        file = Path(__file__).with_name("plugins") / "environment.py"
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


BROKEN = {
    "raises": ("raises_on_import", "modelplug-raises 0.3.1", "failed"),
    "hangs": ("hangs_on_import", "modelplug-hangs 0.1.0", "failed"),
    "crashes": ("crashes_on_import", "modelplug-crashes 0.1.0", "failed"),
    "too-old": ("too_old", "modelplug-too-old 0.9.2", "incompatible"),
    "nonsense": ("returns_nonsense", "modelplug-nonsense 2.0.0", "failed"),
}
CAUSES = {
    "raises": "importing it raised RuntimeError: the licence server said no",
    "hangs": "importing it did not end within 4 s",
    "crashes": "importing it ended the process",
    "too-old": f"written for version 0.4 of the plugin contract; this modelplug has {HOOKSPEC_VERSION}",
    "nonsense": "modelplug_detect_backends",
    "acme-llama": "it brings a backend named 'llamacpp'",
}
TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom.\n" * 30
QUICK = {"MODELPLUG_PLUGIN_DEADLINE": "4"}

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An environment with the core, a bundled plugin, a good third-party one and every broken one."""
    helper = _helper()
    names = ["good", "shadows_bundled", *(source for source, _, _ in BROKEN.values())]
    sources = [helper.third_party(name) for name in names]
    made = helper.PluginEnvironment(
        tmp_path_factory.mktemp("environment"),
        [*sources, helper.REPOSITORY / "plugins" / "llamacpp_backend"],
        tools=["pytest"],
    )
    # Whoever hangs and crashes is found out once, here; the tests then meet what the user meets later on.
    made.run("plugins", "list", environ=QUICK)
    return made


@pytest.fixture(scope="module")
def model(environment: Any) -> Path:
    """A model of the good plugin, trained with the command that the plugin brings."""
    text = environment.root / "times.txt"
    text.write_text(TEXT, encoding="utf-8")
    path = environment.root / "times.markov"
    result = environment.run("markov", "train", text, path, environ=QUICK)
    assert result.returncode == 0, result.stderr
    assert "counts" in result.stdout
    return Path(path)


def only(*names: str) -> dict[str, str]:
    """The environment variables that let just these plugins in."""
    return {**QUICK, "MODELPLUG_PLUGINS": ",".join(names)}


def plugins(environment: Any, environ: dict[str, str]) -> dict[str, Any]:
    """The plugins as `plugins list --json` tells them, by name."""
    listed = environment.json("plugins", "list", environ=environ)
    return {plugin["name"]: plugin for plugin in listed["plugins"]}


def test_every_plugin_is_listed_with_its_true_state(environment: Any) -> None:
    """With all of them installed at once, each is reported for what it is, and the good ones work."""
    listed = plugins(environment, QUICK)

    assert {name: plugin["state"] for name, plugin in listed.items()} == {
        "acme-llama": "ready",
        "crashes": "failed",
        "hangs": "failed",
        "llamacpp": "ready",
        "markov": "ready",
        "nonsense": "failed",
        "raises": "failed",
        "too-old": "incompatible",
    }
    for name, (_, distribution, _) in BROKEN.items():
        assert f"{listed[name]['distribution']} {listed[name]['version']}" == distribution
    for name, cause in CAUSES.items():
        assert cause in listed[name]["cause"]
        assert listed[name]["remedy"]
    assert listed["markov"]["hookspec_version"] == "1.0"
    assert "modelplug_load_model" in listed["markov"]["hooks"]
    assert listed["markov"]["cause"] == ""


def test_causes_name_the_place_in_the_plugin(environment: Any) -> None:
    """What raised, hung or returned nonsense is named with file and line of the plugin's own code."""
    listed = plugins(environment, QUICK)

    assert "modelplug_raises.py:7)" in listed["raises"]["cause"]
    assert "modelplug_hangs.py:15)" in listed["hangs"]["cause"]
    assert "modelplug_crashes.py:14)" in listed["crashes"]["cause"]
    assert "modelplug_nonsense.py:" in listed["nonsense"]["cause"]


@pytest.mark.parametrize("name", [*BROKEN, "acme-llama"])
def test_a_broken_plugin_leaves_the_rest_working(name: str, environment: Any, model: Path) -> None:
    """With one broken plugin beside the good one, backends are listed and models are inspected and run."""
    environ = only("markov", "llamacpp", name)

    backends = environment.run("backends", environ=environ)
    inspected = environment.json("inspect", model, environ=environ)
    ran = environment.run(
        "run", model, "It was the", "--temperature", "0", "--max-tokens", "6", environ=environ
    )

    assert backends.returncode == 0, backends.stderr
    assert "markov" in backends.stdout
    assert inspected["format"] == "markov"
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
    assert "Traceback" not in backends.stderr + ran.stderr


@pytest.mark.parametrize("name", [*BROKEN, "acme-llama"])
def test_strict_makes_any_failure_exit_3(name: str, environment: Any) -> None:
    """`--strict-plugins` ends with 3 and an error that names plugin, distribution and advice."""
    result = environment.run("--strict-plugins", "plugins", "list", environ=only("llamacpp", name))

    assert result.returncode == 3, result.stdout + result.stderr
    assert repr(name) in result.stderr
    assert "try:" in result.stderr
    assert name in result.stdout


def test_strict_with_good_plugins_is_quiet(environment: Any) -> None:
    """`--strict-plugins` changes nothing if every plugin that may be loaded is fine."""
    result = environment.run("--strict-plugins", "plugins", "list", environ=only("llamacpp", "markov"))

    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


def test_strict_fails_ordinary_verbs_too(environment: Any, model: Path) -> None:
    """A verb that asks plugins fails with 3 under `--strict-plugins` if one of them is broken."""
    environ = only("markov", "raises")
    result = environment.run("--strict-plugins", "run", model, "It", "--max-tokens", "2", environ=environ)

    assert result.returncode == 3
    assert "raises" in result.stderr


def test_the_bundled_plugin_keeps_its_backend_name(environment: Any) -> None:
    """A backend named like a bundled one is left out; the rest of its plugin is used."""
    listed = environment.run("backends", "--json", environ=only("llamacpp", "acme-llama"))
    assert listed.returncode == 0, listed.stderr

    assert '"Acme llama"' in listed.stdout
    for report in _reports(json.loads(listed.stdout)):
        if report["name"] == "llamacpp":
            assert report["plugin"] == "llamacpp"
            assert report["engine"] != "Acme llama"
        if report["name"] == "acme":
            assert report["plugin"] == "acme-llama"


def _reports(value: Any) -> list[dict[str, Any]]:
    """Every object with a name and an engine, wherever in the document it stands."""
    if isinstance(value, dict):
        inner = [report for item in value.values() for report in _reports(item)]
        return [value, *inner] if "engine" in value and "name" in value else inner
    if isinstance(value, list):
        return [report for item in value for report in _reports(item)]
    return []


def test_known_dangers_cost_nothing_the_next_time(environment: Any, tmp_path: Path) -> None:
    """Plugins that hang or crash are found out once; later runs don't import them, so they don't wait."""
    imported = tmp_path / "imported"
    imported.mkdir()
    environ = {**only("hangs", "crashes", "markov"), "TRACE_IMPORTS": str(imported)}
    result = environment.run("plugins", "list", environ=environ)
    assert "did not end within 4 s" in result.stdout
    assert list(imported.iterdir()) == []

    elsewhere = {"MODELPLUG_HOME": str(tmp_path / "new home")}
    environment.run("plugins", "list", environ={**environ, **elsewhere})
    assert {entry.name for entry in imported.iterdir()} == {"crashes", "hangs"}


def test_a_disabled_plugin_stays_out_until_enabled(environment: Any) -> None:
    """`plugins disable` holds across runs and silences a broken plugin; `enable` brings it back."""
    environ = only("raises", "markov")
    assert environment.run("plugins", "disable", "raises", environ=environ).returncode == 0
    try:
        while_disabled = plugins(environment, environ)["raises"]
        strict = environment.run("--strict-plugins", "plugins", "list", environ=environ)
    finally:
        enabled = environment.run("plugins", "enable", "raises", environ=environ)

    assert while_disabled["state"] == "disabled"
    assert while_disabled["remedy"] == "modelplug plugins enable raises"
    assert strict.returncode == 0, strict.stderr
    assert enabled.returncode == 0, enabled.stderr
    assert plugins(environment, environ)["raises"]["state"] == "failed"


def test_lists_with_unknown_names_are_reported(environment: Any) -> None:
    """A name in an allow or deny list that matches nothing is reported with the nearest one."""
    environ = {**QUICK, "MODELPLUG_PLUGINS": "markow", "MODELPLUG_DISABLE_PLUGINS": "rases"}
    problems = environment.json("plugins", "list", environ=environ)["problems"]

    assert any("MODELPLUG_PLUGINS names 'markow'" in item and "markov" in item for item in problems)
    assert any("MODELPLUG_DISABLE_PLUGINS names 'rases'" in item and "raises" in item for item in problems)


@pytest.mark.parametrize("off", ["--no-plugins", "MODELPLUG_DISABLE_PLUGINS"])
def test_plugins_can_be_left_out_altogether(off: str, environment: Any) -> None:
    """`--no-plugins` and a `*` in the deny list import nothing."""
    flags = [off] if off.startswith("-") else []
    environ = {} if flags else {off: "*"}
    listed = environment.json(*flags, "plugins", "list", environ=environ)

    assert {plugin["state"] for plugin in listed["plugins"]} == {"disabled"}
    assert all(plugin["import_seconds"] is None for plugin in listed["plugins"])


def test_show_tells_everything_of_one_plugin(environment: Any) -> None:
    """`plugins show` prints one plugin; an unknown name is bad usage and answered with the nearest."""
    shown = environment.run("plugins", "show", "too-old", environ=QUICK)
    unknown = environment.run("plugins", "show", "marcov", environ=QUICK)
    traced = environment.run("--debug", "plugins", "show", "raises", environ=QUICK)

    assert "modelplug-too-old" in shown.stdout
    assert "0.9.2" in shown.stdout
    assert "incompatible" in shown.stdout
    assert unknown.returncode == 2
    assert "markov" in unknown.stderr
    assert "Traceback (most recent call last)" in traced.stdout


def test_a_model_of_the_third_party_runs_in_the_worker(environment: Any, model: Path) -> None:
    """The good plugin's own format is recognised, its engine chosen, and its model generates."""
    result = environment.run(
        "run",
        model,
        "It was the worst",
        *("--temperature", "0", "--max-tokens", "8", "--json"),
        environ=only("markov", "llamacpp"),
    )
    assert result.returncode == 0, result.stderr
    chunks = [json.loads(line) for line in result.stdout.splitlines()]

    text = "".join(chunk.get("text") or "" for chunk in chunks)
    assert text.startswith(" of times")


def test_an_uninstalled_plugin_is_missed_until_forgotten(environment: Any) -> None:
    """A plugin that worked and is gone is reported with the command that brings it back."""
    helper = _helper()
    plugins(environment, QUICK)
    environment.uninstall("modelplug-markov")
    try:
        missing = environment.json("plugins", "list", environ=QUICK)["missing"]
        forgotten = environment.run("plugins", "forget", "markov", environ=QUICK)
        after = environment.json("plugins", "list", environ=QUICK)["missing"]
    finally:
        environment.install(helper.third_party("good"))

    assert [(item["name"], item["distribution"], item["version"]) for item in missing] == [
        ("markov", "modelplug-markov", "1.2.0")
    ]
    assert "pip install" in missing[0]["install"]
    assert forgotten.returncode == 0, forgotten.stderr
    assert after == []


def test_the_conformance_kit_holds_a_third_party_to_the_contract(environment: Any) -> None:
    """The good plugin, installed like any other, passes every clause of the kit from its own tests."""
    tests = environment.root / "markov-tests"
    tests.mkdir()
    source = _helper().third_party("good") / "tests" / "test_markov_conformance.py"
    (tests / source.name).write_bytes(source.read_bytes())
    result = environment.run(
        *("-q", "-p", "no:cacheprovider", "--basetemp", environment.root / "kit", "--rootdir", tests, tests),
        module="pytest",
        environ=only("markov"),
        timeout=280,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout
