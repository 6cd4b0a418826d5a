"""The journal: only its last line can be torn, and anything else that is wrong with it is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from core.tests.migration.transactions import tripwire
from hypothesis import given
from hypothesis import strategies as st

from modelplug.migration.transactions.files import Files
from modelplug.migration.transactions.filesystem import FileSystem
from modelplug.migration.transactions.journal import Journal, final_event, read_journal

FILES = Files(FileSystem())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal of four records."""
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal.create(FILES, path)
    journal.write("begin", format=1, meta={"title": "línea\n\u2028 \udcff"})
    journal.write("intend", files=["a" * 100])
    journal.write("effect", number=0)
    journal.write("committed")
    journal.close()
    return path.read_bytes()


def test_records_come_back_in_order(tmp_path: Path, written: bytes) -> None:
    """Numbered, one JSON object a line, with a checksum, in plain ASCII whatever they say."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(written)
    reading = read_journal(FILES, path)

    assert [record["n"] for record in reading.records] == [0, 1, 2, 3]
    assert reading.records[0]["meta"] == {"title": "línea\n\u2028 \udcff"}
    assert (reading.size, reading.problem, reading.state) == (len(written), "", "committed")
    assert reading.numbers("effect") == {0}
    assert reading.last("intend") == reading.records[1]
    assert all("sum" in json.loads(line) for line in written.decode("ascii").splitlines())
    assert final_event(FILES, path) == "committed"


def test_torn_anywhere_it_holds_the_whole_lines_before(tmp_path: Path, written: bytes) -> None:
    """Cut off after any byte, it is a shorter journal that can be trusted and goes on."""
    path = tmp_path / "journal.jsonl"
    for size in range(len(written)):
        path.write_bytes(written[:size])
        reading = read_journal(FILES, path)
        assert reading.problem == ""
        assert len(reading.records) == written[:size].count(b"\n")
        assert final_event(FILES, path) is None
    journal = Journal.resume(FILES, path, reading)
    journal.write("aborted")
    journal.close()
    assert [record["event"] for record in read_journal(FILES, path).records][-2:] == ["effect", "aborted"]
    assert final_event(FILES, path) == "aborted"


@given(tail=st.binary(min_size=1, max_size=300))
def test_whatever_a_power_cut_leaves_at_the_end_is_no_record(
    tmp_path_factory: pytest.TempPathFactory, written: bytes, tail: bytes
) -> None:
    """Zeros or old blocks behind the last whole line are ignored, if they are one torn line."""
    path = tmp_path_factory.getbasetemp() / "tail.jsonl"
    path.write_bytes(written + tail.replace(b"\n", b"\0"))
    reading = read_journal(FILES, path)
    assert (len(reading.records), reading.problem) == (4, "")


@given(data=st.data())
def test_one_changed_byte_never_passes_for_the_truth(
    tmp_path_factory: pytest.TempPathFactory, written: bytes, data: st.DataObject
) -> None:
    """In the last line it looks torn; before that it is damage."""
    position = data.draw(st.integers(0, len(written) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != written[position]))
    changed = written[:position] + bytes([byte]) + written[position + 1 :]
    path = tmp_path_factory.getbasetemp() / "changed.jsonl"
    path.write_bytes(changed)
    reading = read_journal(FILES, path)

    last = written.rindex(b"\n", 0, -1) + 1
    line = written[:position].count(b"\n")
    assert len(reading.records) <= line or position == len(written) - 1
    if position < last - 1:
        assert reading.problem
    assert final_event(FILES, path) in (None, "committed")


def test_a_line_that_is_gone_is_missed(tmp_path: Path, written: bytes) -> None:
    """The numbers say so, even if what is left is whole and the last line says that all is well."""
    lines = written.splitlines(keepends=True)
    path = tmp_path / "journal.jsonl"
    for number in range(3):
        path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
        assert read_journal(FILES, path).problem == f"line {number + 1} of journal.jsonl is missing"


def test_a_record_that_could_not_be_written_is_not_there(tmp_path: Path) -> None:
    """Half a line, or a whole one that did not reach the disk, is cut off before the next one is written."""
    for name, trip in (("write", tripwire.failing_late(28)), ("fsync", tripwire.failing(5))):
        path = tmp_path / f"{name}.jsonl"
        seen: list[str] = []

        def chosen(number: int, called: str, name: str = name, seen: list[str] = seen) -> bool:
            seen.append(called)
            return called == name and seen.count(name) == 2

        journal = Journal.create(Files(tripwire.Tripwire(chosen, trip)), path)
        journal.write("begin", format=1)
        with pytest.raises(OSError, match=r"No space|Input/output"):
            journal.write("committed")
        assert journal.reading.state == "begin"
        journal.write("undoing")
        journal.close()
        reading = read_journal(FILES, path)
        assert [record["event"] for record in reading.records] == ["begin", "undoing"]
        assert (reading.size, reading.problem) == (path.stat().st_size, "")
