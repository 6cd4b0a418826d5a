"""Trying plans in order until one works, with real workers of an engine that fails on demand."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from modelplug.backends import load as load_module
from modelplug.backends.cooldown import Cooldown
from modelplug.backends.load import COOLDOWN_FILE, Loading, LoadOptions, _worth_trying, load_first
from modelplug.backends.model import CancelToken
from modelplug.backends.types import Attempt, BackendReport, BackendState, LoadPlan
from modelplug.errors import (
    BackendError,
    CapabilityError,
    ConfigError,
    ModelplugError,
    WorkerCrashedError,
    WorkerTimeoutError,
)
from modelplug.runtime import Runtime

REPORTS = {
    name: BackendReport(name=name, state=BackendState.GPU, engine="echo", plugin="misbehaving")
    for name in ("misbehaving", "sound")
}


def tried(misbehaving: Any, plans: list[LoadPlan], **options: Any) -> Loading:
    """What trying the plans comes to, the model closed again."""
    options.setdefault("deadlines", misbehaving.PATIENT)
    loading = load_first(misbehaving.demo_info(), plans, REPORTS, LoadOptions(**options), Runtime())
    if loading.engine is not None:
        loading.engine.model.close()
    return loading


def outline(loading: Loading) -> list[tuple[str, str, int, bool]]:
    """The attempts in short."""
    return [(a.plan.backend, a.plan.device, a.plan.gpu_layers, a.success) for a in loading.attempts]


def failing(backend: str, device: str, layers: int, error: ModelplugError) -> Attempt:
    """A failed attempt."""
    plan = LoadPlan(backend=backend, device=device, gpu_layers=layers)
    return Attempt(plan=plan, success=False, seconds=0.0, error=error)


def test_the_first_plan_that_works_is_used(misbehaving: Any) -> None:
    """Nothing is tried beyond the first success."""
    plans = [misbehaving.plan(), misbehaving.plan("sound")]
    loading = tried(misbehaving, plans)
    assert outline(loading) == [("misbehaving", "cpu", 0, True)]
    assert loading.plan is plans[0]
    assert loading.error is None
    assert loading.engine is not None
    assert loading.engine.resident_bytes > 1_000_000


def test_a_gpu_failure_tries_fewer_layers_then_the_cpu_then_the_next_engine(misbehaving: Any) -> None:
    """The way down is fewer layers, the CPU of the same engine, and only then another engine."""
    plans = [
        misbehaving.plan(device="cuda:0", gpu_layers=-1, most_layers=1),
        misbehaving.plan(device="cuda:0", gpu_layers=2, most_layers=1),
        misbehaving.plan(fault="sigsegv"),
        misbehaving.plan("sound"),
    ]
    announced: list[LoadPlan] = []
    loading = tried(misbehaving, plans, on_attempt=announced.append)
    assert outline(loading) == [
        ("misbehaving", "cuda:0", -1, False),
        ("misbehaving", "cuda:0", 2, False),
        ("misbehaving", "cpu", 0, False),
        ("sound", "cpu", 0, True),
    ]
    assert announced == plans
    causes = [a.error.cause for a in loading.attempts[:3] if isinstance(a.error, BackendError)]
    assert causes == ["out-of-memory", "out-of-memory", "crash"]
    assert loading.seconds >= sum(a.seconds for a in loading.attempts) * 0.99


def test_fewer_layers_are_enough(misbehaving: Any) -> None:
    """When fewer layers fit, neither the CPU nor another engine is tried."""
    plans = [
        misbehaving.plan(device="cuda:0", gpu_layers=4, most_layers=2),
        misbehaving.plan(device="cuda:0", gpu_layers=2, most_layers=2),
        misbehaving.plan(),
    ]
    assert outline(tried(misbehaving, plans))[-1] == ("misbehaving", "cuda:0", 2, True)


def test_an_engine_that_does_not_know_the_model_is_not_tried_again(misbehaving: Any) -> None:
    """After `unsupported`, neither fewer layers nor the CPU of that engine are tried."""
    fault = {"fault": "engine-error"}
    plans = [
        misbehaving.plan(device="cuda:0", gpu_layers=4, **fault),
        misbehaving.plan(device="cuda:0", gpu_layers=2, **fault),
        misbehaving.plan(**fault),
        misbehaving.plan("sound"),
    ]
    assert outline(tried(misbehaving, plans)) == [
        ("misbehaving", "cuda:0", 4, False),
        ("sound", "cpu", 0, True),
    ]


def test_the_error_is_that_of_the_first_attempt(misbehaving: Any) -> None:
    """When all fail, the failure that matters is the first one, and the last plan is what was tried last."""
    plans = [misbehaving.plan(fault="exception"), misbehaving.plan("sound", fault="sigabrt")]
    loading = tried(misbehaving, plans)
    assert loading.engine is None
    assert isinstance(loading.error, BackendError)
    assert loading.error.backend == "misbehaving"
    assert loading.plan is plans[1]


@pytest.mark.parametrize(
    ("fallback", "answer", "attempts", "stopped"),
    [
        ("never", None, 1, "fallback is switched off"),
        ("ask", None, 1, "nobody to ask"),
        ("ask", False, 1, "declined"),
        ("ask", True, 2, ""),
        ("auto", None, 2, ""),
    ],
)
def test_the_policy_decides_whether_to_go_on(
    misbehaving: Any, fallback: str, answer: bool | None, attempts: int, stopped: str
) -> None:
    """Never, ask (with and without somebody to ask) and auto do what they say, and say why they stopped."""
    asked: list[tuple[str, str]] = []

    def ask(failed: Attempt, following: LoadPlan) -> bool:
        asked.append((failed.plan.backend, following.backend))
        assert failed.error is not None
        return bool(answer)

    plans = [misbehaving.plan(fault="exception"), misbehaving.plan("sound", fault="exception")]
    on_fallback = None if answer is None else ask
    loading = tried(misbehaving, plans, fallback=fallback, on_fallback=on_fallback)
    assert len(loading.attempts) == attempts
    assert stopped in loading.stopped
    assert bool(stopped) == bool(loading.stopped)
    assert asked == ([] if answer is None else [("misbehaving", "sound")])


@pytest.mark.parametrize("fault", ["hang", "hang-with-lock", "exception", "fork-and-crash", "stray"])
def test_the_failed_attempt_is_gone_before_the_next_begins(
    misbehaving: Any, tmp_path: Path, fault: str
) -> None:
    """When the next plan starts, no process of the failed attempt holds memory any more."""
    from modelplug.backends.types import Deadlines

    journal = tmp_path / "journal"
    settings: dict[str, Any] = {"fault": fault, "journal": str(journal), "scratch": True}
    if fault == "stray":
        settings.update(fault="stray", most_layers=0)
    plans = [
        misbehaving.plan(device="cuda:0", gpu_layers=4, **settings),
        misbehaving.plan("sound", journal=str(journal)),
    ]
    left: list[set[int]] = []

    def look(plan: LoadPlan) -> None:
        if plan.backend == "sound":
            pid = int(journal.read_text().split()[-1])
            assert not misbehaving.running(pid)
            left.append({p for p in misbehaving.processes_with("MODELPLUG_SUPERVISED=") if p != pid})

    before = misbehaving.processes_with("MODELPLUG_SUPERVISED=")
    # What hangs is waited for to the end, so not for long, but long enough for the sound one to load.
    deadlines = Deadlines(start=60.0, load=4.0 if "hang" in fault else 60.0, close=0.2)
    loading = tried(misbehaving, plans, on_attempt=look, deadlines=deadlines)
    assert [attempt.success for attempt in loading.attempts] == [False, True]
    home = str(Runtime().paths.config)
    assert not [p for p in left[0] - before if home in _environment(p)]


def _environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""


def test_cancelling_stops_the_search(misbehaving: Any) -> None:
    """After a cancellation no further plan is tried."""
    import threading

    token = CancelToken()
    timer = threading.Timer(1.0, token.cancel)
    timer.start()
    plans = [misbehaving.plan(fault="hang"), misbehaving.plan("sound")]
    loading = tried(misbehaving, plans, cancel=token)
    timer.join()
    assert len(loading.attempts) == 1
    assert loading.stopped == "loading was cancelled"


# Cool-down ------------------------------------------------------------------------------------------------


def test_an_engine_that_keeps_dying_is_left_alone(misbehaving: Any) -> None:
    """After three deaths on a model the engine is passed over, across runs, with reason and way out."""
    plans = [misbehaving.plan(fault="sigsegv"), misbehaving.plan("sound")]
    for _ in range(3):
        assert isinstance(tried(misbehaving, plans).attempts[0].error, WorkerCrashedError)
    error = tried(misbehaving, plans).attempts[0].error
    assert isinstance(error, BackendError)
    assert error.cause == "cool-down"
    assert "--backend misbehaving" in error.advice
    explicit = tried(misbehaving, plans, explicit_backend=True).attempts[0].error
    assert isinstance(explicit, WorkerCrashedError)


@pytest.mark.parametrize("fault", ["exception", "engine-error", "memory"])
def test_an_exception_is_no_reason_for_a_cool_down(misbehaving: Any, fault: str) -> None:
    """Only deaths of the process count."""
    for _ in range(2):
        tried(misbehaving, [misbehaving.plan(fault=fault)])
    assert not (Runtime().paths.cache / COOLDOWN_FILE).exists()


def test_deaths_of_one_model_do_not_count_for_another(misbehaving: Any) -> None:
    """The cool-down is that of an engine and a model together."""
    cooldown = Cooldown(Runtime().paths.cache / COOLDOWN_FILE)
    for _ in range(3):
        cooldown.crashed("misbehaving", "another model")
    assert tried(misbehaving, [misbehaving.plan()]).engine is not None


# Which plans are worth trying -----------------------------------------------------------------------------

CAUSES: dict[str, tuple[ModelplugError, bool, bool]] = {
    # cause: (error, fewer layers on the same device, the CPU of the same engine)
    "crash": (WorkerCrashedError("x", exit_status=-11, backend="a", phase="load"), True, True),
    "illegal-instruction": (
        WorkerCrashedError("x", exit_status=-4, backend="a", phase="load", cause="illegal-instruction"),
        False,
        True,
    ),
    "timeout": (WorkerTimeoutError("x", seconds=1, backend="a", phase="load"), True, True),
    "exception": (BackendError("x", backend="a", phase="load"), True, True),
    "out-of-memory": (BackendError("x", backend="a", phase="load", cause="out-of-memory"), True, True),
    "unsupported": (CapabilityError("x", capability="embeddings", backend="a"), False, False),
    "start-failed": (BackendError("x", backend="a", phase="start", cause="start-failed"), False, False),
    "cool-down": (BackendError("x", backend="a", phase="start", cause="cool-down"), False, False),
    "settings": (ConfigError("x", key="threads"), False, False),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_plans_that_must_fail_likewise_are_skipped(cause: str) -> None:
    """Whether fewer layers or the CPU may still help depends on the cause; another engine always may."""
    error, fewer, cpu = CAUSES[cause]
    failed = LoadPlan(backend="a", device="cuda:0", gpu_layers=10)
    later = {
        "fewer": LoadPlan(backend="a", device="cuda:0", gpu_layers=5),
        "cpu": LoadPlan(backend="a"),
        "other": LoadPlan(backend="b"),
    }
    verdict = {name: _worth_trying(plan, failed, error) for name, plan in later.items()}
    assert verdict == {"fewer": fewer, "cpu": cpu, "other": True}


def test_the_time_of_every_attempt_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of every attempt is kept, also of those that fail."""

    def slow(*_: Any, **__: Any) -> None:
        time.sleep(0.05)
        raise BackendError("no", backend="sound", phase="load")

    monkeypatch.setattr(load_module, "start_engine", slow)
    from modelplug.data import demo_model_path
    from modelplug.formats import inspect

    plans = [LoadPlan(backend="sound"), LoadPlan(backend="misbehaving")]
    loading = load_first(inspect(demo_model_path()), plans, REPORTS, LoadOptions(), Runtime())
    assert [attempt.seconds >= 0.05 for attempt in loading.attempts] == [True, True]
