"""Clauses on what the plugin says of its engine: the report, the settings, the deep probe."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from modelplug.backends.types import BackendReport, BackendSettings, BackendState
from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause

__all__ = ["ReportClauses"]

CAPABILITIES = frozenset({"chat", "embeddings", "grammar", "logprobs"})
NEUTRAL_WISHES = {"gpu_layers": 1, "context_size": 256, "batch_size": 64, "threads": 1}


class ReportClauses(ConformanceBase):
    """Detection's report and the settings class agree, and people can read them."""

    def _settings_class(self) -> type[BackendSettings]:
        from modelplug.runtime import Runtime

        for result in Runtime().plugins.call("modelplug_backend_settings"):
            if self.backend in result.value:
                kind: type[BackendSettings] = result.value[self.backend]
                return kind
        pytest.fail(
            clause("modelplug_backend_settings", f"no plugin gives the settings class of {self.backend}"),
            pytrace=False,
        )

    def test_report_is_well_formed(self) -> None:
        """Every field of the report has the type and the values it is documented with."""
        report = self.report()
        see = "BackendReport"
        assert isinstance(report, BackendReport), clause(see, f"detection gave {type(report).__name__}")
        assert isinstance(report.state, BackendState), clause(f"{see}.state", f"it is {report.state!r}")
        assert report.engine, clause(f"{see}.engine", "it is empty: people read it")
        assert report.formats, clause(f"{see}.formats", "it is empty: no model would ever be loaded")
        assert report.gpu_offload in ("layers", "whole", "none"), clause(
            f"{see}.gpu_offload", f"it is {report.gpu_offload!r}"
        )
        assert set(report.capabilities) <= CAPABILITIES, clause(
            f"{see}.capabilities", f"{sorted(report.capabilities - CAPABILITIES)} are not among them"
        )
        assert report.default_batch_size > 0, clause(f"{see}.default_batch_size", "it is not positive")
        assert report.dequantises is None or report.dequantises > 0, clause(
            f"{see}.dequantises", f"it is {report.dequantises!r}"
        )
        if report.state is not BackendState.GPU:
            assert not report.devices, clause(f"{see}.devices", f"{report.devices} on a {report.state}")

    def test_report_helps_where_the_engine_is_missing(self) -> None:
        """A usable engine tells its version; one that is not tells the cause and what to type."""
        report = self.report()
        if report.usable:
            assert report.version, clause("BackendReport.version", "it is empty, but the engine is usable")
        else:
            assert report.cause, clause("BackendReport.cause", f"the engine is {report.state} without cause")
            assert report.install, clause("BackendReport.install", f"no advice for an engine {report.state}")

    def test_settings_are_an_attrs_class(self) -> None:
        """The settings class derives from `BackendSettings`, is attrs, and all its defaults are valid."""
        from modelplug.config.structure import structure_settings

        kind = self._settings_class()
        see = "modelplug_backend_settings"
        assert issubclass(kind, BackendSettings), clause(see, f"{kind.__name__} is no BackendSettings")
        assert "__attrs_attrs__" in vars(kind), clause(see, f"{kind.__name__} is no attrs class of its own")
        assert structure_settings(self.backend, {}, kind) == kind(), clause(
            see, f"the defaults of {kind.__name__} do not survive being read"
        )

    def test_settings_are_documented(self) -> None:
        """Each setting that the plugin adds is explained in the docstring of its class."""
        kind = self._settings_class()
        inherited = {field.name for field in attrs.fields(BackendSettings)}
        text = kind.__doc__ or ""
        missing = [
            field.name
            for field in attrs.fields(kind)
            if field.name not in inherited and f"{field.name}:" not in text
        ]
        assert not missing, clause(
            "modelplug_backend_settings",
            f"{', '.join(missing)} are not explained in the docstring of {kind.__name__}, which is the help "
            "that users see",
        )

    def test_report_and_settings_class_agree(self) -> None:
        """Each field of the settings class is either honoured or named as ignored, and no other name is."""
        report = self.report()
        fields = {field.name for field in attrs.fields(self._settings_class())}
        honoured, ignored = set(report.settings), set(report.ignored_settings)
        assert honoured <= fields, clause(
            "BackendReport.settings", f"{sorted(honoured - fields)} are not fields of the settings class"
        )
        assert not honoured & ignored, clause(
            "BackendReport.ignored_settings", f"{sorted(honoured & ignored)} are honoured as well"
        )
        silent = fields - honoured - ignored
        assert not silent, clause(
            "BackendReport.ignored_settings",
            f"{sorted(silent)} are neither in `settings` nor in `ignored_settings`: asking for them would be "
            "dropped in silence",
        )

    def test_ignored_settings_are_refused(self, conformance_path: Any) -> None:
        """Asking for a setting that the engine can't honour is an error that says what to use instead."""
        from modelplug.errors import ModelplugError

        report = self.report()
        for name in sorted(set(report.ignored_settings) & set(NEUTRAL_WISHES)):
            with pytest.raises(ModelplugError) as caught:
                self.load(conformance_path, **{name: NEUTRAL_WISHES[name]}).close()
            assert name in str(caught.value) + caught.value.advice, clause(
                "BackendReport.ignored_settings", f"the error about {name} does not name it: {caught.value}"
            )

    def test_deep_probe_answers(self) -> None:
        """The deep probe runs in a child process and gives fields that a report has."""
        from modelplug.backends.deep_probe import probe
        from modelplug.backends.probe_fields import apply_fields

        self.need_engine()
        report = self.report()
        if not report.deep_probe:
            return
        answer = probe(report, deadline=self.hang_seconds)
        assert not answer.problem, clause("BackendReport.deep_probe", answer.problem)
        deeper = apply_fields(report, answer.fields)
        assert deeper.usable, clause(
            "BackendReport.deep_probe",
            f"detection says {report.state}, the probe says {deeper.state}: {deeper.cause}",
        )
