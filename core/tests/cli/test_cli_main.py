"""The root of the program: help, versions, mistyped verbs, and how errors end it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import click
import pytest

import modelplug
from modelplug.cli import main as package_main
from modelplug.cli.main import _run
from modelplug.errors import ModelplugError


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The program's result."""
    return subprocess.run(
        [sys.executable, "-m", "modelplug", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_the_version() -> None:
    """`--version` says name and version."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"modelplug {modelplug.__version__}\n")


def test_help_lists_every_verb() -> None:
    """`--help` and no argument at all show the verbs, each with a line, each with help of its own."""
    from modelplug.cli.main import VERBS

    shown = run("--help").stdout
    for verb, (_, line) in VERBS.items():
        assert f"  {verb} " in shown
        assert line.rstrip(".") in " ".join(shown.split())
        assert run(verb, "-h").stdout.startswith(f"Usage: modelplug {verb}")


def test_a_mistyped_verb_is_answered_with_the_nearest() -> None:
    """A verb that does not exist is a usage error with a suggestion."""
    done = run("isnpect", "x")
    assert done.returncode == 2
    assert "Did you mean 'inspect'?" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "what", "why", "advice"),
    [
        (
            ("run",),
            "missing argument 'MODEL'",
            "the usage is modelplug run [OPTIONS]",
            "`modelplug run --help`",
        ),
        (
            ("run", "a", "b", "c"),
            "got unexpected extra argument (c)",
            "the usage is modelplug run",
            "--help`",
        ),
        (("run", "a", "b", "--backend"), "option '--backend' requires", "", "`modelplug run --help`"),
        (
            ("run", "a", "b", "--top-p", "2"),
            "invalid value for '--top-p'",
            "2.0 is not in the range",
            "--help`",
        ),
        (("run", "a", "b", "--max-tokns", "3"), "no such option", "", "--max-tokens"),
        (("run", "-dash.gguf", "hi"), "no such option", "", "write ./-dash.gguf."),
        (("run", "--dash.gguf", "hi"), "no such option", "", "write ./--dash.gguf."),
        (("run", "a", "- a list"), "no such option", "", "write `modelplug run -- MODEL PROMPT`."),
        (("isnpect", "x"), "no such command 'isnpect'", "", "Did you mean 'inspect'? `modelplug --help`"),
        (("config", "gett"), "no such command 'gett'", "", "`modelplug config --help` shows the verbs."),
        (("--nope",), "no such option", "", "`modelplug --help`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_mistakes_on_the_command_line_look_like_every_error(
    capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], what: str, why: str, advice: str
) -> None:
    """They end with 2, begin in lower case, say why where there is more to say, and what to type."""
    status = _run(list(arguments))
    shown = capfd.readouterr()
    lines = shown.err.splitlines()
    assert (status, shown.out) == (2, "")
    assert lines[0].startswith(f"error: {what}")
    assert [line.startswith(f"  why: {why}") for line in lines[1:-1]] == ([True] if why else [])
    assert lines[-1].startswith("  try: ")
    assert advice in lines[-1]


def test_mistakes_on_the_command_line_are_json_where_that_is_asked_for(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With `--json` a usage error is an object on standard output, as every other error is."""
    assert _run(["run", "demo", "x", "--json", "--seed", "-1"]) == 2
    error = json.loads(capfd.readouterr().out)
    assert (error["error"], error["exit_code"]) == ("UsageError", 2)
    assert error["what"] == "invalid value for '--seed'"
    assert "0<=x<=4294967295" in error["why"]


def test_other_refusals_of_the_command_line_library_look_like_every_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A failure that a plugin's command reports in the library's own way is told like the rest."""

    def verb(**_: Any) -> None:
        raise click.ClickException("it went wrong")

    monkeypatch.setattr(sys.modules["modelplug.cli.main"].program, "main", verb)
    assert _run(["somebodys"]) == 1
    assert capfd.readouterr().err == "error: it went wrong\n"


def test_help_and_version_import_no_engine_and_no_verb() -> None:
    """The quick answers import neither engines nor numpy, nor the modules of the verbs."""
    code = (
        "import sys\n"
        "from modelplug.cli.main import _run\n"
        "assert _run([sys.argv[1]]) == 0\n"
        "heavy = {'torch', 'numpy', 'transformers', 'ctransformers', 'xllamacpp', 'rich', 'psutil'}\n"
        "loaded = sorted(heavy & set(sys.modules))\n"
        "verbs = sorted(m for m in sys.modules if m in ('modelplug.cli.run', 'modelplug.cli.doctor'))\n"
        "print('LOADED', loaded + verbs)\n"
    )
    for flag in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, flag], capture_output=True, text=True, timeout=60, check=False
        )
        assert "LOADED []" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("raised", "status", "words"),
    [
        (ModelplugError("it broke", why="because", advice="do that"), 1, "error: it broke"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 0, ""),
        (OSError(28, "No space left on device"), 1, "writing failed"),
        (OSError(5, "Input/output error"), 1, "unexpected error: OSError"),
        (ZeroDivisionError("oops"), 1, "unexpected error: ZeroDivisionError: oops"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_end_has_its_status_and_words(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    raised: BaseException,
    status: int,
    words: str,
) -> None:
    """Expected errors, faults, interruptions and a reader that left each end the program in their own way."""
    # The package has a function of the same name.
    main_module = sys.modules["modelplug.cli.main"]

    def verb(**_: Any) -> None:
        raise raised

    monkeypatch.setattr(main_module.program, "main", verb)
    monkeypatch.setattr(main_module, "_give_up_output", lambda: None)
    assert _run(["run", "demo", "x"]) == status
    errors = capfd.readouterr().err
    assert words in errors
    assert "Traceback" not in errors


def test_the_script_exits_with_the_status() -> None:
    """The entry point of the installed script turns the status into the exit status."""
    with pytest.raises(SystemExit) as caught:
        package_main(["--version"])
    assert caught.value.code == 0


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal on Windows")
def test_ctrl_c_comes_too_late_at_the_very_end() -> None:
    """Once the work is done, Ctrl-C changes neither the exit status nor what was said."""
    code = (
        "import atexit, os, signal\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from modelplug.cli import main\n"
        "main(['--version'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
