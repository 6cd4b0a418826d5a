"""`modelplug run`, as a user runs it: a process of its own, with real input, output and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelplug.data import demo_model_path

ECHO = ("--backend", "sound", "--temperature", "0", "--top-k", "0", "--top-p", "1")
FAULTY = ("--backend", "misbehaving", *ECHO[2:])


def modelplug(*arguments: str, stdin: str | bytes | None = "", **options: Any) -> Any:
    """The program's result; output as text unless `stdin` is bytes."""
    return subprocess.run(
        [sys.executable, "-m", "modelplug", *arguments],
        input=stdin,
        capture_output=True,
        text=not isinstance(stdin, bytes),
        timeout=100,
        check=False,
        **options,
    )


def started(
    *arguments: str, preexec_fn: Callable[[], None] | None = None, **options: Any
) -> subprocess.Popen[str]:
    """The program, running, in a process group of its own."""

    def prepare() -> None:
        # Tests that run in the background may ignore Ctrl-C themselves, and hand that down.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if preexec_fn is not None:
            preexec_fn()

    return subprocess.Popen(
        [sys.executable, "-m", "modelplug", *arguments],
        stdin=options.pop("stdin", subprocess.DEVNULL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
        **options,
    )


def workers_of(misbehaving: Any, home: Path) -> set[int]:
    """Processes that run with this home, without this one."""
    found: set[int] = misbehaving.processes_with(f"MODELPLUG_HOME={home}")
    return found - {os.getpid()}


def lines_of(text: str) -> list[dict[str, Any]]:
    """Every line as JSON, strictly."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


# What it prints -------------------------------------------------------------------------------------------


def test_text_goes_to_standard_output_and_nothing_else_does(misbehaving: Any) -> None:
    """The continuation is on standard output, and without reason to speak standard error is empty."""
    done = modelplug("run", "demo", "one two", "--max-tokens", "4", *ECHO)
    assert (done.returncode, done.stdout, done.stderr) == (0, "one two one two \n", "")


@pytest.mark.parametrize("stdin", ["from a pipe", b"\xff\xfe bytes", "", b"nul\0", "é→🚀"])
def test_a_dash_reads_the_prompt_from_standard_input(misbehaving: Any, stdin: str | bytes) -> None:
    """`-` takes the prompt from standard input, whatever bytes it holds."""
    done = modelplug("run", "demo", "-", "--max-tokens", "4", *ECHO, stdin=stdin)
    assert done.returncode == 0
    words = (stdin.decode("utf-8", "replace") if isinstance(stdin, bytes) else stdin).split(" ")
    expected = "".join(words[number % len(words)] + " " for number in range(4)) + "\n"
    assert done.stdout == (expected.encode() if isinstance(stdin, bytes) else expected)


def test_json_is_one_object_per_chunk_and_one_with_statistics(misbehaving: Any) -> None:
    """Every line is an object; the last has the reason, the statistics and how loading went."""
    done = modelplug("run", "demo", "a b", "--max-tokens", "3", "--json", "--threads", "2", *ECHO)
    assert (done.returncode, done.stderr) == (0, "")
    *chunks, last = lines_of(done.stdout)
    assert [chunk["text"] for chunk in chunks] == ["a ", "b ", "a "]
    assert last["finish_reason"] == "length"
    assert last["stats"]["completion_tokens"] == 3
    assert last["stats"]["warnings"] == []
    assert last["load"]["requested"] == {"backend": "sound", "threads": 2}
    assert last["load"]["effective"]["backend"] == "sound"
    assert last["load"]["attempts"][0]["success"] is True
    assert last["load"]["memory_bytes"] > 0


def test_text_appears_as_it_is_made(misbehaving: Any, own_home: Path) -> None:
    """The first word can be read long before the last one is made."""
    with started("run", "demo", "a", "--max-tokens", "100000", "--set", "pace=0.05", *ECHO) as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == "a a "
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_statistics_on_request(misbehaving: Any) -> None:
    """`--stats` adds a line on standard error."""
    done = modelplug("run", "demo", "a b", "--max-tokens", "3", "--stats", *ECHO)
    assert "2 prompt tokens, 3 generated" in done.stderr
    assert "ended by length" in done.stderr


@pytest.mark.parametrize("prompt", ["emoji", "nul", "surrogates"])
def test_any_text_can_be_printed(misbehaving: Any, prompt: str) -> None:
    """Emoji, NUL and halves of pairs are printed, also where the terminal knows ASCII only."""
    for encoding in ("utf-8", "ascii"):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        done = modelplug("run", "demo", prompt, "--max-tokens", "2", *ECHO, stdin=b"", env=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        assert len(done.stdout) > 2


def test_an_argument_of_bytes_that_are_no_text(misbehaving: Any) -> None:
    """A prompt with undecodable bytes works."""
    done = modelplug("run", "demo", os.fsdecode(b"a\xffb"), "--max-tokens", "1", *ECHO)
    assert (done.returncode, done.stdout) == (0, "a\ufffdb \n")


def test_every_option_reaches_its_place(misbehaving: Any) -> None:
    """All options of loading and generating are taken together, by a real engine."""
    done = modelplug(
        *("run", "demo", "ROMEO:", "--json", "--backend", "llamacpp", "--max-tokens", "5"),
        *("--temperature", "0.7", "--top-k", "20", "--top-p", "0.9", "--min-p", "0.05", "--seed", "7"),
        *("--repeat-penalty", "1.1", "--stop", "zzz", "--stop", "yyy", "--overflow", "truncate"),
        *("--gpu-layers", "0", "--context-size", "256", "--threads", "1", "--batch-size", "64"),
        *("--isolation", "process", "--fallback", "never", "--timeout", "60", "--grammar", "root ::= .*"),
    )
    assert done.returncode == 0, done.stderr
    last = lines_of(done.stdout)[-1]
    effective = last["load"]["effective"]
    assert (effective["context_size"], effective["threads"], effective["batch_size"]) == (256, 1, 64)
    assert last["stats"]["completion_tokens"] == 5


def test_what_an_engine_lacks_can_be_left_out_with_a_warning(misbehaving: Any) -> None:
    """`--unsupported warn` goes on without the parameters that the engine can't honour, and names them."""
    done = modelplug(
        *("run", "demo", "one two", "--max-tokens", "2", *ECHO, "--grammar", 'root ::= "a"'),
        *("--unsupported", "warn"),
    )
    assert (done.returncode, done.stdout) == (0, "one two \n")
    assert done.stderr.startswith("warning: grammar='root ::= \"a\"' was left out")


def test_the_same_seed_gives_the_same_text() -> None:
    """Two runs with one seed agree, and inline agrees with the worker."""
    arguments = ("run", "demo", "ROMEO:", "--seed", "3", "--max-tokens", "20", "--backend", "llamacpp")
    texts = {modelplug(*arguments, "--isolation", where).stdout for where in ("process", "inline")}
    assert len(texts) == 1
    assert len(texts.pop()) > 20


def test_a_stop_string_ends_the_text() -> None:
    """Generation ends before the stop string."""
    done = modelplug("run", "demo", "A", "--temperature", "0", "--max-tokens", "60", "--json")
    text = "".join(line.get("text", "") for line in lines_of(done.stdout))
    stop = text.split()[2]
    done = modelplug("run", "demo", "A", "--temperature", "0", "--max-tokens", "60", "--json", "--stop", stop)
    *chunks, last = lines_of(done.stdout)
    assert "".join(chunk["text"] for chunk in chunks) == text.partition(stop)[0]
    assert last["finish_reason"] == "stop"


# Wrong input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("run", "dmo", "x"), 1, "Did you mean demo?"),
        (("run", "/no/such/place/m.gguf", "x"), 1, "the folder /no/such/place does not exist"),
        (("run", "demo", "x", "--backend", "lamacpp"), None, "llamacpp"),
        (("run", "demo", "x", "--max-tokens", "0"), 2, "--max-tokens"),
        (("run", "demo", "x", "--max-tokens", "many"), 2, "--max-tokens"),
        (("run", "demo", "x", "--temperature", "-1"), 2, "--temperature"),
        (("run", "demo", "x", "--temperature", "nan"), 2, "temperature"),
        (("run", "demo", "x", "--temperature", "1e9"), 2, "temperature"),
        (("run", "demo", "x", "--top-p", "1.5"), 2, "--top-p"),
        (("run", "demo", "x", "--repeat-penalty", "0"), 2, "--repeat-penalty"),
        (("run", "demo", "x", "--gpu-layers", "-2"), 2, "--gpu-layers"),
        (("run", "demo", "x", "--context-size", "0"), 2, "--context-size"),
        (("run", "demo", "x", "--timeout", "0"), 2, "--timeout"),
        (("run", "demo", "x", "--isolation", "cloud"), 2, "process"),
        (("run", "demo", "x", "--fallback", "maybe"), 2, "never"),
        (("run", "demo", "x", "--stop", ""), 2, "stop"),
        (("run", "demo", "x", "--set", "novalue"), 2, "NAME=VALUE"),
        (("run", "demo", "x", "--set", "treads=3", "--backend", "llamacpp"), None, "threads"),
        (("run", "demo", "x", "--grammar", "root ::= (", "--backend", "llamacpp"), 1, "grammar"),
        (("run", "demo", "x", "--grammar", "root ::= 'a'", "--backend", "sound"), 1, "grammar"),
        (("run", "demo", "x", "--grammar", ""), 2, "grammar"),
        (("run", "demo", "x", "--grammar", "root ::= "), 2, "nothing after 'root ::='"),
        (("run", "demo", "x", "--grammar", "start ::= 'a'"), 2, "rule root"),
        (("run", "demo", "x", "--seed", "99999999999999999999"), 2, "0<=x<=4294967295"),
        (("run", "demo", "x", "--unsupported", "ignore"), 2, "warn"),
        (("run", "demo", "x", "--backend", "sound", "--temperature", "1"), 1, "--top-k 0 --top-p 1"),
        (("run", "demo"), 2, "PROMPT"),
        (("rnu", "demo", "x"), 2, "run"),
    ],
    ids=lambda value: " ".join(value[2:] or value) if isinstance(value, tuple) else None,
)
def test_wrong_input_is_answered_with_what_is_right(
    misbehaving: Any, arguments: tuple[str, ...], status: int | None, words: str
) -> None:
    """Each mistake gives its exit status, names what was wrong and what is allowed, without a traceback."""
    done = modelplug(*arguments)
    assert done.returncode == status if status is not None else done.returncode in (1, 2, 3)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected error" not in done.stderr
    assert done.stdout == ""


