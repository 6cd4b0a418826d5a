"""Whatever files are called and hold: applied and rolled back, the tree is the same, and forward again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import hypothesis
import pytest
from core.tests.migration.transactions.scene import Snapshot, Unsynced, sha256, snapshot
from hypothesis import strategies as st

from modelplug.migration.transactions import FileChange, TransactionStore

posix = pytest.mark.skipif(os.name == "nt", reason="file names of POSIX")

NAMES = st.one_of(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.binary(min_size=1, max_size=40).map(
        lambda raw: os.fsdecode(raw.replace(b"/", b"\n").replace(b"\0", b" "))
    ),
    st.sampled_from(
        ["new\nline", "tab\t", " ", "ünï", "\u202e", "-rf", "%s", "\\", "C:", "n" * 255, "files"]
    ),
).filter(lambda name: name not in (".", "..") and len(os.fsencode(name)) <= 255)
CONTENTS = st.one_of(st.none(), st.just(b""), st.binary(max_size=200))
MODES = st.sampled_from([0o600, 0o644, 0o755, 0o400, 0o4711])


@posix
@hypothesis.given(
    files=st.dictionaries(
        NAMES, st.tuples(CONTENTS, MODES, CONTENTS, st.none() | MODES, st.booleans()), max_size=6
    )
)
@hypothesis.settings(max_examples=60)
def test_there_and_back_and_there_again(
    files: dict[str, tuple[bytes | None, int, bytes | None, int | None, bool]],
) -> None:
    """Content, permissions and times come back, and nothing that was not asked for changes."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        changes = []
        expected: Snapshot = {}
        for number, (name, (before, mode, after, new_mode, deep)) in enumerate(files.items()):
            # One that is made may lie in a folder that has to be made for it.
            path = tree / f"folder{number}" / name if deep and before is None else tree / name
            if before is not None:
                path.write_bytes(before)
                path.chmod(mode)
                os.utime(path, ns=(10**18 + number, 10**18 + number))
            changes.append(FileChange(path, None if before is None else sha256(before), after, new_mode))
            if after is not None:
                wanted = new_mode if new_mode is not None else mode if before is not None else 0o644
                expected[str(path.relative_to(tree))] = ("file", wanted, sha256(after))
        before_all, times_before = snapshot(tree), times(tree)
        store = TransactionStore(Path(folder) / "migrations", filesystem=Unsynced())
        umask = os.umask(0o022)
        try:
            record = store.apply(changes)
        finally:
            os.umask(umask)
        after_all = snapshot(tree)
        assert {name: entry for name, entry in after_all.items() if entry[0] == "file"} == expected
        if record is None:
            assert after_all == before_all
            assert not store.root.exists()
            return
        assert store.verify(record.id).intact
        assert [str(path) for path in record.files] == [
            str(each.path) for each in changes if changed(each, files)
        ]
        rollback = store.rollback(record.id)
        assert snapshot(tree) == before_all
        assert times(tree) == times_before
        store.rollback(rollback.transaction_id)
        assert snapshot(tree) == after_all


def times(tree: Path) -> dict[str, int]:
    """When each file was changed last."""
    return {str(path): path.stat().st_mtime_ns for path in tree.rglob("*") if path.is_file()}


def changed(
    change: FileChange, files: dict[str, tuple[bytes | None, int, bytes | None, int | None, bool]]
) -> bool:
    """Whether a change changes anything."""
    before, mode, after, new_mode, _ = files[change.path.name]
    if before is None or after is None:
        return before is not after
    return before != after or new_mode not in (None, mode)
