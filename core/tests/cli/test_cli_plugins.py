"""`modelplug plugins`, as typed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelplug.cli.main import main

Run = Callable[..., tuple[int, str, str]]

SOURCES = {
    "good": (
        'MODELPLUG_HOOKSPEC_VERSION = "1.0"\n'
        "from modelplug.hookspecs import hookimpl\n"
        "@hookimpl\ndef modelplug_benchmarks():\n    return []\n"
    ),
    "bad": 'raise RuntimeError("no luck")\n',
    "old": 'MODELPLUG_HOOKSPEC_VERSION = "0.1"\n',
    "rude": (
        'MODELPLUG_HOOKSPEC_VERSION = "1.0"\n'
        "from modelplug.hookspecs import hookimpl\n"
        "@hookimpl\ndef modelplug_migrations():\n    return 7\n"
    ),
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """The program, with four plugins installed; whatever else is installed is not let in."""
    site = tmp_path / "site"
    site.mkdir()
    for name, source in SOURCES.items():
        (site / f"plugcli_{name}.py").write_text(source)
        info = site / f"dist_{name}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[modelplug]\n{name} = plugcli_{name}\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("MODELPLUG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELPLUG_PLUGIN_DEADLINE", "0")
    monkeypatch.setenv("MODELPLUG_PLUGINS", "good,bad,old,rude")

    def run_program(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return int(str(ended.value.code)), captured.out, captured.err

    yield run_program
    for module in [name for name in sys.modules if name.startswith("plugcli_")]:
        del sys.modules[module]


def listed(run: Run, *flags: str) -> dict[str, dict[str, Any]]:
    """Our plugins as `list --json` tells them, by name."""
    status, out, _ = run(*flags, "plugins", "list", "--json")
    assert status == 0
    return {item["name"]: item for item in json.loads(out)["plugins"] if item["name"] in SOURCES}


def test_list_tells_state_cause_and_remedy(run: Run) -> None:
    """The table has a row per plugin, and below it what is wrong and what to do."""
    status, out, _ = run("plugins", "list")

    assert status == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line and line.split()[0] in SOURCES}
    assert rows["good"][1:6] == ["ready", "dist-good", "2.5", "1.0", "benchmarks"]
    assert rows["bad"][1:4] == ["failed", "dist-bad", "2.5"]
    assert rows["old"][1:5] == ["incompatible", "dist-old", "2.5", "0.1"]
    assert "  why: importing it raised RuntimeError: no luck" in out
    assert "modelplug plugins disable bad" in out
    assert "Traceback" not in out


def test_list_as_json_has_everything(run: Run) -> None:
    """JSON has each record in full; tracebacks come with `--debug` only."""
    plugins = listed(run)

    assert plugins["good"]["hooks"] == ["modelplug_benchmarks"]
    assert plugins["good"]["import_seconds"] >= 0
    assert plugins["bad"]["remedy"]
    assert "traceback" not in plugins["bad"]
    assert "RuntimeError" in listed(run, "--debug")["bad"]["traceback"]


def test_list_asks_hooks_so_that_the_state_is_true(run: Run) -> None:
    """A plugin that imports well and answers nonsense is listed as failed."""
    plugin = listed(run)["rude"]

    assert plugin["state"] == "failed"
    assert "returned int (7), expected an iterable of migrations" in plugin["cause"]


def test_strict_prints_the_list_and_exits_with_3(run: Run) -> None:
    """Under `--strict-plugins` the list is complete on standard output, and the error beside it."""
    status, out, err = run("--strict-plugins", "plugins", "list", "--json")

    assert status == 3
    assert {item["name"] for item in json.loads(out)["plugins"]} >= set(SOURCES)
    assert "error: plugin 'bad' (dist-bad 2.5) failed" in err


def test_show_prints_one_plugin(run: Run) -> None:
    """`show` tells all of one plugin; under `--strict-plugins` only its own failure counts."""
    status, out, _ = run("plugins", "show", "good")
    lines = {line[:16].strip(): line[16:] for line in out.splitlines()}

    assert status == 0
    assert (lines["state"], lines["distribution"], lines["contract"]) == ("ready", "dist-good", "1.0")
    assert lines["hooks"] == "modelplug_benchmarks"
    assert run("--strict-plugins", "plugins", "show", "good")[0] == 0
    assert run("--strict-plugins", "plugins", "show", "bad")[0] == 3
    assert json.loads(run("plugins", "show", "old", "--json")[1])["state"] == "incompatible"


def test_show_with_debug_prints_the_traceback(run: Run) -> None:
    """`--debug` adds where it failed."""
    assert "Traceback (most recent call last)" in run("--debug", "plugins", "show", "bad")[1]


def test_an_unknown_plugin_is_bad_usage(run: Run) -> None:
    """Every verb that takes a name refuses an unknown one with exit 2 and the nearest name."""
    for verb in ("show", "enable", "disable"):
        status, _, err = run("plugins", verb, "goood")
        assert status == 2
        assert "good" in err


def test_disable_and_enable(run: Run) -> None:
    """`disable` holds for the next run and imports nothing; `enable` says how the plugin is."""
    status, out, _ = run("plugins", "disable", "bad")
    assert status == 0
    assert "modelplug plugins enable bad" in out
    assert "plugcli_bad" not in sys.modules
    assert listed(run)["bad"]["state"] == "disabled"

    status, out, _ = run("plugins", "enable", "bad")
    assert status == 0
    assert "bad is enabled; it failed" in out
    assert "no luck" in out
    assert json.loads(run("plugins", "disable", "bad", "--json")[1])["state"] == "disabled"
    assert json.loads(run("plugins", "enable", "bad", "--json")[1])["state"] == "failed"


def test_enable_clears_a_plugin_that_is_gone(run: Run, tmp_path: Path) -> None:
    """A disabled name without a plugin can be taken out of the list."""
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "plugins.json").write_text('{"version": 1, "disabled": ["gone"]}')
    assert "names 'gone', but no such plugin is installed" in run("plugins", "list")[1]

    status, out, _ = run("plugins", "enable", "gone")
    assert status == 0
    assert "not installed" in out
    assert "gone" not in run("plugins", "list")[1]


def test_enable_answers_in_json_for_a_plugin_that_is_gone(run: Run, tmp_path: Path) -> None:
    """`--json` gives JSON also where there is no plugin to describe."""
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "plugins.json").write_text('{"version": 1, "disabled": ["gone"]}')
    status, out, _ = run("plugins", "enable", "gone", "--json")
    assert status == 0
    assert json.loads(out) == {"name": "gone", "state": "not-installed"}


def test_a_missing_plugin_is_listed_and_forgotten(run: Run, tmp_path: Path) -> None:
    """A plugin that is gone is listed with the command that brings it back, until `forget`."""
    run("plugins", "list")
    for file in (tmp_path / "site" / "dist_good-2.5.dist-info").iterdir():
        file.unlink()
    (tmp_path / "site" / "dist_good-2.5.dist-info").rmdir()

    _, out, _ = run("plugins", "list")
    assert "good (dist-good 2.5) was here before and is missing" in out
    assert "pip install dist-good" in out
    assert run("plugins", "forget", "good")[0] == 0
    assert "was here before" not in run("plugins", "list")[1]
    assert run("plugins", "forget", "good")[0] == 2
