"""Which settings are searched, and which of their values; what is left out, with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from modelplug.backends.resources import default_threads
from modelplug.backends.types import BackendState
from modelplug.benchmark.optimizing.goals import GENERATION, MEMORY, PROMPT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.backends.types import BackendReport, BackendSettings, LoadPlan
    from modelplug.formats.model_info import ModelInfo
    from modelplug.runtime import Runtime
    from modelplug.system.info import SystemInfo

__all__ = ["BATCH_SIZES", "LeftOut", "SearchSpace", "SearchedSetting", "search_space", "spelled"]

# The settings that can matter for a goal, those that matter most first: time may end before the last one.
_SETTINGS = {
    GENERATION: ("gpu_layers", "threads", "kv_type", "use_mmap", "use_mlock", "context_size"),
    PROMPT: ("gpu_layers", "threads", "batch_size", "kv_type", "use_mmap", "use_mlock", "context_size"),
    MEMORY: ("context_size", "kv_type", "batch_size", "use_mmap"),
}
BATCH_SIZES = (64, 128, 256, 512, 1024, 2048)
_KV_TYPES = ("f16", "q8_0", "q4_0")


@attrs.frozen(kw_only=True)
class SearchedSetting:
    """One setting to search.

    Attributes:
        name: Its name in the section of the backend.
        now: The value in force.
        default: What the engine takes if nothing is set.
        values: The other values to try.
    """

    name: str
    now: Any
    default: Any
    values: tuple[Any, ...]


@attrs.frozen(kw_only=True)
class LeftOut:
    """What was not tried.

    Attributes:
        what: The setting, or the settings with their values.
        reason: Why not.
    """

    what: str
    reason: str


@attrs.frozen(kw_only=True)
class SearchSpace:
    """Everything there is to try.

    Attributes:
        settings: What is searched, in this order.
        left_out: What is not.
    """

    settings: tuple[SearchedSetting, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def engine_defaults(self) -> dict[str, Any]:
        """The settings that differ from those in force where the engine has its own way; empty if none."""
        return {s.name: s.default for s in self.settings if s.default != s.now}


def spelled(settings: dict[str, Any]) -> str:
    """Settings as they are typed: `threads=1, use_mmap=false`."""
    import json

    return ", ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in settings.items()
    )


def search_space(
    info: ModelInfo,
    report: BackendReport,
    plan: LoadPlan,
    runtime: Runtime,
    *,
    goal: str,
    least_context: int | None = None,
    kv_types: bool = False,
    most_batch: int = 512,
) -> SearchSpace:
    """What to try for a model with one backend here.

    A setting that the engine does not have is not searched. Neither is one that an environment variable
    decides: what is written into the file would have no effect.

    Args:
        info: The model.
        report: The backend.
        plan: How it runs the model with the settings in force.
        runtime: Plugins, settings and system.
        goal: What the search is for.
        least_context: The smallest context allowed; None leaves the context as it is.
        kv_types: Whether other types of keys and values are allowed, which change what the model says.
        most_batch: Larger batches than this make no difference to what is measured.
    """
    return _Space(info, report, plan, runtime, goal, least_context, kv_types, most_batch).build()


@attrs.define
class _Space:
    info: ModelInfo
    report: BackendReport
    plan: LoadPlan
    runtime: Runtime
    goal: str
    least_context: int | None
    kv_types: bool
    most_batch: int
    left_out: list[LeftOut] = attrs.field(factory=list, init=False)
    kind: type[BackendSettings] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        from modelplug.backends.wishes import settings_kind

        self.kind = settings_kind(self.report, self.runtime)

    def build(self) -> SearchSpace:
        settings = [found for name in _SETTINGS[self.goal] if (found := self._setting(name))]
        return SearchSpace(settings=tuple(settings), left_out=tuple(self.left_out))

    def _setting(self, name: str) -> SearchedSetting | None:
        reason = self._against(name)
        if reason:
            self.left_out.append(LeftOut(what=name, reason=reason))
            return None
        now, default = self._now(name), self._default(name)
        values = [
            value
            for value in dict.fromkeys(self._values(name, now))
            if value != now and self._valid(name, value)
        ]
        if not values:
            return None
        return SearchedSetting(name=name, now=now, default=default, values=tuple(values))

    def _against(self, name: str) -> str:
        """Why a setting is not searched; empty if it is."""
        if name in self.report.ignored_settings:
            return f"{self.report.name} can't honour it: {self.report.ignored_settings[name]}"
        if name not in self.report.settings:
            return f"{self.report.name} has no such setting"
        origin = self.runtime.config.origin(("backends", self.report.name, name))
        if origin.layer in ("environment", "command line"):
            return f"{origin} decides it, whatever the settings file says"
        if name == "gpu_layers" and not self._has_gpu:
            cause = f": {self.report.cause}" if self.report.cause else ""
            return f"{self.report.name} runs on the CPU only here{cause}"
        if name == "context_size" and self.least_context is None:
            return "the context is only made smaller when you say how far: --least-context TOKENS"
        if name == "kv_type" and not self.kv_types:
            return "a smaller type of keys and values changes what the model says: --kv-types allows it"
        return ""

    @property
    def _has_gpu(self) -> bool:
        return self.report.state is BackendState.GPU and self.report.gpu_offload != "none"

    def _now(self, name: str) -> Any:
        """The value in force, as it can be asked for."""
        if name in ("threads", "context_size", "gpu_layers"):
            return getattr(self.plan, name)
        value = self.plan.settings.get(name)
        return self._default(name) if value is None else value

    def _default(self, name: str) -> Any:
        if name == "threads":
            return default_threads(self.runtime.system)
        if name == "batch_size":
            return self.report.default_batch_size
        if name in ("context_size", "gpu_layers"):
            # The engine's own way with these is to take what fits, which is no fixed value.
            return self._now(name)
        return attrs.fields_dict(self.kind)[name].default

    def _values(self, name: str, now: Any) -> Iterator[Any]:
        if name == "threads":
            yield from thread_counts(self.runtime.system)
        elif name == "batch_size":
            yield from (size for size in BATCH_SIZES if size <= self.most_batch or size == now)
        elif name == "gpu_layers":
            yield from self._layers(now)
        elif name == "context_size":
            yield from self._contexts(now)
        elif name == "kv_type":
            yield from _KV_TYPES
        else:
            yield not now
        yield self._default(name)

    def _layers(self, now: int) -> Iterator[int]:
        yield -1
        if self.report.gpu_offload == "layers" and self.info.layers:
            most = self.info.layers if now < 0 else max(now, 1)
            yield from (most * quarters // 4 for quarters in (3, 2) if most * quarters // 4 > 0)
        yield 0

    def _contexts(self, now: int) -> Iterator[int]:
        assert self.least_context is not None
        size = now
        while size // 2 >= self.least_context:
            size //= 2
            yield size

    def _valid(self, name: str, value: Any) -> bool:
        from modelplug.backends.wishes import Wishes, unmet_wish

        return not unmet_wish(self.report, Wishes.of(settings={name: value}), self.runtime)


def thread_counts(system: SystemInfo) -> tuple[int, ...]:
    """The numbers of threads worth trying: all cores, one less, parts of them, and their second threads.

    Args:
        system: The machine.
    """
    cores, most = default_threads(system), max(1, system.cpu.usable_cores)
    wanted = [cores, cores // 2, cores - 1, most, cores // 4, *((1,) if cores <= 4 else ())]
    return tuple(dict.fromkeys(count for count in wanted if 1 <= count <= most))
