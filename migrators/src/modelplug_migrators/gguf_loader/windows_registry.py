"""What the older programs kept in the Windows registry: exported, read again to make sure, and brought back.

On other systems there is no registry, and `find_registry` gives none.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import MigrationError
from modelplug.migration.plan import sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "EFFECT",
    "KEYS",
    "Exported",
    "Registry",
    "RegistryHandler",
    "find_registry",
    "parse_registration",
    "run_reg",
]

EFFECT = "windows-registry"

KEYS = {
    r"HKCU\Software\GGUFLoader": "registry.reg",
    r"HKCU\Software\KiroDeveloper\LLM Toolkit": "registry-llm-toolkit.reg",
}
"""The keys of the older programs, and the names of their exports in the backup."""

_SECONDS = 30
_HEADER = "Windows Registry Editor Version 5.00"
_PARENT_OF_ALL = r"HKCU\Software"
_ROOTS = {"HKCU": "HKEY_CURRENT_USER"}
_SECTION = re.compile(r"\[(-?)(.+)\]")
_ENTRY = re.compile(r'(@|"(?:[^"\\]|\\.)*")\s*=\s*(.*)', re.DOTALL)


@attrs.frozen
class Exported:
    """One key of the registry, exported.

    Attributes:
        key: The key.
        name: What its export is called in the backup.
        data: The content of the `.reg` file.
        values: How many values it holds.
    """

    key: str
    name: str
    data: bytes
    values: int

    def payload(self) -> dict[str, str]:
        """Plain data, from which the key can be brought back."""
        content = base64.b64encode(self.data).decode()
        return {"key": self.key, "name": self.name, "sha256": sha256(self.data), "content": content}


def run_reg(arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    """Run Windows's own program `reg`.

    Raises:
        MigrationError: It can't be run.
    """
    try:
        return subprocess.run(["reg", *arguments], capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise _failed("the program reg can't be run", str(error)) from error


def find_registry() -> Registry | None:
    """The registry of this machine; None where there is none."""
    return Registry(run_reg) if sys.platform == "win32" else None


class Registry:
    """The keys of the older programs.

    Args:
        run: Runs `reg` with some arguments.
    """

    def __init__(self, run: Callable[[Sequence[str]], subprocess.CompletedProcess[bytes]]) -> None:
        self._run = run

    def export(self) -> Iterator[Exported]:
        """Every key there is, exported and read again.

        Raises:
            MigrationError: A key is there and can't be exported.
        """
        for key, name in KEYS.items():
            if not self._has(key):
                continue
            data = self.read(key)
            parsed = parse_registration(data)
            wanted = _full(key).lower()
            if not any(section.lower() == wanted for section in parsed):
                raise _failed(
                    f"the export of the registry key {key} does not hold that key", ", ".join(parsed)
                )
            yield Exported(key=key, name=name, data=data, values=sum(map(len, parsed.values())))

    def _has(self, key: str) -> bool:
        """Whether there is a key, by the list of its parent: messages are in the system's language."""
        parent = key.rpartition("\\")[0]
        listed = self._run(["query", parent])
        if listed.returncode != 0:
            if parent == _PARENT_OF_ALL or self._has(parent):
                raise _failed(f"the registry key {parent} can't be read", _told(listed))
            return False
        return _full(key).lower() in {line.strip().lower() for line in _text_of(listed.stdout).splitlines()}

    def read(self, key: str) -> bytes:
        """The export of one key, as `reg` writes it.

        Raises:
            MigrationError: There is none.
        """
        with tempfile.TemporaryDirectory(prefix="modelplug-") as folder:
            file = Path(folder) / "export.reg"
            done = self._run(["export", key, str(file), "/y"])
            if done.returncode != 0 or not file.is_file():
                raise _failed(f"the registry key {key} can't be exported", _told(done))
            return file.read_bytes()

    def bring_back(self, key: str, data: bytes) -> None:
        """Give a key the values of an export.

        Raises:
            MigrationError: It can't be done.
        """
        with tempfile.TemporaryDirectory(prefix="modelplug-") as folder:
            file = Path(folder) / "import.reg"
            file.write_bytes(data)
            done = self._run(["import", str(file)])
            if done.returncode != 0:
                raise _failed(f"the registry key {key} can't be brought back", _told(done))


class RegistryHandler:
    """Migrating leaves the registry as it is; rolling back brings it to where it was.

    Args:
        find: Gives the registry; None where there is none.
    """

    def __init__(self, find: Callable[[], Registry | None] = find_registry) -> None:
        self._find = find

    def apply(self, payload: Any, transaction_id: str) -> None:
        """Do nothing: the export is in the backup already."""

    def undo(self, payload: Any, transaction_id: str) -> None:  # noqa: ARG002  the handler's contract
        """Bring back every key that has changed since.

        Args:
            payload: What `Exported.payload` gave, in the list `keys`.
            transaction_id: The migration.

        Raises:
            MigrationError: An export is damaged, or can't be brought back.
        """
        registry = self._find()
        for entry in payload["keys"]:
            key, data = entry["key"], base64.b64decode(entry["content"])
            if sha256(data) != entry["sha256"]:
                raise _failed(
                    f"the export of the registry key {key} is damaged", "its SHA-256 is another one"
                )
            if registry is None:
                raise _failed(f"the registry key {key} can't be brought back", "there is no registry here")
            if not self._is_there(registry, key, data):
                registry.bring_back(key, data)

    def _is_there(self, registry: Registry, key: str, data: bytes) -> bool:
        """Whether the key holds what the export holds."""
        try:
            now = registry.read(key)
        except MigrationError:
            return False
        return sha256(now) == sha256(data)


def parse_registration(data: bytes) -> dict[str, dict[str, str]]:
    r"""What a `.reg` file holds: key -> value's name -> its text.

    Args:
        data: The content: UTF-16 with a byte-order mark, as `reg export` writes it, or UTF-8.

    Raises:
        MigrationError: It is no such file.
    """
    text = _decoded(data)
    lines = re.sub(r"\\\r?\n[ \t]*", "", text).splitlines()
    if not lines or lines[0].strip() != _HEADER:
        raise _failed("this is no export of the Windows registry", f"its first line is not {_HEADER!r}")
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] | None = None
    for number, line in enumerate(lines[1:], 2):
        stripped = line.strip()
        section = _SECTION.fullmatch(stripped)
        entry = _ENTRY.fullmatch(stripped)
        if not stripped or stripped.startswith(";"):
            continue
        if section is not None:
            current = found.setdefault(section[2], {})
        elif entry is not None and current is not None:
            current[_unquoted(entry[1])] = entry[2]
        else:
            raise _failed(
                "an export of the Windows registry is damaged", f"line {number} is neither key nor value"
            )
    return found


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise _failed("this is no export of the Windows registry", str(error)) from error


def _unquoted(name: str) -> str:
    return "" if name == "@" else re.sub(r"\\(.)", r"\1", name[1:-1])


def _full(key: str) -> str:
    root, _, rest = key.partition("\\")
    return f"{_ROOTS.get(root, root)}\\{rest}"


def _told(done: subprocess.CompletedProcess[bytes]) -> str:
    return _text_of(done.stderr or done.stdout)


def _text_of(output: bytes) -> str:
    """What `reg` said; it writes in the code page of the console, of which only ASCII is sure."""
    return output.decode("ascii", "replace").strip()


def _failed(what: str, why: str) -> MigrationError:
    return MigrationError(what, why=why, advice="Look at the key with `reg query`, then try again.")
