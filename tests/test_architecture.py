"""The house keeps its plan: imports point one way, the core knows no engine, plugins know no other plugin."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core/src/modelplug"
ENGINES = {"torch", "numpy", "transformers", "ctransformers", "xllamacpp", "llama_cpp", "gguf", "safetensors"}
# A room may import from itself and from the rooms behind it.
ROOMS = {
    "errors": set(),
    "formats": {"errors"},
    "system": {"errors", "paths"},
    "plugins": {"errors", "hookspecs", "paths", "atomic", "system", "backends", "formats"},
    "config": {"errors", "paths", "atomic", "plugins", "logs", "formats", "backends", "jsonspans"},
    "history": {"errors", "paths", "formats", "logs", "system", "runtime"},
    "jsonspans": set(),
    "documents": {"errors", "jsonspans"},
    "migration": {
        "errors", "paths", "atomic", "logs", "documents", "history", "plugins", "config", "formats",
        "backends", "runtime", "system", "_version",
    },
    "backends": {
        "errors", "formats", "system", "plugins", "config", "history", "paths", "atomic", "runtime", "data",
        "hookspecs", "logs", "_version",
    },
    "benchmark": {
        "errors", "atomic", "backends", "data", "formats", "history", "plugins", "runtime", "system",
        "_version",
    },
}  # fmt: skip
# What `config` and `plugins` may know of `backends`: the records of the contract, and nothing that runs.
CONTRACT = {"modelplug.backends.types", "modelplug.backends.model"}


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_the_core_names_no_engine() -> None:
    """No module of the core imports an engine or a numeric library, not even inside a function."""
    offenders = {
        str(path.relative_to(CORE)): sorted(bad)
        for path in CORE.rglob("*.py")
        if (bad := {name.partition(".")[0] for name in imports_of(path)} & ENGINES)
    }

    assert offenders == {}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_imports_point_one_way(room: str) -> None:
    """A room imports from itself and the rooms behind it only."""
    target = CORE / room
    paths = list(target.rglob("*.py")) if target.is_dir() else [target.with_suffix(".py")]
    offenders = set()
    for path in paths:
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] != "modelplug" or len(parts) == 1 or parts[1] == room:
                continue
            only_contract = room in ("config", "plugins") and parts[1] == "backends"
            if parts[1] not in ROOMS[room] or (only_contract and name not in CONTRACT):
                offenders.add(f"{path.relative_to(CORE)} imports {name}")

    assert set() == offenders


@pytest.mark.parametrize("package", sorted(path.name for path in (ROOT / "plugins").glob("*_backend")))
def test_plugins_know_no_other_plugin(package: str) -> None:
    """A backend plugin imports the core and its own modules, and no other plugin's."""
    sources = ROOT / "plugins" / package / "src"
    own = {path.name for path in sources.iterdir()}
    others = {
        name
        for path in sources.rglob("*.py")
        for name in imports_of(path)
        if name.startswith("modelplug_") and name.partition(".")[0] not in own
    }

    assert set() == others


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["backends"], ["plugins", "list"], ["config", "show"]]
)
def test_the_program_starts_without_engines(arguments: list[str]) -> None:
    """Verbs that run no model import neither an engine nor a numeric library, with all plugins installed."""
    script = (
        "import sys, json\n"
        "from modelplug.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(json.loads(result.stderr.strip().splitlines()[-1]))

    assert set() == loaded & ENGINES


def test_importing_modelplug_costs_next_to_nothing() -> None:
    """`import modelplug` imports none of its rooms and no dependency."""
    script = "import sys, modelplug; print(sorted(n for n in sys.modules if n.startswith('modelplug.')))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "['modelplug._version']"