def test_an_error_is_json_where_json_was_asked_for(misbehaving: Any) -> None:
    """With `--json` a failure is one object on standard output, with cause and advice."""
    done = modelplug("run", "demo", "x", "--json", "--set", "fault=sigsegv", *FAULTY)
    assert done.returncode == 1
    (error,) = lines_of(done.stdout)
    assert error["error"] == "WorkerCrashedError"
    assert (error["signal_name"], error["cause"], error["backend"]) == ("SIGSEGV", "crash", "misbehaving")
    assert error["advice"]


def test_a_crash_while_generating_keeps_the_text_so_far(misbehaving: Any) -> None:
    """What was made before the engine died has been printed; the error follows, with exit status 1."""
    done = modelplug("run", "demo", "!sigkill middle", "--max-tokens", "9", *FAULTY)
    assert done.returncode == 1
    assert done.stdout.startswith("!sigkill middle ")
    assert "was killed (SIGKILL)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_traceback_only_with_debug(misbehaving: Any) -> None:
    """`--debug` shows the traceback that is hidden otherwise."""
    arguments = ("run", "demo", "x", "--set", "fault=exception", *FAULTY)
    assert "Traceback (most recent call last)" not in modelplug(*arguments).stderr
    assert "Traceback (most recent call last)" in modelplug("--debug", *arguments).stderr


