"""A tool may hang, flood, crash or print garbage: the probe survives and nothing is left running."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from modelplug.system.child import MAX_OUTPUT, ChildResult, run_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def gone(pid: int, within: float = 3.0) -> bool:
    """Whether the process ends (or is a zombie nobody waits for) within that time."""
    limit = time.monotonic() + within
    while True:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)


def hung(command: list[str], mark: Path, deadline: float) -> ChildResult:
    """The result of a tool that writes a process id into a file and hangs."""
    result = run_child(command, deadline=deadline)
    if not written(mark):
        # On a busy machine it was stopped before it got so far.
        result = run_child(command, deadline=20 * deadline)
    return result


def written(path: Path) -> bool:
    """Whether a tool wrote a process id into that file."""
    return path.exists() and bool(path.read_text().strip())


def python(code: str) -> list[str]:
    """The command line of a tool written in Python."""
    return [sys.executable, "-I", "-c", code]


def test_a_good_tool_is_reported_with_both_outputs() -> None:
    """Output, error output and status of a tool that works come back."""
    result = run_child(python("import sys; print('out'); print('err', file=sys.stderr)"), deadline=10)
    assert (result.state, result.exit_status) == ("ok", 0)
    assert (result.stdout.strip(), result.stderr.strip()) == ("out", "err")
    assert result.failure == ""


def test_a_failing_tool_is_quoted() -> None:
    """The failure names the status and the first thing the tool said."""
    result = run_child(["/bin/sh", "-c", "echo; echo no such device >&2; exit 9"], deadline=10)
    assert result.state == "exit"
    assert result.failure == "sh exited with status 9: no such device"


def test_a_crash_names_the_signal() -> None:
    """A tool ended by a signal is reported with the signal's name."""
    result = run_child(["/bin/sh", "-c", "kill -SEGV $$"], deadline=10)
    assert result.exit_status == -11
    assert "SIGSEGV" in result.failure


def test_a_missing_tool_is_a_result() -> None:
    """A program that isn't there is a result, not an exception."""
    result = run_child(["/nowhere/nvidia-smi"], deadline=1)
    assert result.state == "start-failed"
    assert "nvidia-smi could not be started" in result.failure


def test_a_file_of_garbage_is_a_result(tmp_path: Path) -> None:
    """An executable file that is no program is a result, not an exception."""
    tool = tmp_path / "tool"
    tool.write_bytes(b"\x7fELF" + bytes(100))
    tool.chmod(0o755)
    assert run_child([str(tool)], deadline=1).state == "start-failed"


def test_a_hanging_tool_dies_at_the_deadline_with_its_children(
    in_time: Callable[..., Any], tmp_path: Path
) -> None:
    """A tool that hangs is killed at the deadline together with what it started."""
    mark = tmp_path / "pid"
    command = ["/bin/sh", "-c", f"/bin/sleep 60 & echo $! > {mark}; wait"]
    result = in_time(3, lambda: hung(command, mark, 0.5))
    assert result.state == "timeout"
    assert gone(int(mark.read_text()))


def test_a_tool_that_ignores_signals_dies() -> None:
    """Ignoring SIGTERM does not help a tool that hangs."""
    result = run_child(["/bin/sh", "-c", "trap '' TERM INT HUP; while :; do :; done"], deadline=0.3)
    assert result.state == "timeout"
    assert "did not answer within 0.3 s" in result.failure


def test_a_grandchild_in_its_own_session_dies_too(tmp_path: Path) -> None:
    """A descendant that left the process group is killed while its parent hangs."""
    mark = tmp_path / "pid"
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(['/bin/sleep', '60'], start_new_session=True)\n"
        f"open({str(mark)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    result = hung(python(code), mark, 1.5)
    assert result.state == "timeout"
    assert gone(int(mark.read_text()))


def test_a_background_process_that_holds_the_pipe_does_not_hold_us(
    in_time: Callable[..., Any], tmp_path: Path
) -> None:
    """A tool that ends but leaves something holding its output is done at once, and the rest is killed."""
    mark = tmp_path / "pid"
    command = ["/bin/sh", "-c", f"/bin/sleep 60 & echo $! > {mark}; echo answer"]
    result = in_time(3, lambda: run_child(command, deadline=10))
    assert (result.state, result.stdout) == ("ok", "answer\n")
    assert gone(int(mark.read_text()))


def test_a_flood_is_cut(in_time: Callable[..., Any]) -> None:
    """A tool that writes without end is stopped at the limit, long before the deadline."""
    result = in_time(10, lambda: run_child(python("while True: print('x' * 100000)"), deadline=30))
    assert result.state == "overflow"
    assert len(result.stdout) <= MAX_OUTPUT
    assert "wrote more than" in result.failure


def test_a_full_error_pipe_does_not_block() -> None:
    """Both outputs are read, so a tool that writes a lot of errors still ends."""
    code = "import sys; sys.stderr.write('e' * 1000000); print('done')"
    result = run_child(python(code), deadline=20)
    assert (result.state, result.stdout, len(result.stderr)) == ("ok", "done\n", 1000000)


def test_binary_output_becomes_text() -> None:
    """Bytes that are no UTF-8 are replaced, and control characters stay out of the message."""
    result = run_child(
        python("import sys; sys.stdout.buffer.write(b'\\xff\\x00\\x1b[31mbad\\n'); sys.exit(3)"), deadline=10
    )
    assert result.state == "exit"
    assert result.failure.endswith("[31mbad")
    assert result.failure.isprintable()


def test_a_tool_gets_no_input() -> None:
    """A tool that asks a question finds the end of its input."""
    assert run_child(python("import sys; print(repr(sys.stdin.read()))"), deadline=10).stdout.strip() == "''"


@pytest.mark.parametrize("deadline", [0.0, -1.0])
def test_no_time_left_starts_nothing(deadline: float, tmp_path: Path) -> None:
    """With no time left the tool is not started at all."""
    mark = tmp_path / "mark"
    assert run_child(["/bin/sh", "-c", f"echo > {mark}"], deadline=deadline).state == "timeout"
    assert not mark.exists()
