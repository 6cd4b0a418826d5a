"""The conformance kit: what every backend promises, as tests that a plugin's author inherits.

    from modelplug.testing import BackendConformance

    class TestMyEngine(BackendConformance):
        backend = "my-engine"
        engine_modules = ("my_engine_lib",)

Run it with pytest, in an environment where the plugin is installed: the worker process finds it there only.
What a backend does not declare in `Capabilities` is not tested for, but for being refused. Class attributes
of `ConformanceBase` adapt the kit to an engine.
"""

from __future__ import annotations

from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.cancelling import CancelClauses
from modelplug.testing.conformance.capabilities import CapabilityClauses
from modelplug.testing.conformance.closing import CloseClauses
from modelplug.testing.conformance.concurrency import ConcurrencyClauses
from modelplug.testing.conformance.context import ContextClauses
from modelplug.testing.conformance.hostile import HostileFileClauses
from modelplug.testing.conformance.importing import ImportClauses
from modelplug.testing.conformance.loading import LoadClauses
from modelplug.testing.conformance.processes import ProcessClauses
from modelplug.testing.conformance.reporting import ReportClauses
from modelplug.testing.conformance.sampling import SamplingClauses
from modelplug.testing.conformance.stopping import StopClauses
from modelplug.testing.conformance.streaming import StreamClauses
from modelplug.testing.conformance.tokens import TokenClauses

__all__ = ["BackendConformance"]


class BackendConformance(
    ImportClauses,
    ReportClauses,
    LoadClauses,
    TokenClauses,
    StreamClauses,
    StopClauses,
    SamplingClauses,
    ContextClauses,
    CapabilityClauses,
    CancelClauses,
    ConcurrencyClauses,
    HostileFileClauses,
    ProcessClauses,
    CloseClauses,
    ConformanceBase,
):
    """Every clause of the contract with backends. Derive a class named `Test...` from it.

    The attributes and methods to override are those of `ConformanceBase`.
    """