def test_a_prompt_longer_than_the_context() -> None:
    """It is an error with both numbers and the ways out, or a truncation that is recorded as a warning."""
    prompt = "word " * 2000
    arguments = ("run", "demo", "-", "--max-tokens", "3", "--context-size", "128", "--temperature", "0")
    done = modelplug(*arguments, stdin=prompt)
    assert (done.returncode, done.stdout.strip()) == (1, "")
    assert "tokens, but the context holds 128" in done.stderr
    assert "context" in done.stderr.partition("try:")[2]
    done = modelplug(*arguments, "--overflow", "truncate", stdin=prompt)
    assert done.returncode == 0
    assert "warning: the prompt has" in done.stderr
    done = modelplug(*arguments, "--overflow", "truncate", "--json", stdin=prompt)
    assert "were dropped" in lines_of(done.stdout)[-1]["stats"]["warnings"][0]


def test_a_deadline_that_can_not_be_kept(misbehaving: Any) -> None:
    """`--timeout 0.001` ends at once with exit status 1 and says what to allow."""
    slow = ("--set", "fault=hang", *FAULTY)
    done = modelplug("run", "demo", "x", "--timeout", "0.001", "--fallback", "never", *slow)
    assert done.returncode == 1
    assert "did not load the model within 0.001 s" in done.stderr
    assert "--timeout" in done.stderr


