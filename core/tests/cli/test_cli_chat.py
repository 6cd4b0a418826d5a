"""`modelplug chat`: a conversation from a pipe and at a terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelplug.data import demo_model_path

ECHO = ("--backend", "sound", "--temperature", "0", "--top-k", "0", "--top-p", "1", "--max-tokens", "6")


def chat(*arguments: str, stdin: str | bytes = "") -> Any:
    """The result of a conversation fed from a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "modelplug", "chat", "demo", *arguments],
        input=stdin,
        capture_output=True,
        text=isinstance(stdin, str),
        timeout=100,
        check=False,
    )


def turns(output: str) -> list[list[str]]:
    """The words of each answer."""
    return [line.split() for line in output.splitlines()]


def test_a_piped_conversation_is_answered_line_by_line(misbehaving: Any) -> None:
    """Each line is a message, the conversation is kept, and empty lines are none."""
    done = chat(*ECHO, stdin="hello\n\nthere\n")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = turns(done.stdout)
    assert first[0] == "user=hello"
    # The echo shows the beginning of what it was given, which is the turn before.
    assert second[0] == "user=hello"
    assert second[1] == "assistant=user=hello"


def test_a_line_without_an_end_is_a_message_too(misbehaving: Any) -> None:
    """The last line need not end."""
    assert turns(chat(*ECHO, stdin="hello").stdout)[0][0] == "user=hello"


