"""Goes through what should be true after a migration, item by item, each with its evidence."""

from __future__ import annotations

import enum
import statistics
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug._version import __version__
from modelplug.errors import ModelplugError
from modelplug.migration.account import counted
from modelplug.migration.baseline import find_baselines
from modelplug.migration.migrator import Migrator

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.history import KnownModel
    from modelplug.migration.transactions import TransactionRecord
    from modelplug.runtime import Runtime

__all__ = ["CheckItem", "CheckState", "Checklist"]


class CheckState(str, enum.Enum):
    """What a check found; nothing passes by default."""

    PASS = "pass"  # noqa: S105  no password
    FAIL = "fail"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class CheckItem:
    """One item of the checklist.

    Attributes:
        title: What should be true.
        state: Whether it is.
        evidence: What was seen.
        advice: What to type next; empty if there is nothing to do.
    """

    title: str
    state: CheckState
    evidence: str
    advice: str = ""


class Checklist:
    """The checklist of the migration guide.

    Args:
        runtime: What is checked.
        load_models: Whether every known model is loaded, which takes its time; otherwise earlier runs count.
    """

    def __init__(self, runtime: Runtime, *, load_models: bool = False) -> None:
        self._runtime = runtime
        self._load_models = load_models
        self._migrator = Migrator(runtime)

    def run(self) -> list[CheckItem]:
        """Every item, in the guide's order."""
        checks: tuple[tuple[str, Callable[[], tuple[CheckState, str, str]]], ...] = (
            ("Backup created successfully", self._backup),
            ("New version installed and working", self._version),
            ("At least one backend available", self._backends),
            ("Configuration migrated correctly", self._configuration),
            ("All models load successfully", self._models),
            ("Performance meets or exceeds baseline", self._performance),
            ("GPU acceleration working (if applicable)", self._gpu),
            ("Error handling improved", self._errors),
            ("Documentation updated", self._documentation),
            ("Rollback procedure tested (optional)", self._rollback),
        )
        items = []
        for title, check in checks:
            try:
                state, evidence, advice = check()
            except (ModelplugError, OSError) as error:
                state, evidence = CheckState.FAIL, f"it could not be checked: {error}"
                advice = error.advice if isinstance(error, ModelplugError) else ""
            items.append(CheckItem(title=title, state=state, evidence=evidence, advice=advice))
        return items

    @cached_property
    def _latest(self) -> TransactionRecord | None:
        """The latest migration that is in force."""
        in_force = ("committed", "damaged")
        records = self._migrator.history()
        return next((r for r in records if r.state in in_force and r.rolls_back is None), None)

    def _backup(self) -> tuple[CheckState, str, str]:
        record = self._latest
        if record is None:
            return CheckState.UNKNOWN, "no migration is in force", "modelplug migrate plan"
        report = self._migrator.store.verify(record.id)
        if record.problem:
            return CheckState.FAIL, record.problem, "Restore the backup set from another backup."
        if report.damage:
            return CheckState.FAIL, "; ".join(report.damage), "Restore the backup set from another backup."
        return CheckState.PASS, f"{record.folder}: every one of {len(report.items)} items has its SHA-256", ""

    def _version(self) -> tuple[CheckState, str, str]:
        problems = self._runtime.plugins.problems
        if problems:
            return CheckState.FAIL, "; ".join(problems), "modelplug plugins list"
        self._runtime.plugins.load_all()
        names = [record.name for record in self._runtime.plugins.records]
        return CheckState.PASS, f"modelplug {__version__}, plugins: {', '.join(names) or 'none'}", ""

    def _backends(self) -> tuple[CheckState, str, str]:
        available = self._runtime.backends.detect_available_backends()
        if available:
            return CheckState.PASS, str(available), ""
        return CheckState.FAIL, "no engine works here", "modelplug backends"

    def _configuration(self) -> tuple[CheckState, str, str]:
        from modelplug.config.validation import ConfigValidator, installed_settings_classes

        path = self._runtime.paths.config_file
        if not path.exists():
            return (
                CheckState.UNKNOWN,
                f"there is no {path}; the defaults are in force",
                "modelplug migrate plan",
            )
        validator = ConfigValidator(lambda: installed_settings_classes(self._runtime.plugins))
        result = validator.validate_config(path)
        if result.valid:
            remarks = f", {len(result.issues)} remarks" if result.issues else ""
            return CheckState.PASS, f"{path} is valid{remarks}", ""
        return CheckState.FAIL, "; ".join(map(str, result.issues)), "modelplug config edit"

    def _models(self) -> tuple[CheckState, str, str]:
        models = self._runtime.history.models()
        if not models:
            return CheckState.UNKNOWN, "no model has a name here", "modelplug models add NAME PATH"
        states = [self._model(model) for model in models]
        failed = [text for state, text in states if state is CheckState.FAIL]
        unknown = [text for state, text in states if state is CheckState.UNKNOWN]
        if failed:
            return CheckState.FAIL, "; ".join(failed), "modelplug inspect MODEL"
        if unknown:
            return CheckState.UNKNOWN, "; ".join(unknown), "modelplug migrate check --load-models"
        return CheckState.PASS, "; ".join(text for _, text in states), ""

    def _model(self, model: KnownModel) -> tuple[CheckState, str]:
        if not model.path.exists():
            return CheckState.FAIL, f"{model.name}: {model.path} is missing"
        if self._load_models:
            from modelplug.backends.api import try_load

            result = try_load(str(model.path), runtime=self._runtime)
            if result.success:
                return (
                    CheckState.PASS,
                    f"{model.name}: loaded by {result.backend} in {result.load_time:.1f} s",
                )
            return CheckState.FAIL, f"{model.name}: {result.error}"
        runs = self._runtime.history.runs(fingerprint=model.fingerprint, limit=1) if model.fingerprint else []
        if not runs:
            return CheckState.UNKNOWN, f"{model.name}: not run here yet"
        if runs[0].success:
            return CheckState.PASS, f"{model.name}: ran with {runs[0].backend} on {runs[0].time[:10]}"
        return CheckState.FAIL, f"{model.name}: {runs[0].error}"

    def _performance(self) -> tuple[CheckState, str, str]:
        folders = [self._latest.folder] if self._latest else []
        baselines = find_baselines([*folders, *self._migrator.homes()])
        if not baselines:
            return CheckState.UNKNOWN, "there is no baseline_performance.json", ""
        path, baseline = next(iter(baselines.items()))
        if baseline is None:
            return CheckState.UNKNOWN, f"{path} says no speed that can be understood", ""
        speeds = [run.tokens_per_second for run in self._runtime.history.runs(limit=None)]
        known = [speed for speed in speeds if speed is not None]
        if not known:
            advice = "modelplug run MODEL PROMPT --max-tokens 100"
            return (
                CheckState.UNKNOWN,
                f"the baseline is {baseline:.1f} tokens/s; nothing was run here yet",
                advice,
            )
        here = statistics.median(known)
        evidence = (
            f"the baseline is {baseline:.1f} tokens/s; here the median of {len(known)} runs is {here:.1f}"
        )
        return (CheckState.PASS if here >= baseline else CheckState.FAIL), evidence, ""

    def _gpu(self) -> tuple[CheckState, str, str]:
        devices = self._runtime.system.visible_devices
        if not devices:
            return CheckState.PASS, "not applicable: this machine has no GPU that can be seen", ""
        names = ", ".join(device.name for device in devices)
        runs = [run for run in self._runtime.history.runs(limit=None) if run.device != "cpu"]
        good = next((run for run in runs if run.success), None)
        if good is not None:
            return CheckState.PASS, f"{good.backend} ran on {good.device} on {good.time[:10]}", ""
        if runs:
            return CheckState.FAIL, f"{names}: {runs[0].error}", "modelplug doctor"
        advice = "modelplug run MODEL PROMPT --gpu-layers -1"
        return CheckState.UNKNOWN, f"nothing was run on {names} yet", advice

    def _errors(self) -> tuple[CheckState, str, str]:
        runs = self._runtime.history.runs(limit=None)
        told = sum(1 for run in runs if not run.success and run.error)
        isolation = self._runtime.config.settings.isolation
        evidence = (
            f"that is for a person to judge: engines run in isolation {isolation!r}, and of {len(runs)} "
            f"runs {told} failed with a cause on record"
        )
        return CheckState.UNKNOWN, evidence, ""

    def _documentation(self) -> tuple[CheckState, str, str]:
        from modelplug.migration.diagnostics import report_file

        path = report_file(self._runtime.paths)
        if path.exists():
            return CheckState.PASS, f"the report of what was done is {path}", ""
        return CheckState.FAIL, "no report of what was done was written", "modelplug migrate report --save"

    def _rollback(self) -> tuple[CheckState, str, str]:
        record = self._latest
        if record is None:
            return CheckState.UNKNOWN, "no migration is in force", ""
        with tempfile.TemporaryDirectory(prefix="modelplug-rehearsal-") as folder:
            report = self._migrator.rollback(record.id, rehearse=Path(folder) / "restored")
        evidence = (
            f"{counted(len(report.files), 'file')} of {record.id} restored into a scratch folder, and equal"
        )
        return CheckState.PASS, evidence, ""


def as_plain(items: list[CheckItem]) -> list[dict[str, Any]]:
    """The items as plain data."""
    return [{**attrs.asdict(item), "state": item.state.value} for item in items]
