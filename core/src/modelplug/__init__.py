"""Run language models on your own machine through whichever engine works there.

The names below are the public API; everything else may change without notice. They are imported when first
used, so that `import modelplug` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from modelplug._version import __version__

if TYPE_CHECKING:
    from modelplug.backends.api import GGUFModel as GGUFModel
    from modelplug.backends.api import inspect as inspect
    from modelplug.backends.api import load as load
    from modelplug.backends.api import load_async as load_async
    from modelplug.backends.api import recommend as recommend
    from modelplug.backends.async_model import AsyncModel as AsyncModel
    from modelplug.backends.converting import Conversion as Conversion
    from modelplug.backends.converting import ModelConverter as ModelConverter
    from modelplug.backends.detect import BackendManager as BackendManager
    from modelplug.backends.detect import SystemChecker as SystemChecker
    from modelplug.backends.inspection import ModelInspector as ModelInspector
    from modelplug.backends.model import CancelToken as CancelToken
    from modelplug.backends.model import Capabilities as Capabilities
    from modelplug.backends.model import Chunk as Chunk
    from modelplug.backends.model import Effective as Effective
    from modelplug.backends.model import GenerateParams as GenerateParams
    from modelplug.backends.model import GenerationStats as GenerationStats
    from modelplug.backends.model import Message as Message
    from modelplug.backends.model import Model as Model
    from modelplug.backends.model import ModelStats as ModelStats
    from modelplug.backends.select import BackendSelector as BackendSelector
    from modelplug.backends.types import BackendReport as BackendReport
    from modelplug.backends.types import BackendSettings as BackendSettings
    from modelplug.backends.types import BackendState as BackendState
    from modelplug.backends.types import ConversionPlan as ConversionPlan
    from modelplug.backends.types import ConvertRequest as ConvertRequest
    from modelplug.backends.types import LoadRequest as LoadRequest
    from modelplug.backends.types import LoadResult as LoadResult
    from modelplug.backends.types import Recommendation as Recommendation
    from modelplug.benchmark.backend_tester import BackendTester as BackendTester
    from modelplug.benchmark.comparer import Comparison as Comparison
    from modelplug.benchmark.comparer import PerformanceComparer as PerformanceComparer
    from modelplug.benchmark.model_benchmark import ModelBenchmark as ModelBenchmark
    from modelplug.benchmark.model_tester import ModelTester as ModelTester
    from modelplug.benchmark.optimizing.optimizer import ConfigOptimizer as ConfigOptimizer
    from modelplug.benchmark.optimizing.proposal import OptimizationProposal as OptimizationProposal
    from modelplug.benchmark.records import BenchmarkReport as BenchmarkReport
    from modelplug.benchmark.tested import ModelTestReport as ModelTestReport
    from modelplug.benchmark.tested import ModelTestResult as ModelTestResult
    from modelplug.benchmark.workload import Benchmark as Benchmark
    from modelplug.config import ConfigManager as ConfigManager
    from modelplug.config import ConfigValidator as ConfigValidator
    from modelplug.errors import ModelplugError as ModelplugError
    from modelplug.formats.model_info import ModelInfo as ModelInfo
    from modelplug.history.monitor import PerformanceMonitor as PerformanceMonitor
    from modelplug.history.wizard import OptimizationWizard as OptimizationWizard
    from modelplug.hookspecs import HOOKSPEC_VERSION as HOOKSPEC_VERSION
    from modelplug.hookspecs import hookimpl as hookimpl
    from modelplug.migration.config_migrator import ConfigMigrator as ConfigMigrator
    from modelplug.migration.diagnostics import MigrationDiagnostics as MigrationDiagnostics
    from modelplug.migration.editing import ConfigEditor as ConfigEditor
    from modelplug.migration.homes import HomeEditor as HomeEditor
    from modelplug.migration.sources import SourceEditor as SourceEditor
    from modelplug.migration.steps import Confidence as Confidence
    from modelplug.migration.steps import Detection as Detection
    from modelplug.migration.steps import Family as Family
    from modelplug.migration.steps import FamilyVersion as FamilyVersion
    from modelplug.migration.steps import Kind as Kind
    from modelplug.migration.steps import Migration as Migration
    from modelplug.migration.steps import StepContext as StepContext
    from modelplug.migration.versions import Version as Version
    from modelplug.runtime import Runtime as Runtime
    from modelplug.system.info import SystemInfo as SystemInfo

_HOMES = {
    "modelplug.backends.api": ("GGUFModel", "inspect", "load", "load_async", "recommend"),
    "modelplug.backends.async_model": ("AsyncModel",),
    "modelplug.backends.converting": ("Conversion", "ModelConverter"),
    "modelplug.backends.detect": ("BackendManager", "SystemChecker"),
    "modelplug.backends.inspection": ("ModelInspector",),
    "modelplug.backends.model": (
        "CancelToken",
        "Capabilities",
        "Chunk",
        "Effective",
        "GenerateParams",
        "GenerationStats",
        "Message",
        "Model",
        "ModelStats",
    ),
    "modelplug.backends.select": ("BackendSelector",),
    "modelplug.backends.types": (
        "BackendReport",
        "BackendSettings",
        "BackendState",
        "ConversionPlan",
        "ConvertRequest",
        "LoadRequest",
        "LoadResult",
        "Recommendation",
    ),
    "modelplug.benchmark.backend_tester": ("BackendTester",),
    "modelplug.benchmark.comparer": ("Comparison", "PerformanceComparer"),
    "modelplug.benchmark.model_benchmark": ("ModelBenchmark",),
    "modelplug.benchmark.model_tester": ("ModelTester",),
    "modelplug.benchmark.optimizing.optimizer": ("ConfigOptimizer",),
    "modelplug.benchmark.optimizing.proposal": ("OptimizationProposal",),
    "modelplug.benchmark.records": ("BenchmarkReport",),
    "modelplug.benchmark.tested": ("ModelTestReport", "ModelTestResult"),
    "modelplug.benchmark.workload": ("Benchmark",),
    "modelplug.config": ("ConfigManager", "ConfigValidator"),
    "modelplug.errors": ("ModelplugError",),
    "modelplug.formats.model_info": ("ModelInfo",),
    "modelplug.history.monitor": ("PerformanceMonitor",),
    "modelplug.history.wizard": ("OptimizationWizard",),
    "modelplug.hookspecs": ("HOOKSPEC_VERSION", "hookimpl"),
    "modelplug.migration.config_migrator": ("ConfigMigrator",),
    "modelplug.migration.diagnostics": ("MigrationDiagnostics",),
    "modelplug.migration.editing": ("ConfigEditor",),
    "modelplug.migration.homes": ("HomeEditor",),
    "modelplug.migration.sources": ("SourceEditor",),
    "modelplug.migration.steps": (
        "Confidence",
        "Detection",
        "Family",
        "FamilyVersion",
        "Kind",
        "Migration",
        "StepContext",
    ),
    "modelplug.migration.versions": ("Version",),
    "modelplug.runtime": ("Runtime",),
    "modelplug.system.info": ("SystemInfo",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
