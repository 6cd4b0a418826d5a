"""`modelplug doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelplug.errors import UsageError
from modelplug.system.info import ProbeOutcome


def examined(bench: Any, *, exit_code: int = 0) -> dict[str, Any]:
    """The report as JSON."""
    report: dict[str, Any] = json.loads(bench.run("doctor", "--json", exit_code=exit_code).stdout)
    return report


def findings(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Severity and advice by what a finding is about."""
    return {item["about"]: (item["severity"], item["advice"]) for item in report["findings"]}


def test_a_healthy_machine_gets_a_report_with_every_section(kit: Any) -> None:
    """One report has everything that a bug needs, and ends with the findings."""
    text = kit.bench(kit.report("mine")).run("doctor").stdout

    titles = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert titles[0].startswith("modelplug ")
    assert titles[1:] == [
        "Program",
        "System",
        "Plugins",
        "Backends",
        "Settings",
        "Directories",
        "Findings",
    ]
    assert "works on CPU only: mine engine 1.0" in text
    assert "modelplug.log" in text


def test_no_usable_engine_is_a_problem_with_status_1(kit: Any) -> None:
    """It is the first finding, and says what to type."""
    bench = kit.bench(kit.report("torn", "broken", cause="no library", install="pip install torn"))

    report = examined(bench, exit_code=1)

    assert report["healthy"] is False
    assert report["findings"][0]["severity"] == "problem"
    assert findings(report)["backends"] == ("problem", "pip install torn")
    assert findings(report)["backend torn"] == ("warning", "pip install torn")


def test_faults_are_found_each_with_what_to_do(kit: Any) -> None:
    """A failing probe, a silent driver, little memory, a failing plugin and an absent engine."""
    system = kit.system(
        kit.device(memory_free=None),
        available=1 << 20,
        probes=(ProbeOutcome(name="nvidia", state="failed", detail="NVML: no permission"),),
    )
    bench = kit.bench(
        kit.report("mine", cause="built without CUDA"), system=system, bad=RuntimeError("torn apart")
    )

    found = findings(examined(bench))

    assert found["probe nvidia"][0] == "warning"
    assert found["GPU cuda:0"][0] == "note"
    assert found["memory"][0] == "warning"
    assert found["plugins"][0] == "warning"
    assert found["backend mine"] == ("note", "pip install mine")
    assert found["backend llamafile"][0] == "note"
    assert all(advice for _, advice in found.values())


def test_findings_come_worst_first(kit: Any) -> None:
    """Problems before warnings before notes."""
    report = examined(kit.bench(bad=RuntimeError("torn apart")), exit_code=1)

    order = [item["severity"] for item in report["findings"]]
    assert order == sorted(order, key=["problem", "warning", "note"].index)
    assert set(order) >= {"problem", "warning"}


def test_faulty_settings_are_a_problem_and_unknown_names_a_warning(kit: Any) -> None:
    """A wrong value stops every command; an unknown name or a broken file stops none."""
    bench = kit.bench(kit.report("mine"))
    bench.home.mkdir()
    file = bench.home / "config.json"

    file.write_text('{"version": 1, "isolation": "none"}')
    report = examined(bench, exit_code=1)
    assert report["findings"][0]["severity"] == "problem"
    assert "isolation" in report["findings"][0]["what"]

    file.write_text('{"version": 1, "isolatoin": "process"}')
    bench = kit.bench(kit.report("mine"))
    assert findings(examined(bench))["settings"][0] == "warning"

    file.write_text("{ not json")
    bench = kit.bench(kit.report("mine"))
    report = examined(bench)
    assert report["settings"]["valid"] is False
    assert findings(report)["settings"][0] == "warning"


def test_a_preferred_backend_that_can_not_be_used_is_found(kit: Any) -> None:
    """It is silently passed over otherwise."""
    bench = kit.bench(kit.report("mine"))
    bench.home.mkdir()
    (bench.home / "config.json").write_text('{"version": 1, "preferred_backend": "llamafile"}')

    report = examined(bench)

    assert any("preferred backend llamafile can't be used" in item["what"] for item in report["findings"])


def test_a_directory_that_can_not_be_written_is_found(kit: Any) -> None:
    """Also where it does not exist and can't be made."""
    bench = kit.bench(kit.report("mine"))
    bench.home.mkdir()
    (bench.home / "logs").write_text("a file in its place")

    report = examined(bench)

    assert report["directories"]["data"]["writable"] is True
    assert report["directories"]["logs"]["writable"] is False
    assert findings(report)["directories"][0] == "warning"
    (what,) = [item["what"] for item in report["findings"] if item["about"] == "directories"]
    assert f"nothing can be written to {bench.home / 'logs'}," in what
    assert sorted(path.name for path in bench.home.iterdir() if path.name.startswith(".modelplug")) == []


def test_a_full_disk_is_found(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One finding for all directories on it."""
    import shutil

    usage = shutil.disk_usage(Path.home())._replace(free=5 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    report = examined(kit.bench(kit.report("mine")))

    (what,) = [item["what"] for item in report["findings"] if item["about"] == "disk"]
    assert what.startswith("only 5.0 MiB are free on the disk of ")


def test_secrets_and_home_directories_are_taken_out(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report can be shown to strangers."""
    secret = "hf_" + "a1B2c3D4" * 4
    monkeypatch.setenv("MODELPLUG_TOKEN", secret)
    report = kit.report("mine", cause=f"can't read {Path.home()}/models with token={secret}")
    bench = kit.bench(report)

    for arguments in ((), ("--json",)):
        text = bench.run("doctor", *arguments).stdout
        assert secret not in text
        assert f"{Path.home()}/models" not in text
        assert "~/models" in text


def test_the_report_can_be_written_to_a_file(kit: Any, tmp_path: Path) -> None:
    """Text or JSON; a file that can't be written is bad usage."""
    bench = kit.bench(kit.report("mine"))
    target = tmp_path / "report.json"

    result = bench.run("doctor", "--json", "--output", str(target))

    assert result.stdout == f"the report is in {target}\n"
    assert json.loads(target.read_text())["healthy"] is True
    with pytest.raises(UsageError):
        bench.run("doctor", "--output", str(tmp_path / "no" / "such" / "folder.txt"))


def test_a_missing_plugin_is_found_with_how_to_get_it_back(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that was here before and is gone, as after the upgrade of a tool, is named."""
    from modelplug.plugins import PluginManager
    from modelplug.plugins.records import MissingPlugin

    gone = MissingPlugin(
        name="gone", distribution="gone-dist", version="2.0", install="pip install gone-dist"
    )
    monkeypatch.setattr(PluginManager, "missing", property(lambda _: (gone,)))

    found = findings(examined(kit.bench(kit.report("mine"))))

    assert found["plugin gone"] == ("warning", "pip install gone-dist, or `modelplug plugins forget gone`")
