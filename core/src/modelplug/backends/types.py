"""The records that detection, selection and loading exchange."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from modelplug.backends.model import Effective, Model
from modelplug.errors import ModelplugError
from modelplug.formats.model_info import ModelInfo

__all__ = [
    "Attempt",
    "BackendReport",
    "BackendSettings",
    "BackendState",
    "Candidate",
    "ConversionPlan",
    "ConvertRequest",
    "Deadlines",
    "Estimate",
    "LoadPlan",
    "LoadRequest",
    "LoadResult",
    "Recommendation",
    "format_speed",
]

S = TypeVar("S", bound="BackendSettings")


class BackendState(str, enum.Enum):
    """How usable a backend is on this machine."""

    NOT_INSTALLED = "not-installed"
    BROKEN = "broken"
    CPU = "cpu"
    GPU = "gpu"

    def __str__(self) -> str:
        return self.value


def _at_least(low: int) -> Any:
    """A validator for a number of at least `low`, or null."""
    return attrs.validators.optional(attrs.validators.ge(low))


@attrs.frozen(kw_only=True)
class BackendSettings:
    """The settings every backend section may hold. A plugin derives its own class and adds to it.

    A plugin lists in its class exactly what its engine honours: a field of this base that it can't honour
    is named in `BackendReport.ignored_settings`, so that asking for it is an error and not a silence.

    Attributes:
        enabled: Whether selection may choose this backend.
        gpu_enabled: Whether it may use an accelerator.
        gpu_layers: Layers to place on the accelerator: -1 all, 0 none, None as many as fit.
        context_size: Tokens; None takes the model's own, limited by memory.
        batch_size: Prompt tokens evaluated at once; None takes the engine's default.
        threads: CPU threads; None takes the usable cores.
    """

    enabled: bool = True
    gpu_enabled: bool = True
    gpu_layers: int | None = attrs.field(default=None, validator=_at_least(-1))
    context_size: int | None = attrs.field(default=None, validator=_at_least(1))
    batch_size: int | None = attrs.field(default=None, validator=_at_least(1))
    threads: int | None = attrs.field(default=None, validator=_at_least(1))


@attrs.frozen(kw_only=True)
class BackendReport:
    """What a backend plugin says of its engine on this machine.

    Attributes:
        name: The backend's name in settings and on the command line.
        state: Not installed, broken, works on CPU only, works on GPU.
        engine: The engine's own name, for people.
        version: The engine's version; empty if not installed.
        cause: Why it is not installed, broken, or on CPU only.
        install: What to type to install or repair it on this machine.
        formats: Values of `ModelInfo.format` it can load.
        standalone_formats: Of these, the ones whose files bring the engine along: such a model can be loaded
            even where the engine is not installed or the installed one is broken.
        architectures: Architectures it can load; None if only the engine itself knows. `ggml:gpt2` is for
            files of the format `ggml` only.
        tensor_types: Tensor types it can load; None if only the engine itself knows.
        rejects: Further limits as (attribute of ModelInfo, value, reason): matching models are ruled out.
        devices: `Device.id`s it can use, empty on CPU only.
        gpu_offload: `layers` (any number of layers), `whole` (all or nothing) or `none`.
        dequantises: None if weights stay as stored; otherwise bytes per parameter after loading.
        default_batch_size: Prompt tokens at once by default.
        settings: Names it honours in its section of the settings.
        ignored_settings: Name of a neutral setting it can't honour -> what to use instead.
        capabilities: Names of optional capabilities it may have: `chat`, `embeddings`, `grammar`, `logprobs`.
        deep_probe: `module:function` that imports the engine and returns fields to update here, as a mapping;
            the core calls it in a child process, never here. Empty if there is nothing deeper to learn.
        priority: Preference among backends that are equal otherwise; higher first.
        plugin: Entry-point name of the plugin; filled in by the core.
        distribution: Distribution of the plugin and its version; filled in by the core.
    """

    name: str
    state: BackendState
    engine: str
    version: str = ""
    cause: str = ""
    install: str = ""
    formats: tuple[str, ...] = ()
    standalone_formats: tuple[str, ...] = ()
    architectures: frozenset[str] | None = None
    tensor_types: frozenset[str] | None = None
    rejects: tuple[tuple[str, str, str], ...] = ()
    devices: tuple[str, ...] = ()
    gpu_offload: str = "none"
    dequantises: float | None = None
    default_batch_size: int = 512
    settings: tuple[str, ...] = ()
    ignored_settings: dict[str, str] = attrs.field(factory=dict)
    capabilities: frozenset[str] = frozenset()
    deep_probe: str = ""
    priority: int = 0
    plugin: str = ""
    distribution: str = ""

    @property
    def usable(self) -> bool:
        """Whether it can run models here at all."""
        return self.state in (BackendState.CPU, BackendState.GPU)

    @property
    def compatible(self) -> bool:
        """The same as `usable`, under the name `SystemChecker` gives it."""
        return self.usable

    @property
    def issues(self) -> tuple[str, ...]:
        """What keeps it from being used, or from using the GPU."""
        return (self.cause,) if self.cause else ()


@attrs.frozen(kw_only=True)
class Deadlines:
    """How long each phase of a request may take, in seconds. None waits for ever.

    Attributes:
        start: From starting the worker to its first word.
        load: Loading the model.
        first_token: From a request to its first token; also the longest wait for a chunk after that.
        close: Closing, before the worker is killed.
    """

    start: float | None = 30.0
    load: float | None = 600.0
    first_token: float | None = 300.0
    close: float | None = 5.0


@attrs.frozen(kw_only=True)
class LoadRequest:
    """Everything an engine needs to load a model; what `modelplug_load_model` receives.

    Attributes:
        backend: The backend that is meant; a plugin that is not it returns None.
        path: The file or directory.
        info: What inspection found; an engine is never handed a file that inspection rejected.
        settings: The backend's section of the settings with every override applied, validated.
        device: `cpu` or a `Device.id`.
        gpu_layers: Layers to place on `device`: 0 on the CPU, -1 for all.
        context_size: Tokens the context must hold.
        threads: CPU threads.
        embeddings: Whether the model is loaded for `embed`.
        deadlines: For engines that wait for something themselves.
        scratch: The place for temporary files. An engine that needs one makes this directory; it is removed
            when the model is closed, and when the host is killed.
    """

    backend: str
    path: Path
    info: ModelInfo
    settings: dict[str, Any] = attrs.field(factory=dict)
    device: str = "cpu"
    gpu_layers: int = 0
    context_size: int = 2048
    threads: int = 1
    embeddings: bool = False
    deadlines: Deadlines = attrs.field(factory=Deadlines)
    scratch: Path | None = None

    def settings_as(self, kind: type[S]) -> S:
        """The settings as an instance of the plugin's own class.

        Raises:
            ConfigError: A value has the wrong type or is out of range.
        """
        from modelplug.config.structure import structure_settings

        return structure_settings(self.backend, self.settings, kind)


@attrs.frozen(kw_only=True)
class ConvertRequest:
    """What `modelplug_convert_model` receives.

    Attributes:
        path: The model to convert.
        info: What inspection found.
        format: The format wanted, as `ModelInfo.format` spells it.
        output: Where to write; the plugin must not write anywhere else.
        options: Further wishes, for example `{"quantization": "Q8_0"}`.
        progress: To be told what is being done and how much of the whole is, from 0 to 1, now and then.
    """

    path: Path
    info: ModelInfo
    format: str
    output: Path
    options: Mapping[str, Any] = attrs.field(factory=dict)
    progress: Callable[[str, float], None] = lambda _step, _done: None


@attrs.frozen(kw_only=True)
class ConversionPlan:
    """What a conversion would come to, as `modelplug_plan_conversion` says.

    Attributes:
        size: Bytes the result takes, at most.
        notes: What the result lacks or does otherwise than its source, in full sentences.
    """

    size: int
    notes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Estimate:
    """How fast a plan should be, and how that is known.

    Attributes:
        tokens_per_second: The expected value.
        low: Lower end of the interval.
        high: Upper end of the interval.
        basis: `measured` on this machine before, `learned` from other models that ran here, or `predicted`
            from bytes per token and memory bandwidth.
        detail: The figures behind it, in a sentence.
    """

    tokens_per_second: float
    low: float
    high: float
    basis: str
    detail: str

    def __str__(self) -> str:
        middle, low, high = (format_speed(value) for value in (self.tokens_per_second, self.low, self.high))
        return f"{middle} tokens/s ({low} to {high}, {self.basis})"


def format_speed(value: float) -> str:
    """A number of tokens per second with the three digits that mean something."""
    # Above a thousand they must not turn into powers of ten.
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


@attrs.frozen(kw_only=True)
class LoadPlan:
    """One way to run a model: an engine, a device and settings.

    Attributes:
        backend: The backend.
        device: `cpu` or a `Device.id`.
        gpu_layers: Layers on the device; -1 for all, 0 on the CPU.
        context_size: Tokens.
        threads: CPU threads.
        settings: The backend's settings with overrides applied.
        needed: Bytes of memory on the tightest resource.
        available: Bytes free there.
        reason: Why this plan, in a sentence.
    """

    backend: str
    device: str = "cpu"
    gpu_layers: int = 0
    context_size: int = 2048
    threads: int = 1
    settings: dict[str, Any] = attrs.field(factory=dict)
    needed: int | None = None
    available: int | None = None
    reason: str = ""


@attrs.frozen(kw_only=True)
class Candidate:
    """The verdict on one backend for one model.

    Attributes:
        backend: The backend.
        suitable: Whether it can run the model here.
        reason: Why, or why not.
        plans: What would be tried with it, in order.
        estimate: Its expected speed, if there is a basis for one.
        needed: If memory alone rules it out, the bytes needed.
        available: If memory alone rules it out, the bytes available.
    """

    backend: str
    suitable: bool
    reason: str
    plans: tuple[LoadPlan, ...] = ()
    estimate: Estimate | None = None
    needed: int | None = None
    available: int | None = None


@attrs.frozen(kw_only=True)
class Recommendation:
    """Which backend to use, and why.

    Attributes:
        backend: The chosen backend.
        reason: Why, in a sentence or two.
        settings: The settings to use with it.
        performance_estimate: Expected speed; prints as one line. None where nothing is known of the model.
        plans: Everything that would be tried, in order.
        candidates: The verdict on every backend, chosen or not.
    """

    backend: str
    reason: str
    settings: dict[str, Any] = attrs.field(factory=dict)
    performance_estimate: Estimate | str = "unknown: no model was given and nothing was measured"
    plans: tuple[LoadPlan, ...] = ()
    candidates: tuple[Candidate, ...] = ()

    @property
    def alternatives(self) -> tuple[Candidate, ...]:
        """The other suitable candidates, best first."""
        return tuple(c for c in self.candidates if c.suitable and c.backend != self.backend)


@attrs.frozen(kw_only=True)
class Attempt:
    """One try at loading.

    Attributes:
        plan: What was tried.
        success: Whether it worked.
        seconds: How long it took.
        error: What went wrong; None on success.
    """

    plan: LoadPlan
    success: bool
    seconds: float
    error: ModelplugError | None = None


@attrs.frozen(kw_only=True)
class LoadResult:
    """How loading went, requested against effective.

    Attributes:
        success: Whether a model is loaded.
        backend: The backend that runs it, or the last one tried.
        device: Where it runs: `cpu` or a `Device.id`.
        load_time: Seconds from the request until the model was ready, failed attempts included.
        memory_usage: Memory measured for the engine's process, main plus device, in MB (10^6 bytes).
        memory_bytes: The same, exactly.
        resident_bytes: Of that, main memory.
        device_bytes: Of that, memory on the device; None if unknown.
        attempts: Every attempt, in order.
        requested: What was asked for (backend, gpu_layers, ...), only what was given.
        effective: What is in force; None if nothing was loaded.
        error: What went wrong, as text; empty on success.
        suggestion: What to do about it; empty on success.
        model: The loaded model; None on failure.
    """

    success: bool
    backend: str
    device: str = "cpu"
    load_time: float = 0.0
    memory_usage: float = 0.0
    memory_bytes: int = 0
    resident_bytes: int = 0
    device_bytes: int | None = None
    attempts: tuple[Attempt, ...] = ()
    requested: dict[str, Any] = attrs.field(factory=dict)
    effective: Effective | None = None
    error: str = ""
    suggestion: str = ""
    model: Model | None = attrs.field(default=None, repr=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """Every difference between what was asked for and what is in force, in full sentences."""
        return self.effective.notes if self.effective else ()
