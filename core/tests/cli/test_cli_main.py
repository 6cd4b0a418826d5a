"""The root of the program: help, versions, mistyped verbs, and how errors end it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

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
