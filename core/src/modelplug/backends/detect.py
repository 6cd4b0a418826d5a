"""Finds out which backends there are, and how usable each is on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from modelplug.backends.known import KNOWN_BACKENDS, KnownBackend, not_installed
from modelplug.backends.types import BackendReport, BackendState

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from modelplug.plugins.records import PluginRecord
    from modelplug.runtime import Runtime

__all__ = ["BackendManager", "BackendReports", "SystemChecker"]

HOOK = "modelplug_detect_backends"


class BackendReports(dict[str, BackendReport]):
    """Reports by the backend's name, best first; printed as text they are a line that people can read.

    It is a `dict` in everything but `str()`, which gives for example `llamacpp (gpu), transformers (cpu)`.
    """

    def __str__(self) -> str:
        return ", ".join(f"{name} ({report.state})" for name, report in self.items()) or "none"


class BackendManager:
    """The backends of this machine, installed or known to exist.

    Plugins are asked once per manager; `deep=True` asks again and imports each engine in a child process.

    Args:
        runtime: Plugins, system and directories to use; None makes a runtime of its own.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        if runtime is None:
            from modelplug.runtime import Runtime as NewRuntime

            runtime = NewRuntime()
        self._runtime = runtime
        self._cheap: dict[str, BackendReport] = {}
        self._reports: dict[str, BackendReport] | None = None
        self._asked: set[str] = set()

    def detect_available_backends(self, *, deep: bool = False) -> BackendReports:
        """The usable backends: name -> report, best first; a mapping that prints as a readable line.

        Args:
            deep: Whether to import each engine in a child process to make sure.
        """
        return BackendReports(
            (name, report) for name, report in self.reports(deep=deep).items() if report.usable
        )

    def reports(self, *, deep: bool = False) -> dict[str, BackendReport]:
        """Every backend, usable or not: name -> report, best first.

        Args:
            deep: Whether to import each engine in a child process to make sure.
        """
        if self._reports is None:
            # What an earlier deep probe found out costs one small file to know.
            from modelplug.backends.probe_cache import recall

            self._cheap = self._detect()
            self._reports = _in_order(recall(report, self._runtime) for report in self._cheap.values())
        if deep:
            from modelplug.backends.deep_probe import probe_all

            self._reports = _in_order(probe_all(self._cheap, self._runtime).values())
            self._asked = set(self._cheap)
        return dict(self._reports)

    def informed_reports(self, names: Container[str] | None = None) -> dict[str, BackendReport]:
        """Every backend as `reports` gives it, after making sure of what matters for choosing one.

        Whether an engine was built for this machine's accelerator is something only the engine can tell. So
        on a machine with one, engines that might use it and were never asked are asked now, in a child
        process, and the answer is remembered. Elsewhere this costs nothing.

        Args:
            names: The backends that come into question; None means all.
        """
        reports = self.reports()
        if not self._runtime.system.visible_devices:
            return reports
        from modelplug.backends.deep_probe import probe_all
        from modelplug.backends.probe_cache import is_known

        unknown = {
            name: report
            for name, report in self._cheap.items()
            if name not in self._asked and (names is None or name in names)
            if report.gpu_offload != "none" and report.usable and not is_known(report, self._runtime)
        }
        if unknown:
            self._asked.update(unknown)
            self._reports = _in_order({**reports, **probe_all(unknown, self._runtime)}.values())
        return dict(self._reports or {})

    def refresh(self) -> None:
        """Forget what was found, so that the next question asks the plugins again."""
        self._reports, self._asked = None, set()

    def _detect(self) -> dict[str, BackendReport]:
        found: dict[str, BackendReport] = {}
        for report in sorted(self._from_plugins(), key=_claim):
            if report.name in found:
                self._report_conflict(report, found[report.name])
            else:
                found[report.name] = report
        for backend in KNOWN_BACKENDS.values():
            if backend.name not in found:
                found[backend.name] = self._absent(backend)
        return found

    def _from_plugins(self) -> Iterator[BackendReport]:
        plugins = self._runtime.plugins
        for result in plugins.call(HOOK, system=self._runtime.system):
            value = result.value
            for report in (value,) if isinstance(value, BackendReport) else tuple(value):
                record = self._record(result.plugin)
                distribution = f"{record.distribution} {record.version}".strip() if record else ""
                yield attrs.evolve(report, plugin=result.plugin, distribution=distribution)

    def _record(self, plugin: str) -> PluginRecord | None:
        return next((record for record in self._runtime.plugins.records if record.name == plugin), None)

    def _report_conflict(self, loser: BackendReport, winner: BackendReport) -> None:
        self._runtime.plugins.report_problem(
            loser.plugin,
            f"it brings a backend named {loser.name!r}, which {winner.distribution or winner.plugin} "
            "brings already; its own was left out",
            f"rename the backend in the plugin, or run `modelplug plugins disable {winner.plugin}` to use "
            f"this one instead",
        )

    def _absent(self, backend: KnownBackend) -> BackendReport:
        """The report on a known backend that no healthy plugin brought."""
        base = not_installed(backend, self._runtime.system)
        for record in self._runtime.plugins.records:
            if _normalised(record.distribution) == backend.distribution and str(record.state) != "ready":
                return attrs.evolve(
                    base,
                    state=BackendState.BROKEN,
                    cause=f"its plugin {record.name!r} is {record.state}"
                    + (f": {record.cause}" if record.cause else ""),
                    install=record.remedy or f"modelplug plugins show {record.name}",
                    plugin=record.name,
                    distribution=f"{record.distribution} {record.version}".strip(),
                )
        return base


class SystemChecker:
    """Says which backends work with this system.

    Args:
        runtime: Plugins, system and directories to use; None makes a runtime of its own.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        self._backends = runtime.backends if runtime is not None else BackendManager()

    def check_backend_compatibility(self, *, deep: bool = False) -> dict[str, BackendReport]:
        """Every known backend: name -> report, whose `compatible` and `issues` give the verdict.

        Args:
            deep: Whether to import each engine in a child process to make sure.
        """
        return self._backends.reports(deep=deep)


def _normalised(distribution: str | None) -> str:
    return (distribution or "").lower().replace("_", "-").replace(".", "-")


def _claim(report: BackendReport) -> tuple[str, bool, str]:
    """Sorts reports of the same name so that the one with the better claim to it comes first."""
    known = KNOWN_BACKENDS.get(report.name)
    rightful = known is not None and _normalised(report.distribution.partition(" ")[0]) == known.distribution
    return report.name, not rightful, report.plugin


_STATE_ORDER = (BackendState.GPU, BackendState.CPU, BackendState.BROKEN, BackendState.NOT_INSTALLED)


def _in_order(reports: Iterable[BackendReport]) -> dict[str, BackendReport]:
    """Usable before broken before absent; then by priority, then by name."""
    ordered = sorted(
        reports,
        key=lambda report: (
            not report.usable,
            _STATE_ORDER.index(report.state),
            -report.priority,
            report.name,
        ),
    )
    return {report.name: report for report in ordered}