# Fallback -------------------------------------------------------------------------------------------------


@pytest.fixture
def first_fails(misbehaving: Any, own_home: Path) -> None:
    """Settings with which the first engine to be tried fails."""
    settings = {
        "version": 1,
        "preferred_backend": "misbehaving",
        "fallback_order": ["sound"],
        "backends": {"misbehaving": {"fault": "exception"}},
    }
    (own_home / "config.json").write_text(json.dumps(settings))


def test_a_fallback_is_announced(first_fails: None) -> None:
    """What failed and what runs instead is said on standard error, and in the JSON."""
    arguments = ("run", "demo", "a", "--max-tokens", "2", *ECHO[2:])
    done = modelplug(*arguments)
    assert (done.returncode, done.stdout) == (0, "a a \n")
    assert "warning: misbehaving on the CPU was tried first and failed" in done.stderr
    assert "warning: the model runs on sound on the CPU instead." in done.stderr
    last = lines_of(modelplug(*arguments, "--json").stdout)[-1]
    assert [attempt["success"] for attempt in last["load"]["attempts"]] == [False, True]
    assert len(last["load"]["effective"]["notes"]) == 2


@pytest.mark.parametrize(("policy", "words"), [("never", "switched off"), ("ask", "nobody to ask")])
def test_no_fallback_without_consent(first_fails: None, policy: str, words: str) -> None:
    """`never` and `ask` without a terminal stop at the first failure and say why."""
    done = modelplug("run", "demo", "a", "--fallback", policy, *ECHO[2:])
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("\x03", 130)])
def test_fallback_asks_at_a_terminal(misbehaving: Any, first_fails: None, answer: str, status: int) -> None:
    """At a terminal `ask` asks, and does what it is told; Ctrl-C at the question leaves."""
    import pty

    controller, terminal = pty.openpty()
    process = started(
        *("run", "demo", "a", "--max-tokens", "2", "--fallback", "ask", *ECHO[2:]),
        stdin=terminal,
        preexec_fn=lambda: _take_terminal(terminal),
    )
    os.close(terminal)
    try:
        assert process.stderr is not None
        seen = ""
        while "[Y/n]" not in seen:
            letter = process.stderr.read(1)
            assert letter, seen
            seen += letter
        assert "bad shape" in seen
        # A signal that comes between the question and the read that waits for its answer is only seen by
        # Python when that read ends. Nobody answers so fast.
        assert misbehaving.eventually(lambda: misbehaving.waits(process.pid), 60)
        os.write(controller, answer.encode())
        output, _ = process.communicate(timeout=60)
    finally:
        os.close(controller)
    assert process.returncode == status
    assert (output == "a a \n") == (status == 0)


