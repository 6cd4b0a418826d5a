"""Starts the server, finds out where it listens and what it speaks, and waits until it can generate."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.exits import explain_exit
from modelplug.backends.supervise import CommandStartError, Supervised
from modelplug.errors import BackendError, WorkerCrashedError, WorkerTimeoutError
from modelplug_llamafile.dialects import Dialect, ModernDialect, V1Dialect, V2Dialect
from modelplug_llamafile.http import Client, HttpStatusError, StreamBrokenError
from modelplug_llamafile.log_facts import failure_in, port_trouble
from modelplug_llamafile.ports import free_port, listening_ports, ports_in_log

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

    from modelplug_llamafile.command import Launch

__all__ = ["RunningServer", "crashed", "has_ended", "start_server"]

NAME = "llamafile"
ATTEMPTS = 4
ASK_SECONDS = 10.0
REPORT_SECONDS = 10.0


@attrs.define(kw_only=True)
class RunningServer:
    """A server that is ready.

    Attributes:
        process: The supervised program.
        client: Speaks with it.
        dialect: How.
        properties: What `/props` says; empty if there is no such endpoint.
    """

    process: Supervised
    client: Client
    dialect: Dialect
    properties: dict[str, Any]


@attrs.define
class _Deadline:
    seconds: float | None
    _end: float | None = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._end = None if self.seconds is None else time.monotonic() + self.seconds

    @property
    def left(self) -> float | None:
        """Seconds that are left; None if there is no limit."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.left == 0.0

    def limit(self, seconds: float) -> float:
        """So many seconds, or what is left if that is less; never quite zero."""
        return max(0.05, min(seconds, seconds if self.left is None else self.left))


def start_server(
    program: list[str],
    launch: Launch,
    *,
    scratch: Path,
    environment: Mapping[str, str] | os._Environ[str],
    load_seconds: float | None,
) -> RunningServer:
    """Start the program and wait until it can generate.

    Args:
        program: The program, as it is started.
        launch: Its arguments and environment.
        scratch: A directory of its own for it, removed when it has been stopped.
        environment: The environment to add to.
        load_seconds: How long loading may take; None for no limit.

    Raises:
        BackendError: It can't be started, ends, is not ready in time, or answers in no known way; carries
            the end of its log.
    """
    deadline = _Deadline(load_seconds)
    log = scratch / "llamafile.log"
    for attempt in range(ATTEMPTS):
        # Port 0 first: see `ports`. A number of our own only for a program that does not take that.
        port = 0 if attempt == 0 else free_port()
        process = _start(program, launch, port, log, scratch, environment)
        try:
            server = _await(process, launch, port, deadline)
        except _PortTrouble:
            # The scratch directory goes with the process, so it is stopped only after its log was read.
            last = process.tail(20)
            process.stop()
            if attempt == ATTEMPTS - 1:
                raise _no_port(last) from None
            scratch.mkdir(parents=True, exist_ok=True)
        except BaseException:
            process.stop()
            raise
        else:
            return server
    raise AssertionError  # the last attempt returned or raised


class _PortTrouble(Exception):  # noqa: N818  it never leaves this module
    """The server could not have the port it was told to use."""


def _start(
    program: list[str],
    launch: Launch,
    port: int,
    log: Path,
    scratch: Path,
    environment: Mapping[str, str],
) -> Supervised:
    try:
        return Supervised.start(
            [*program, *launch.with_port(port)],
            log=log,
            # Some versions write a log of their own into the current directory.
            cwd=scratch,
            env={**environment, **launch.environment},
            scratch=scratch,
            shell_retry=True,
        )
    except CommandStartError as error:
        failure = failure_in(error.why)
        raise BackendError(
            f"the llamafile program {program[-1]} can't be started",
            backend=NAME,
            phase="start",
            cause="start-failed",
            why=failure.why if failure else error.why,
            advice=failure.advice if failure else f"Try `{program[-1]} --version` yourself.",
        ) from error


def _await(process: Supervised, launch: Launch, port: int, deadline: _Deadline) -> RunningServer:
    """Wait for the server to listen, to be ready, and to have generated a first token."""
    pause = 0.01
    while True:
        if process.poll() is not None:
            if port_trouble(process.tail(20)):
                raise _PortTrouble
            raise crashed(process, "load")
        for found in _own_ports(process, port):
            client = Client(found, launch.key)
            if _ready(client, launch, deadline):
                return _introduce(process, client, deadline)
        if deadline.passed:
            raise WorkerTimeoutError(
                "llamafile was not ready in time",
                seconds=deadline.seconds or 0.0,
                backend=NAME,
                phase="load",
                stderr_tail=process.tail(20),
                why=f"it had {deadline.seconds:g} s to load the model and was stopped",
                advice="Allow more with --timeout, or use a smaller model.",
            )
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)


