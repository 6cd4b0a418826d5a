"""The end of what a worker wrote to standard error, kept whole and in time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pytest

from modelplug.backends.last_words import LINE_LENGTH, LINES, LastWords


@contextmanager
def drained() -> Iterator[tuple[BinaryIO, LastWords, threading.Thread]]:
    """Something to write to, and what is kept of it, read by a thread that has not begun."""
    reading, writing = os.pipe()
    words = LastWords(os.fdopen(reading, "rb"))
    thread = threading.Thread(target=words.drain)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        yield stream, words, thread
    if not thread.ident:
        thread.start()
    thread.join()


@pytest.mark.skipif(os.name == "nt", reason="pipes can't be asked there whether they hold something")
def test_what_was_written_is_there_once_settled() -> None:
    """After `settle` everything written before is kept, even if the thread that reads never had a turn."""
    with drained() as (stream, words, _):
        stream.write(b"one\ntwo\n")
        words.settle()
        assert words.tail() == "one\ntwo"
        words.settle()
        assert words.tail() == "one\ntwo"


@pytest.mark.skipif(os.name == "nt", reason="pipes can't be asked there whether they hold something")
def test_two_readers_take_nothing_twice() -> None:
    """The thread that reads and one that settles share the lines: each is kept once, in order."""
    with drained() as (stream, words, thread):
        thread.start()
        for number in range(150):
            stream.write(b"%d\n" % number)
            words.settle()
            assert words.tail(1) == str(number)
        assert words.tail(LINES) == "\n".join(map(str, range(150)))


def test_the_end_is_kept_in_bounded_memory() -> None:
    """Of many lines the last are kept; a line without end is cut; the last need not end."""
    with drained() as (stream, words, thread):
        thread.start()
        for number in range(1000):
            stream.write(b"%d\n" % number)
        stream.write(b"x" * (3 * LINE_LENGTH) + b"y")
    tail = words.tail(10_000).splitlines()
    assert len(tail) == LINES
    assert tail[-4:] == [*(["x" * LINE_LENGTH] * 3), "y"]
    assert tail[-5] == "999"


def test_what_is_shown_is_what_a_terminal_would_show() -> None:
    """Of a line that was written over only the last state is shown, and no control characters."""
    with drained() as (stream, words, thread):
        thread.start()
        stream.write(b"10%\r50%\r100%\r\n\x1b[31mred\xff\n")
    assert words.tail() == "100%\n\ufffd[31mred\ufffd"