def test_a_conversation_with_the_models_own_template() -> None:
    """The demo model talks through its own chat template in a real engine, several turns long."""
    done = chat("--max-tokens", "8", "--seed", "1", "--temperature", "0", stdin="Who are you?\nAnd you?\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_model_without_a_template_is_refused_before_the_first_message(tmp_path: Path) -> None:
    """Nobody types a message only to learn that it can't be answered."""
    model = tmp_path / "plain.gguf"
    model.write_bytes(
        demo_model_path().read_bytes().replace(b"tokenizer.chat_template", b"tokenizer.chat_tomplate")
    )
    done = subprocess.run(
        [sys.executable, "-m", "modelplug", "chat", str(model)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1
    assert "no chat template" in done.stderr


def test_commands(misbehaving: Any) -> None:
    """`/clear` forgets, `/system` sets and removes, `/help` and unknown commands help, `/exit` leaves."""
    script = "one\n/clear\ntwo\n/system Be brief.\nthree\n/system\nfour\n/help\n/nonsense\n/exit\nfive\n"
    done = chat(*ECHO, stdin=script)
    assert done.returncode == 0
    answers = turns(done.stdout)
    assert [answer[0] for answer in answers] == ["user=one", "user=two", "system=Be", "user=four"]
    assert "brief." in answers[2]
    for words in ("forgotten", "system message set", "system message removed", "no command /nonsense"):
        assert words in done.stderr


def test_the_help_has_its_explanations_in_one_column(misbehaving: Any) -> None:
    """Each line of `/help` explains from the same column on."""
    lines = [line for line in chat(*ECHO, stdin="/help\n").stderr.splitlines() if line.startswith("  /")]
    assert len(lines) == 4
    assert {re.match(r"  /[a-z]+( TEXT)? +", line).end() for line in lines} == {17}  # type: ignore[union-attr]


def test_without_a_model_the_one_of_the_settings_is_used(
    misbehaving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`modelplug chat` talks with `model_path`; if there is none either, it says how to name one."""
    arguments = [sys.executable, "-m", "modelplug", "chat", *ECHO]
    options: Any = {"input": "hello\n", "capture_output": True, "text": True, "timeout": 100, "check": False}
    done = subprocess.run(arguments, **options)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: no model is named" in done.stderr
    assert "modelplug config set model_path PATH" in done.stderr
    monkeypatch.setenv("MODELPLUG_MODEL", "demo")
    done = subprocess.run(arguments, **options)
    assert (done.returncode, done.stderr) == (0, "")
    assert turns(done.stdout)[0][0] == "user=hello"


def test_a_system_message_from_the_command_line(misbehaving: Any) -> None:
    """`--system` stands at the beginning, and survives `/clear`."""
    done = chat(*ECHO, "--system", "Hello.", stdin="one\n/clear\ntwo\n")
    assert [answer[0] for answer in turns(done.stdout)] == ["system=Hello.", "system=Hello."]


def test_json_lines(misbehaving: Any) -> None:
    """With `--json` every turn ends with an object that has its statistics, and every line is JSON."""
    done = chat(*ECHO, "--json", stdin="one\ntwo\n")
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    ends = [entry for entry in objects if "finish_reason" in entry]
    assert [entry["finish_reason"] for entry in ends] == ["length", "length"]
    assert all(entry["stats"]["completion_tokens"] == 6 for entry in ends)


def test_a_conversation_that_outgrows_the_context_loses_its_oldest_turns(misbehaving: Any) -> None:
    """The oldest turns are dropped with a warning, the system message stays, and the talk goes on."""
    messages = "".join(f"message{number} {'x ' * 15}\n" for number in range(6))
    done = chat(*ECHO, "--system", "Stay.", stdin=messages)
    assert done.returncode == 0, done.stderr
    assert len(turns(done.stdout)) == 6
    assert {answer[0] for answer in turns(done.stdout)} == {"system=Stay."}
    assert turns(done.stdout)[-1][1] != "user=message0"
    assert "its oldest turn was dropped" in done.stderr


def test_one_message_longer_than_the_context_is_an_error(misbehaving: Any) -> None:
    """When there is nothing left to drop, the error says how long the message is."""
    done = chat(*ECHO, stdin="x " * 200 + "\n")
    assert done.returncode == 1
    assert "tokens, but the context holds 64" in done.stderr


def test_bytes_that_are_no_text(misbehaving: Any) -> None:
    """Undecodable input is a message with replacement characters."""
    done = chat(*ECHO, stdin=b"\xff\xfe\n")
    assert done.returncode == 0
    assert "user=\ufffd\ufffd".encode() in done.stdout


def test_a_crash_ends_a_piped_conversation(misbehaving: Any) -> None:
    """Without anybody at a terminal, a dead engine ends the program with status 1."""
    arguments = [*ECHO, "--set", "fault=sigkill", "--set", "at=middle"]
    arguments[1] = "misbehaving"
    done = chat(*arguments, stdin="one\ntwo\n")
    assert done.returncode == 1
    assert "SIGKILL" in done.stderr


# At a terminal --------------------------------------------------------------------------------------------


class Terminal:
    """A conversation at a pseudo-terminal, with the helpers of the misbehaving engine."""

    def __init__(self, misbehaving: Any, *arguments: str) -> None:
        import pty

        self.misbehaving = misbehaving
        self.controller, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "modelplug", "chat", "demo", *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: _take(terminal),
        )
        os.close(terminal)
        self.seen = ""
        self.unread = ""

    def until(self, words: str) -> str:
        """Read until the words have appeared after what was asked for before."""
        while words not in self.unread:
            try:
                data = os.read(self.controller, 1000)
            except OSError:
                pytest.fail(f"the program ended; it wrote {self.seen + self.unread!r}")
            self.unread += data.decode("utf-8", "replace")
        # What came in the same piece after the words is for the next question.
        before, _, self.unread = self.unread.partition(words)
        self.seen += before + words
        return before + words

    def type(self, text: str) -> None:
        """Type at the keyboard, as late as a person would.

        A signal between a prompt and the read that waits for its answer is only seen when that read ends.
        """
        assert self.misbehaving.eventually(lambda: self.misbehaving.waits(self.process.pid), 60)
        os.write(self.controller, text.encode())

    def end(self) -> int:
        """Wait for the program's end."""
        try:
            while os.read(self.controller, 1000):
                pass
        except OSError:
            status = self.process.wait(60)
        os.close(self.controller)
        return status


def _take(terminal: int) -> None:
    import fcntl
    import termios

    # Tests that run in the background may ignore both themselves, and hand that down.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def test_ctrl_c_ends_the_answer_and_not_the_conversation(misbehaving: Any, own_home: Path) -> None:
    """At a terminal Ctrl-C stops the answer; the next message is answered; end of input leaves with 0."""
    terminal = Terminal(misbehaving, *ECHO[:-1], "100000", "--set", "pace=0.02")
    terminal.until("> ")
    terminal.type("hello\n")
    terminal.until("user=hello user=hello")
    terminal.type("\x03")
    terminal.until("interrupted")
    terminal.until("> ")
    terminal.type("again\n")
    terminal.until("user=again")
    terminal.type("\x03")
    terminal.until("> ")
    terminal.type("\x04")
    assert terminal.end() == 0
    home = f"MODELPLUG_HOME={own_home}"
    assert misbehaving.eventually(lambda: misbehaving.processes_with(home) <= {os.getpid()}, 5)


def test_ctrl_c_at_the_prompt_leaves(misbehaving: Any) -> None:
    """At the prompt, Ctrl-C ends the program with 130."""
    terminal = Terminal(misbehaving, *ECHO)
    terminal.until("> ")
    terminal.type("\x03")
    assert terminal.end() == 130


def test_an_error_at_a_terminal_does_not_end_the_conversation(misbehaving: Any) -> None:
    """A message that is too long is refused, and the conversation before it goes on."""
    terminal = Terminal(misbehaving, *ECHO)
    terminal.until("> ")
    terminal.type("first\n")
    terminal.until("user=first user=first")
    terminal.until("> ")
    terminal.type("x " * 200 + "\n")
    terminal.until("the context holds 64")
    terminal.until("> ")
    terminal.type("second\n")
    assert "user=first" in terminal.until("> ")
    terminal.type("/exit\n")
    assert terminal.end() == 0


def test_a_hangup_leaves_no_orphan(misbehaving: Any, own_home: Path) -> None:
    """Closing the terminal window ends program and worker."""
    terminal = Terminal(misbehaving, *ECHO)
    terminal.until("> ")
    os.killpg(terminal.process.pid, signal.SIGHUP)
    terminal.end()
    home = f"MODELPLUG_HOME={own_home}"
    assert misbehaving.eventually(lambda: misbehaving.processes_with(home) <= {os.getpid()}, 5)
