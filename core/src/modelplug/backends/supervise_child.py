"""The small process that stands between an owner and a command, and ends the command when the owner goes.

Run as a script by `modelplug.backends.supervise`, never imported by it: importing nothing but what the
interpreter has loaded anyway keeps its start to a few milliseconds. Its standard input is the lifeline, whose
other end only the owner holds; its standard output carries reports to the owner, one per line:

    pid 4711            the command was started
    error 8 PATH        the command could not be executed; 8 is the errno
    exit -11            the command ended, with its exit code or minus the signal number

Its standard error is the log file, which the command gets as both its standard output and standard error.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import time

MARKER = "MODELPLUG_SUPERVISED"
LOG_CHECK_SECONDS = 5.0


def report(line: str) -> None:
    """Tell the owner, if there still is one."""
    try:
        os.write(1, (line + "\n").encode("utf-8", "surrogateescape"))
    except OSError:
        # Nobody is listening any more; the lifeline says so too, and is what ends this process.
        return


def start(command: list[str], cwd: str, shell_retry: bool) -> int:
    """Start the command in its own session and report its pid, or 0 after reporting why it can't be."""
    failed_read, failed_write = os.pipe()  # close-on-exec: reads as empty once the command runs
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.dup2(2, 1)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            if cwd:
                os.chdir(cwd)
            execute(command, shell_retry)
        except OSError as error:
            os.write(failed_write, f"{error.errno or 0} {error.filename or command[0]}".encode())
        finally:
            os._exit(127)
    os.close(failed_write)
    reason = b""
    while part := os.read(failed_read, 4096):
        reason += part
    os.close(failed_read)
    if reason:
        os.waitpid(pid, 0)
        report("error " + reason.decode("utf-8", "surrogateescape").replace("\n", " "))
        return 0
    report(f"pid {pid}")
    return pid


def execute(command: list[str], shell_retry: bool) -> None:
    """Become the command; a file the kernel does not know as a program goes to the shell if that is asked."""
    try:
        os.execvp(command[0], command)  # noqa: S606  a shell would change the meaning of the arguments
    except OSError as error:
        # An "actually portable executable" is a shell script to a kernel that does not know its format.
        if error.errno != errno.ENOEXEC or not shell_retry:
            raise
        os.execv("/bin/sh", ["/bin/sh", *command])  # noqa: S606  our own child, started to become this program


def descendants(marker: str) -> list[int]:
    """Processes that inherited the marker in their environment, wherever they moved to; Linux only."""
    wanted = f"{MARKER}={marker}".encode()
    found = []
    try:
        names = os.listdir("/proc")  # noqa: PTH208  pathlib is too slow to import
    except OSError:
        return []
    for name in names:
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123  pathlib is too slow to import
                if wanted in file.read().split(b"\0"):
                    found.append(int(name))
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    return found


def group_alive(pid: int) -> bool:
    """Whether any process is left in the command's group."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def signal_group(pid: int, number: int) -> None:
    """Send a signal to every process of the group that may be signalled."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def signal_one(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there and may be signalled."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def reap(pid: int) -> int | None:
    """The command's exit status if it has ended just now, and None otherwise."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if done == pid else None


def end_tree(pid: int, grace: float, marker: str) -> int | None:
    """End the command and everything it started; its exit status if it was still running."""
    status = reap(pid)
    signal_group(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while group_alive(pid) and time.monotonic() < deadline:
        status = reap(pid) if status is None else status
        time.sleep(0.005)
    signal_group(pid, signal.SIGKILL)
    # A process may start another one while we look, so look until nothing is found.
    for _ in range(50):
        leftovers = descendants(marker)
        for leftover in leftovers:
            signal_one(leftover, signal.SIGKILL)
        status = reap(pid) if status is None else status
        if not group_alive(pid) and not leftovers:
            break
        time.sleep(0.01)
    return status


def remove(path: str) -> None:
    """Remove a directory and what is in it, as far as that is allowed; links are removed, not followed."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    remove(entry.path)
                else:
                    os.unlink(entry.path)  # noqa: PTH108  pathlib is too slow to import
        os.rmdir(path)  # noqa: PTH106  pathlib is too slow to import
    except OSError as error:
        print(f"modelplug: could not remove {path}: {error}", file=sys.stderr)


def watch(pid: int, grace: float, marker: str, log_limit: int, wakeup: int) -> None:
    """Wait until the lifeline closes, reporting the command's end if that comes first."""
    running = True
    while True:
        ready, _, _ = select.select([0, wakeup], [], [], LOG_CHECK_SECONDS)
        if wakeup in ready:
            woken_by = os.read(wakeup, 4096)
            if running and (status := reap(pid)) is not None:
                running = False
                # What the command leaves behind must not outlive it: it holds its ports and its memory.
                end_tree(pid, 0.0, marker)
                report(f"exit {status}")
            if bytes([signal.SIGTERM]) in woken_by:
                break
        if 0 in ready and not os.read(0, 4096):
            break
        if log_limit and os.fstat(2).st_size > log_limit:
            # The log is open for appending, so the command goes on writing at the new end.
            os.ftruncate(2, 0)
    if running:
        status = end_tree(pid, grace, marker)
        report(f"exit {-signal.SIGKILL if status is None else status}")


def main(arguments: list[str]) -> None:
    """Start the command given on the command line and stay until both it and the owner are gone."""
    grace, log_limit, shell_retry, marker, cwd, scratch, passed, *command = arguments
    wakeup_read, wakeup_write = os.pipe()
    os.set_blocking(wakeup_write, False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    pid = start(command, cwd, shell_retry == "1")
    for descriptor in passed.split(","):
        if descriptor:
            os.close(int(descriptor))  # the command's now
    if pid:
        watch(pid, float(grace), marker, int(log_limit), wakeup_read)
    if scratch:
        remove(scratch)


if __name__ == "__main__":
    main(sys.argv[1:])