def _own_ports(process: Supervised, port: int) -> list[int]:
    """The ports where our own server listens: nothing else is ever asked."""
    ports = listening_ports(process.pid)
    if ports is not None:
        return ports
    # The system does not tell; then the log of a process that is alive must do.
    logged = ports_in_log(process.tail(200))
    return [found for found in logged if port in (0, found)][:1]


def _ready(client: Client, launch: Launch, deadline: _Deadline) -> bool:
    try:
        if launch.second_server:
            # It has no /health, and listens only once the model is loaded.
            return client.raw("GET", "/v1/models", timeout=deadline.limit(ASK_SECONDS))[0] == 200
        status, _ = client.raw("GET", "/health", timeout=deadline.limit(ASK_SECONDS))
        if status == 404:
            status, _ = client.raw("GET", "/v1/models", timeout=deadline.limit(ASK_SECONDS))
    except OSError:
        return False
    return status == 200


def _introduce(process: Supervised, client: Client, deadline: _Deadline) -> RunningServer:
    """Find out by asking which server this is."""
    try:
        dialect = _dialect(client, deadline)
        if not client.has(dialect.completion, timeout=deadline.limit(ASK_SECONDS)):
            raise HttpStatusError(404, dialect.completion, f"there is no {dialect.completion}".encode())
        properties = _properties(client, deadline)
    except (OSError, HttpStatusError, StreamBrokenError) as error:
        if has_ended(process, 0.5):
            raise crashed(process, "load") from error
        raise BackendError(
            "the llamafile server answers in no way that is known",
            backend=NAME,
            phase="load",
            cause="unsupported",
            stderr_tail=process.tail(20),
            why=str(error),
            advice="Use another version of llamafile, or another backend with --backend llamacpp.",
        ) from error
    return RunningServer(process=process, client=client, dialect=dialect, properties=properties)


def _dialect(client: Client, deadline: _Deadline) -> Dialect:
    seconds = deadline.limit(ASK_SECONDS)
    body = {"content": "a", "prompt": "a", "add_special": False}
    pieces = client.ask("POST", "/tokenize", body, timeout=seconds)["tokens"]
    if pieces and isinstance(pieces[0], str):
        return V2Dialect()
    # Only today's server formats a conversation without answering it.
    message = {"messages": [{"role": "user", "content": "a"}]}
    status, _ = client.raw("POST", "/apply-template", message, timeout=seconds)
    return V1Dialect() if status == 404 else ModernDialect()


def _properties(client: Client, deadline: _Deadline) -> dict[str, Any]:
    status, _ = client.raw("GET", "/props", timeout=deadline.limit(ASK_SECONDS))
    if status != 200:
        return {}
    found = client.ask("GET", "/props", timeout=deadline.limit(ASK_SECONDS))
    return found if isinstance(found, dict) else {}


def has_ended(process: Supervised, seconds: float) -> bool:
    """Whether a program that has broken off a connection has ended, or does so within some seconds."""
    import psutil

    if process.wait(seconds) is not None:
        return True
    with contextlib.suppress(psutil.NoSuchProcess):
        if psutil.Process(process.pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return False
    # It has; the process that supervises it has just not had its turn yet to say how.
    return process.wait(REPORT_SECONDS) is not None


def crashed(process: Supervised, phase: str) -> WorkerCrashedError:
    """The error for a program that has ended, with its last words."""
    status = process.poll()
    tail = process.tail(20)
    meaning = explain_exit(status)
    failure = failure_in(tail)
    return WorkerCrashedError(
        f"llamafile {meaning.what}" + (" while loading the model" if phase == "load" else ""),
        exit_status=status,
        signal_name=meaning.signal_name,
        backend=NAME,
        phase=phase,
        cause=failure.cause if failure else meaning.cause,
        stderr_tail=tail,
        why=failure.why if failure else (tail.strip().splitlines() or [""])[-1],
        advice=failure.advice if failure else meaning.advice,
    )


def _no_port(tail: str) -> BackendError:
    return BackendError(
        "the llamafile server found no port to listen on",
        backend=NAME,
        phase="load",
        cause="port-taken",
        stderr_tail=tail,
        why=f"it failed {ATTEMPTS} times, with a port of the system's choice and with others",
        advice="Check whether a firewall or sandbox forbids programs to listen on 127.0.0.1.",
    )
