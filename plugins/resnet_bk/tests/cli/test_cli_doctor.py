"""`resnet-bk doctor`: what it says of kernels, packages and threads, and what it thinks of faults."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import modelplug.system
import modelplug.system.child
from modelplug.system.child import run_child
from resnet_bk.cli import examination, kernel_checks
from resnet_bk.cli.kernel_checks import check_kernel
from resnet_bk.resolvent.kernels import cpu_library

Invoke = Callable[..., Any]
KERNEL = "RESNET_BK_KERNEL"


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every kernel for right, without the seconds that letting them compute takes."""

    def check(kernel: str, device: str) -> list[dict[str, Any]]:
        own = {"kernel": kernel, "device": device, "operation": "diagonal", "passed": True, "problem": ""}
        return [{**own, "precision": each, "error": 0.0, "limit": 1.0} for each in ("float32", "float64")]

    monkeypatch.setattr(examination, "_check", check)


def findings(outcome: Any) -> list[tuple[str, str, str]]:
    """Severity, subject and advice of every finding."""
    found = json.loads(outcome.out)["findings"]
    return [(item["severity"], item["about"], item["advice"]) for item in found]


def test_a_sound_installation_is_called_that(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kernel that runs here computes in a process of its own and is right; the exit status is 0."""
    monkeypatch.delenv(KERNEL, raising=False)
    outcome = invoke("doctor", "--json")
    report = json.loads(outcome.out)
    checked = {(check["kernel"], check["operation"], check["precision"]) for check in report["checks"]}
    usable = [each["name"] for each in report["kernels"]["devices"]["cpu"]["kernels"] if each["usable"]]

    assert (outcome.status, report["healthy"]) == (0, True)
    assert len(checked) == 8 * len(usable)
    assert all(check["passed"] for check in report["checks"])
    assert report["torch"]["version"] == torch.__version__
    assert {"torch", "accelerate", "triton"} <= {item["name"] for item in report["packages"]}


@pytest.mark.usefixtures("trusting")
def test_people_read_which_kernel_computes_and_why(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text has a section for each device, also for one that is not there."""
    monkeypatch.setenv(KERNEL, "torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    outcome = invoke("doctor")

    assert outcome.status == 0
    assert "computes  torch: the environment variable RESNET_BK_KERNEL names it" in outcome.out
    assert "checked against dense inverses: largest error 0e+00 in float32" in outcome.out
    assert "Kernels on cuda\n  would compute  torch: " in outcome.out
    assert "Threads           1 of " in outcome.out


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("wish", ["triton", "nonsense"])
def test_a_wish_that_can_not_be_fulfilled_is_a_problem(
    wish: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that does not run here, or that does not exist, keeps everything from being computed."""
    monkeypatch.setenv(KERNEL, wish)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    outcome = invoke("doctor", "--json")

    assert outcome.status == 1
    assert findings(outcome)[0] == ("problem", "kernels on cpu", f"unset {KERNEL}")
    assert os.environ[KERNEL] == wish
    assert json.loads(outcome.out)["kernels"]["devices"]["cpu"]["kernels"]


@pytest.mark.usefixtures("trusting")
def test_missing_compiled_kernels_are_a_warning(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are computed rightly without them, only slowly, and there is a way out."""
    monkeypatch.delenv(KERNEL, raising=False)
    monkeypatch.setattr(cpu_library, "why_not", lambda: "it was built without a C compiler")
    outcome = invoke("doctor", "--json")
    ((severity, _, advice),) = (f for f in findings(outcome) if f[1] == "kernels on cpu")

    assert (outcome.status, severity) == (0, "warning")
    assert "C compiler" in advice
    assert "--force-reinstall" in advice
    assert json.loads(outcome.out)["kernels"]["devices"]["cpu"]["chosen"] == "torch"


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("name", "status", "severity"), [("tensorboard", 0, "note"), ("tokenizers", 1, "problem")]
)
def test_a_missing_package_is_named(
    name: str, status: int, severity: str, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it is for, and what to type; without one that is needed nothing else is examined."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda each, *rest: None if each == name else real(each, *rest)
    )
    outcome = invoke("doctor", "--json")

    assert outcome.status == status
    assert (severity, f"package {name}", f"{sys.executable} -m pip install {name}") in findings(outcome)
    assert ("kernels" in json.loads(outcome.out)) == (severity == "note")
    assert f"{name}  " in invoke("doctor").out


@pytest.mark.usefixtures("trusting")
def test_more_threads_than_cores_are_a_warning(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads without a core of their own wait for each other."""
    real = modelplug.system.probe()
    cramped = SimpleNamespace(
        cpu=SimpleNamespace(usable_cores=0), visible_devices=real.visible_devices, os=real.os
    )
    monkeypatch.setattr(modelplug.system, "probe", lambda: cramped)

    assert ("warning", "threads", "export OMP_NUM_THREADS=0") in findings(invoke("doctor", "--json"))


def test_a_kernel_that_ends_its_process_is_a_problem(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instructions that the processor does not know cost a process, and not the report."""

    def die(command: list[str], **options: Any) -> Any:
        script = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
        return run_child([command[0], "-c", script], **options)

    monkeypatch.setattr(modelplug.system.child, "run_child", die)
    outcome = invoke("doctor", "--json")

    assert outcome.status == 1
    assert "SIGILL" in json.loads(outcome.out)["findings"][0]["what"]
    assert "WRONG: 1 of 1 checks" in invoke("doctor").out


def test_a_kernel_that_computes_wrongly_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small error fails the check of that operation, and what raises fails with its words."""
    real = kernel_checks.green_diagonal

    def broken(*_: Any, **__: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(kernel_checks, "green_diagonal", lambda *a, **k: real(*a, **k) * (1 + 1e-3))
    monkeypatch.setattr(kernel_checks, "gated_state", broken)
    failed = {check.operation: check.problem for check in check_kernel("torch", "cpu") if not check.passed}

    assert failed == {"diagonal": "", "gradient": "", "state": "MemoryError: no room"}


def test_what_is_not_a_number_is_no_small_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN passes no check."""
    real = kernel_checks.green_diagonal
    monkeypatch.setattr(kernel_checks, "green_diagonal", lambda *a, **k: real(*a, **k) * float("nan"))

    assert not any(check.passed for check in check_kernel("torch", "cpu") if check.operation == "diagonal")
