"""Noticing that a plugin that worked is gone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from modelplug.plugins.installs import install_command, uninstall_command, upgrade_command


def remove(site: Any, distribution: str) -> None:
    """Uninstall, as an upgrade of a tool does."""
    shutil.rmtree(site.root / f"{distribution}-1.0.dist-info")


def test_a_ready_plugin_that_is_gone_is_missed(site: Any) -> None:
    """It is reported with its version and the command that brings it back, until it is forgotten."""
    site.add("kept")
    site.add("lost", direct_url='{"url": "file:///src/lost", "dir_info": {"editable": true}}')
    site.manager().load_all()
    remove(site, "dist_lost")
    manager = site.manager()
    (missing,) = manager.missing

    assert (missing.name, missing.distribution, missing.version) == ("lost", "dist-lost", "1.0")
    assert missing.install.endswith("-m pip install -e /src/lost")
    assert manager.forget("lost")
    assert not manager.forget("lost")
    assert site.manager().missing == ()


def test_a_plugin_that_never_worked_is_not_missed(site: Any) -> None:
    """Only what was ready once counts."""
    site.add("bad", "raise RuntimeError")
    site.manager().load_all()
    remove(site, "dist_bad")

    assert site.manager().missing == ()


def test_a_renamed_plugin_is_not_missed(site: Any) -> None:
    """As long as the distribution is there, nothing is missing."""
    site.add("before", distribution="steady")
    site.manager().load_all()
    site.add("after", distribution="steady")

    assert site.manager().missing == ()
    site.manager().load_all()
    remove(site, "steady")
    assert [item.name for item in site.manager().missing] == ["after"]


def test_each_environment_misses_its_own(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin of one environment is not missed in another one of the same user."""
    site.add("lost")
    site.manager().load_all()
    remove(site, "dist_lost")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "prefix", "/elsewhere")
        assert site.manager().missing == ()

    assert [item.name for item in site.manager().missing] == ["lost"]


def test_a_worker_does_not_change_what_is_known(site: Any) -> None:
    """A process that loads one plugin only leaves the list alone."""
    site.add("one")
    site.manager(only=["one"]).load_all()

    assert not (site.home / "plugins-seen.json").exists()


def test_a_broken_list_is_made_anew(site: Any) -> None:
    """What is remembered is no treasure: an unreadable list is replaced."""
    site.add("lost")
    site.home.mkdir()
    (site.home / "plugins-seen.json").write_text("{")
    site.manager().load_all()
    remove(site, "dist_lost")

    assert [item.name for item in site.manager().missing] == ["lost"]


@pytest.mark.parametrize(
    ("marker", "source", "install", "upgrade"),
    [
        ("uv-receipt.toml", "", "uv tool install modelplug --with dist", "uv tool upgrade modelplug"),
        (
            "uv-receipt.toml",
            "-e /src",
            "uv tool install modelplug --with-editable /src",
            "uv tool upgrade modelplug",
        ),
        (
            "pipx_metadata.json",
            "",
            "pipx inject modelplug dist",
            "pipx inject --force modelplug dist",
        ),
        (
            "pipx_metadata.json",
            "-e /src",
            "pipx inject modelplug --editable /src",
            "pipx inject --force modelplug --editable /src",
        ),
        ("", "/src", "-m pip install /src", "-m pip install --upgrade /src"),
    ],
)
def test_commands_suit_the_environment(
    marker: str, source: str, install: str, upgrade: str, tmp_path: Path
) -> None:
    """Uv and pipx rebuild their environments, so their own commands are advised there."""
    if marker:
        (tmp_path / marker).write_text("")
    prefix = str(tmp_path)

    assert install_command("dist", source, prefix=prefix).endswith(install)
    assert upgrade_command("dist", source, prefix=prefix).endswith(upgrade)
    assert "dist" in uninstall_command("dist", prefix=prefix)