def _take_terminal(terminal: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


# Interruption and other ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_ctrl_c_while_generating(misbehaving: Any, own_home: Path, as_json: bool) -> None:
    """Ctrl-C ends with 130, keeps what was said, and leaves no process."""
    extra = ("--json",) if as_json else ()
    arguments = ("run", "demo", "a", "--max-tokens", "100000", "--set", "pace=0.02", *ECHO, *extra)
    process = started(*arguments)
    assert process.stdout is not None
    assert process.stderr is not None
    before = process.stdout.readline() if as_json else process.stdout.read(4)
    os.killpg(process.pid, signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.rstrip().endswith("interrupted")
    if as_json:
        assert lines_of(before)[0]["text"] == "a "
        assert lines_of(rest)[-1]["finish_reason"] == "cancelled"
    else:
        assert set((before + rest).split()) == {"a"}
    assert misbehaving.eventually(lambda: not workers_of(misbehaving, own_home), 5)


@pytest.mark.parametrize("fault", ["hang", "hang-with-lock"])
def test_ctrl_c_while_loading(misbehaving: Any, own_home: Path, tmp_path: Path, fault: str) -> None:
    """Ctrl-C ends a load that hangs, even with the interpreter lock held, with 130 and no orphan."""
    journal = tmp_path / "journal"
    process = started("run", "demo", "a", "--set", f"fault={fault}", "--set", f"journal={journal}", *FAULTY)
    assert misbehaving.eventually(journal.exists, 60)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert "Traceback" not in errors
    assert time.monotonic() - began < 20
    assert misbehaving.eventually(lambda: not workers_of(misbehaving, own_home), 5)


@pytest.mark.parametrize("prompt", ["a", "!hang-with-lock first"])
def test_killing_the_program_leaves_no_orphan(misbehaving: Any, own_home: Path, prompt: str) -> None:
    """Five seconds after SIGKILL of the program its worker is gone too."""
    process = started("run", "demo", prompt, "--max-tokens", "100000", "--set", "pace=0.02", *ECHO)
    assert misbehaving.eventually(lambda: len(workers_of(misbehaving, own_home)) >= 3, 60)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    assert misbehaving.eventually(lambda: not workers_of(misbehaving, own_home), 5)


def test_a_reader_that_leaves_is_no_error(misbehaving: Any, own_home: Path) -> None:
    """`| head -1` ends the program at once, quietly, and its worker too."""
    process = started("run", "demo", "a", "--max-tokens", "100000", "--set", "pace=0.01", *ECHO)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(2)
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()
    assert misbehaving.eventually(lambda: not workers_of(misbehaving, own_home), 5)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_as_what_it_is(misbehaving: Any) -> None:
    """Output that can't be written is an error about space, not a fault of the program."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "modelplug", "run", "demo", "a", *ECHO],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert "writing failed" in done.stderr
    assert "No space left" in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_missing_standard_stream_is_no_error(misbehaving: Any, closed: int) -> None:
    """The program works when it is started without standard input, output or error."""
    done = modelplug(
        "run", "demo", "-", "--max-tokens", "2", *ECHO, stdin=None, preexec_fn=lambda: os.close(closed)
    )
    assert done.returncode == 0
    assert "rror" not in done.stderr


def test_a_model_by_path_name_and_in_another_folder(misbehaving: Any, tmp_path: Path) -> None:
    """A relative path, and a registered name, are run from any folder."""
    (tmp_path / "my model.gguf").write_bytes(demo_model_path().read_bytes())
    arguments = ("x", "--max-tokens", "1", *ECHO)
    assert modelplug("run", "my model.gguf", *arguments, cwd=tmp_path).returncode == 0
    assert modelplug("models", "add", "mine", str(tmp_path / "my model.gguf")).returncode == 0
    assert modelplug("run", "mine", *arguments).stdout == "x \n"


def test_modules_in_the_current_folder_are_not_imported(misbehaving: Any, tmp_path: Path) -> None:
    """A file named like a module in the folder one happens to be in reaches neither program nor worker."""
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    script = Path(sys.executable).with_name("modelplug")
    if not script.exists():
        pytest.fail("the program is not installed beside the interpreter")
    done = subprocess.run(
        [script, "run", "demo", "a", "--max-tokens", "1", *ECHO],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "a \n")
