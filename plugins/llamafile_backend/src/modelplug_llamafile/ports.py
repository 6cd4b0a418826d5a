"""On which port the server really listens: asked of the kernel, so that no other program can be mistaken.

How a port is had without a race. Choosing a free port first and passing it on leaves a moment in which any
other program may take it; worse, the old server sets SO_REUSEPORT, so that two of them share one port without
an error and each gets half of the requests. Holding the port meanwhile with a bound socket of our own depends
on the server: on Linux its bind succeeds only if it sets the same option as we do (SO_REUSEADDR or
SO_REUSEPORT), and then so does that of every other program that sets it.

So the server is told to take port 0: the kernel gives it a port that nobody has, and keeps it for it. Which
one that was is read from the kernel's table of sockets, looking only at sockets that belong to processes of
the tree we started. What answers there is ours by construction. Only a program that refuses port 0 is given
a number chosen beforehand; the same table then proves that it is the one who got it.
"""

from __future__ import annotations

import re
import socket

__all__ = ["free_port", "listening_ports", "ports_in_log"]

LOOPBACK = "127.0.0.1"
_LISTENING = re.compile(r"listen\w*(?:\s+(?:at|on))?:?\s+(?:http://)?(?:127\.0\.0\.1|localhost):(\d+)")


def listening_ports(root: int) -> list[int] | None:
    """The loopback ports that a process or its descendants listen on, or None if the system won't tell.

    Args:
        root: The process id of the tree's first process.
    """
    import psutil

    try:
        parent = psutil.Process(root)
        tree = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
    found: dict[int, None] = {}
    refused = False
    for process in tree:
        try:
            connections = process.net_connections(kind="tcp")
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        except psutil.AccessDenied:
            refused = True
            continue
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN and connection.laddr:
                found[connection.laddr.port] = None
    return None if refused and not found else list(found)


def ports_in_log(text: str) -> list[int]:
    """The ports that the server's log says it listens on, latest first."""
    return [int(port) for port in reversed(_LISTENING.findall(text)) if int(port)]


def free_port() -> int:
    """A port that was free a moment ago; only for a server that can't take port 0."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
