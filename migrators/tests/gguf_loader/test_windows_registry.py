"""The Windows registry, with recorded answers of `reg`: exported, checked and brought back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from modelplug.errors import MigrationError
from modelplug_migrators.gguf_loader.windows_registry import (
    KEYS,
    Registry,
    RegistryHandler,
    find_registry,
    parse_registration,
    run_reg,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

GGUF_LOADER, TOOLKIT = KEYS

# As `reg export` writes it: UTF-16 with a byte-order mark, Windows line ends, an empty line at the end.
EXPORT = (
    "Windows Registry Editor Version 5.00\r\n"
    "\r\n"
    "[HKEY_CURRENT_USER\\Software\\GGUFLoader]\r\n"
    '@="GGUF Loader"\r\n'
    "\r\n"
    "[HKEY_CURRENT_USER\\Software\\GGUFLoader\\FloatingChat]\r\n"
    '"button_position"="@Point(1200 640)"\r\n'
    '"a \\"quoted\\" name"=dword:00000001\r\n'
    '"blob"=hex:01,00,00,00,\\\r\n'
    "  d0,8c,9d\r\n"
    "\r\n"
).encode("utf-16")
# As a German Windows says it, in the code page of its console.
MISSING = b"FEHLER: Der angegebene Registrierungsschl\x81ssel bzw. Wert wurde nicht gefunden.\r\n"
DENIED = b"ERROR: Access is denied.\r\n"


class RecordedReg:
    """Answers as `reg` does, for the keys it was given; remembers what it was asked."""

    def __init__(self, keys: dict[str, bytes], *, deaf: bool = False) -> None:
        self.keys = dict(keys)
        self.deaf = deaf
        self.asked: list[str] = []

    def __call__(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
        """Run one command."""
        command, *rest = arguments
        self.asked.append(command)
        if self.deaf:
            return self._done(1, DENIED)
        if command == "import":
            data = Path(rest[0]).read_bytes()
            self.keys[GGUF_LOADER] = data
            return self._done(0)
        key = rest[0]
        if command == "query":
            return self._list(key)
        if key not in self.keys:
            return self._done(1, MISSING)
        assert rest[2:] == ["/y"]
        Path(rest[1]).write_bytes(self.keys[key])
        return self._done(0)

    def _list(self, key: str) -> subprocess.CompletedProcess[bytes]:
        """The keys within a key, one a line, as `reg query` prints them."""
        there = ["HKCU\\Software\\Other", *self.keys]
        parts = sorted(
            {entry[len(key) + 1 :].split("\\")[0] for entry in there if entry.startswith(f"{key}\\")}
        )
        if not parts and key not in there:
            return self._done(1, MISSING)
        full = key.replace("HKCU", "HKEY_CURRENT_USER")
        return self._done(0, output="".join(f"{full}\\{part}\r\n" for part in parts).encode())

    def _done(self, code: int, error: bytes = b"", output: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess([], code, output, error)


def test_an_export_is_read_with_all_its_values() -> None:
    """Keys, the default value, quotes in names and values over several lines."""
    assert parse_registration(EXPORT) == {
        "HKEY_CURRENT_USER\\Software\\GGUFLoader": {"": '"GGUF Loader"'},
        "HKEY_CURRENT_USER\\Software\\GGUFLoader\\FloatingChat": {
            "button_position": '"@Point(1200 640)"',
            'a "quoted" name': "dword:00000001",
            "blob": "hex:01,00,00,00,d0,8c,9d",
        },
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"REGEDIT4\r\n",
        "nothing\r\n".encode("utf-16"),
        b"\xff\xfe\x00",
        EXPORT[:-30] + "x y\r\n".encode("utf-16-le"),
    ],
)
def test_what_is_no_export_is_refused(data: bytes) -> None:
    """A file that another program wrote, or that is cut off, is not taken for one."""
    with pytest.raises(MigrationError):
        parse_registration(data)


def test_keys_that_are_there_are_exported() -> None:
    """Each key that exists is exported and checked; one that does not exist is passed over."""
    reg = RecordedReg({GGUF_LOADER: EXPORT})
    (exported,) = Registry(reg).export()
    assert (exported.key, exported.name, exported.data, exported.values) == (
        GGUF_LOADER, "registry.reg", EXPORT, 4,
    )  # fmt: skip
    assert "import" not in reg.asked


def test_both_keys_are_looked_for() -> None:
    """Each has a file of its own in the backup, also where only the one that lies deeper is there."""
    export = EXPORT.decode("utf-16").replace("GGUFLoader", "KiroDeveloper\\LLM Toolkit").encode("utf-16")
    (exported,) = Registry(RecordedReg({TOOLKIT: export})).export()
    assert (exported.key, exported.name) == (TOOLKIT, "registry-llm-toolkit.reg")


def test_no_keys_is_no_fault() -> None:
    """Where the older programs were never used there is nothing to export."""
    assert list(Registry(RecordedReg({})).export()) == []


def test_a_key_that_may_not_be_read_is_told() -> None:
    """A refusal is not taken for absence."""
    with pytest.raises(MigrationError, match="Access is denied"):
        list(Registry(RecordedReg({}, deaf=True)).export())


def test_an_export_of_something_else_is_refused() -> None:
    """The export is read again, and must hold the key that was asked for."""
    other = EXPORT.decode("utf-16").replace("GGUFLoader", "Other").encode("utf-16")
    with pytest.raises(MigrationError, match="does not hold that key"):
        list(Registry(RecordedReg({GGUF_LOADER: other})).export())


def payload(reg: RecordedReg) -> dict[str, Any]:
    """What a plan would hold of the keys there are."""
    return {"keys": [entry.payload() for entry in Registry(reg).export()]}


def test_rolling_back_brings_a_changed_key_back() -> None:
    """Applying does nothing; undoing imports the export, and only where something has changed."""
    reg = RecordedReg({GGUF_LOADER: EXPORT})
    plan = payload(reg)
    handler = RegistryHandler(lambda: Registry(reg))
    reg.asked.clear()
    handler.apply(plan, "t1")
    assert reg.asked == []
    handler.undo(plan, "t1")
    assert reg.asked == ["export"]
    reg.keys[GGUF_LOADER] = EXPORT.decode("utf-16").replace("1200", "5").encode("utf-16")
    handler.undo(plan, "t1")
    assert reg.keys[GGUF_LOADER] == EXPORT
    assert reg.asked[-1] == "import"
    reg.keys.clear()
    handler.undo(plan, "t1")
    assert reg.keys[GGUF_LOADER] == EXPORT


def test_a_damaged_export_is_not_imported() -> None:
    """The content is compared with its SHA-256 before anything is written."""
    reg = RecordedReg({GGUF_LOADER: EXPORT})
    plan = payload(reg)
    plan["keys"][0]["sha256"] = "0" * 64
    with pytest.raises(MigrationError, match="damaged"):
        RegistryHandler(lambda: Registry(reg)).undo(plan, "t1")
    assert "import" not in reg.asked


def test_an_import_that_fails_is_told() -> None:
    """What `reg` said is in the error."""
    reg = RecordedReg({GGUF_LOADER: EXPORT})
    plan = payload(reg)
    reg.deaf = True
    with pytest.raises(MigrationError, match="Access is denied"):
        RegistryHandler(lambda: Registry(reg)).undo(plan, "t1")


@pytest.mark.skipif(sys.platform == "win32", reason="there is such a program on Windows")
def test_a_missing_program_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `reg` can't be run, whoever asked hears that."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MigrationError, match="can't be run"):
        run_reg(["query", GGUF_LOADER])


def test_another_system_has_no_registry() -> None:
    """Elsewhere nothing is exported; a plan from Windows can't be undone there."""
    plan = payload(RecordedReg({GGUF_LOADER: EXPORT}))
    if sys.platform != "win32":
        assert find_registry() is None
    with pytest.raises(MigrationError, match="no registry here"):
        RegistryHandler(lambda: None).undo(plan, "t1")
