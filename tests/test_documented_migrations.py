"""The migration family that `docs/writing-migrations.md` builds: installed with pip and used as typed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "writing-migrations.md"
FILES = {
    "pyproject.toml",
    "acme_migrations/__init__.py",
    "acme_migrations/family.py",
    "acme_migrations/scripts.py",
    "acme_migrations/v2.py",
    "acme_migrations/v3.py",
    "tests/test_acme.py",
}

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def _helper() -> ModuleType:
    """The module `plugins/environment.py`, which is no package of the tests."""
    name = "modelplug_tests_environment"
    if name not in sys.modules:
        file = Path(__file__).with_name("plugins") / "environment.py"
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


def blocks(language: str) -> list[tuple[str, str]]:
    """The page's blocks of a language: the name in the first comment, and the text below it."""
    pattern = rf"```{language}\n# (\S+)[^\n]*\n(.*?)```"
    return re.findall(pattern, PAGE.read_text("utf-8"), re.DOTALL)


def yaml_samples() -> tuple[str, str]:
    """The file before and after, comments and all."""
    before, after = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return before, after


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the page, written to the files that its blocks name."""
    root = tmp_path_factory.mktemp("acme")
    written = set()
    for name, code in [*blocks("toml"), *blocks("python")]:
        file = root / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(code, encoding="utf-8")
        written.add(name)
    assert written == FILES
    return root


@pytest.fixture(scope="module")
def environment(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An environment with the core and the package, each installed with pip."""
    root = tmp_path_factory.mktemp("environment")
    return _helper().PluginEnvironment(root, [package], tools=["ruamel.yaml"])


def test_the_documented_family_is_listed_and_explained(environment: Any) -> None:
    """Its steps are explained in the words of their docstrings."""
    families = environment.json("migrate", "status")["families"]
    explained = environment.run("migrate", "explain", "acme-chat", "flat", "3").stdout

    assert [family["name"] for family in families] == ["acme-chat"]
    assert "Acme Chat 2 does not start with flat settings." in explained
    assert "A temperature of 70 is 1.4 now." in explained
    assert "There is no step back" in explained


def test_the_documented_file_becomes_what_the_page_shows(environment: Any, tmp_path: Path) -> None:
    """Byte for byte, there and back, and a second run has nothing to do."""
    before, after = yaml_samples()
    file = tmp_path / "acme.yaml"
    file.write_text(before, encoding="utf-8")
    applied = environment.run("migrate", "apply", file, "--yes")
    assert applied.returncode == 0, applied.stderr
    assert file.read_text("utf-8") == after

    again = environment.json("migrate", "plan", file)
    assert again["counts"] == {"migrate": 0, "current": 1, "unknown": 0, "refused": 0}
    assert environment.run("migrate", "rollback", "--yes").returncode == 0
    assert file.read_text("utf-8") == before


def test_the_documented_downgrade_gives_the_bytes_back(environment: Any, tmp_path: Path) -> None:
    """Version 2 says the same as version 1, and the way back is exact but for the order of moved keys."""
    before, _ = yaml_samples()
    file = tmp_path / "acme.yaml"
    file.write_text(before, encoding="utf-8")
    environment.run("migrate", "apply", file, "--to", "2", "--yes")
    environment.run("migrate", "apply", file, "--to", "flat", "--yes")

    assert sorted(file.read_text("utf-8").splitlines()) == sorted(before.splitlines())


def test_the_documented_refusals(environment: Any, tmp_path: Path) -> None:
    """A later version, and a temperature that is no number: with the line, and nothing written."""
    for text, words in (
        ("acme:\n  version: 9\n", "newer than any this program knows"),
        ("acme_model: a\n# comment\ntemp: warm\n", "line 3: the temperature 'warm' is no number"),
    ):
        file = tmp_path / "acme.yaml"
        file.write_text(text)
        result = environment.run("migrate", "apply", file, "--yes")
        assert result.returncode == 1
        assert words in result.stdout + result.stderr
        assert file.read_text() == text


def test_the_documented_option_decides(environment: Any, tmp_path: Path) -> None:
    """`--option device=cpu` puts no layers on the GPU."""
    file = tmp_path / "acme.yaml"
    file.write_text(yaml_samples()[0], encoding="utf-8")
    plan = environment.json("migrate", "plan", file, "--option", "device=cpu")
    keys = {key["key"]: key for key in plan["files"][0]["account"]["keys"]}

    assert (keys["gpu"]["target"], keys["gpu"]["why"]) == ("acme.layers", "you chose the CPU")


def test_the_documented_check_finds_a_misspelled_setting(environment: Any, tmp_path: Path) -> None:
    """With its line and the name that was meant; settings as they should be have nothing to say."""
    file = tmp_path / "acme.yaml"
    file.write_text("acme:\n  model: a.gguf\n  layer: 3\n  version: 3\n")
    found = environment.run("migrate", "check-config", file)
    assert found.returncode == 1
    assert "acme.layer = 3: there is no such setting" in found.stdout
    assert "layers" in found.stdout
    file.write_text("acme:\n  model: a.gguf\n  layers: 3\n  version: 3\n")

    assert environment.run("migrate", "check-config", file).returncode == 0


def test_the_documented_foreign_file_is_named(environment: Any, tmp_path: Path) -> None:
    """What it is, and that it is nothing to migrate."""
    file = tmp_path / "log.json"
    file.write_text('{"acme_log": []}')
    planned = environment.run("migrate", "plan", file)

    assert "a log of Acme Chat, and no settings of it" in planned.stdout


def test_the_documented_script_changes(environment: Any, tmp_path: Path) -> None:
    """One call changes, the other one is told with its line; a second run has nothing to do."""
    file = tmp_path / "chat.py"
    file.write_bytes(b"import acme\r\nacme.connect()  # here\r\nacme.connect(8080)\r\n")
    applied = environment.run("migrate", "apply", file, "--yes")
    assert applied.returncode == 0, applied.stderr
    assert "line 3: acme.connect() was left as it is" in applied.stdout + applied.stderr
    assert file.read_bytes() == b"import acme\r\nacme.open()  # here\r\nacme.connect(8080)\r\n"


def test_the_documented_test_passes(package: Path, tmp_path: Path) -> None:
    """The page's own test, run as its author would."""
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--basetemp",
            tmp_path / "temporary",
            "tests",
        ],
        cwd=package,
        env={**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
