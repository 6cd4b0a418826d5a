"""What `resnet-bk doctor` examines: kernels, packages and threads as plain data, and what is wrong there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from modelplug.cli.doctor_report import Report
from modelplug.errors import ModelplugError
from resnet_bk._version import __version__

if TYPE_CHECKING:
    from modelplug.system.info import SystemInfo

__all__ = ["examine"]

_NEEDED: Final = {
    "torch": "computing",
    "transformers": "models",
    "tokenizers": "text",
    "safetensors": "weights",
    "numpy": "data",
}
_OPTIONAL: Final = {
    "triton": "kernels on NVIDIA GPUs",
    "accelerate": "training in several processes",
    "sentencepiece": "SentencePiece tokenizers",
    "datasets": "texts in saved Hugging Face datasets",
    "tensorboard": "TensorBoard's view of a training run",
    "rich": "progress bars while training",
}
# Triton compiles everything anew the first time.
_DEADLINE: Final = 300.0


def examine() -> Report:
    """Examine everything; kernels compute in processes of their own, which takes seconds."""
    from modelplug.system import probe

    report, system = Report(), probe()
    report.sections["program"] = {
        "version": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
    }
    report.sections["packages"] = _packages(report)
    if any(item["needed"] and not item["version"] for item in report.sections["packages"]):
        return report
    report.sections["torch"] = _torch(report, system)
    report.sections["kernels"] = _kernels(report, system)
    report.sections["checks"] = _checks(report)
    order = ("problem", "warning", "note")
    report.findings.sort(key=lambda finding: order.index(finding.severity))
    return report


# Packages ------------------------------------------------------------------------------------------------


def _packages(report: Report) -> list[dict[str, Any]]:
    found = []
    for name, use in {**_NEEDED, **_OPTIONAL}.items():
        version = _version_of(name)
        needed = name in _NEEDED
        found.append({"name": name, "version": version, "for": use, "needed": needed})
        if not version and (needed or name != "triton"):
            report.find(
                "problem" if needed else "note",
                f"package {name}",
                f"not installed: it is for {use}",
                f"{sys.executable} -m pip install {name}",
            )
    return found


def _version_of(name: str) -> str:
    if importlib.util.find_spec(name) is None:
        return ""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        # It can be imported, from a folder that no installer knows of.
        return "unknown"


# torch ---------------------------------------------------------------------------------------------------


def _torch(report: Report, system: SystemInfo) -> dict[str, Any]:
    import torch

    threads, usable = torch.get_num_threads(), system.cpu.usable_cores
    if threads > usable:
        report.find(
            "warning",
            "threads",
            f"torch computes with {threads} threads, and this process may use {usable} cores",
            f"export OMP_NUM_THREADS={usable}",
        )
    seen = torch.cuda.is_available()
    cards = [device for device in system.visible_devices if device.api == "cuda"]
    if cards and not seen:
        built = torch.version.cuda
        why = f"built for CUDA {built}, which it can't use here" if built else "built without CUDA"
        report.find(
            "warning",
            "torch",
            f"it does not see {cards[0].name}: torch {torch.__version__} is {why}",
            "Install the build of torch that suits the driver; its installation page names the command.",
        )
    return {
        "version": torch.__version__,
        "threads": threads,
        "usable_cores": usable,
        "cuda": torch.version.cuda if seen else None,
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }


# Kernels -------------------------------------------------------------------------------------------------


def _kernels(report: Report, system: SystemInfo) -> dict[str, Any]:
    import torch

    from resnet_bk.resolvent.selection import VARIABLE

    present = {"cpu": True, "cuda": torch.cuda.is_available()}
    found = {device: {"present": there, **_kernels_on(device)} for device, there in present.items()}
    wish = os.environ.get(VARIABLE, "")
    broken = [device for device, item in found.items() if item["present"] and not item["chosen"]]
    for device in broken:
        report.find(
            "problem" if len(broken) == sum(present.values()) else "warning",
            f"kernels on {device}",
            f"{VARIABLE}={wish} keeps everything from being computed there: {found[device]['reason']}",
            f"unset {VARIABLE}",
        )
    _judge_cpu(report, found["cpu"], system)
    if present["cuda"] and not _usable(found["cuda"], "triton"):
        report.find(
            "warning",
            "kernels on cuda",
            "Triton is not installed, so PyTorch operations compute, many times slower",
            f"{sys.executable} -m pip install triton",
        )
    return {"override": wish or None, "devices": found}


def _kernels_on(device: str) -> dict[str, Any]:
    from resnet_bk.resolvent import choose_kernel, kernel_report

    try:
        choice = choose_kernel(device)
        chosen, reason = choice.name, choice.reason
    except ModelplugError as error:
        chosen, reason = "", f"{error.what}" + (f" ({error.why})" if error.why else "")
    with _without_override():
        every = kernel_report(device)
    kernels = [{"name": each.name, "usable": each.usable, "reason": each.reason} for each in every]
    return {"chosen": chosen, "reason": reason, "kernels": kernels}


def _usable(found: dict[str, Any], name: str) -> bool:
    return any(kernel["usable"] for kernel in found["kernels"] if kernel["name"] == name)


@contextmanager
def _without_override() -> Iterator[None]:
    """Within it every kernel is judged for itself."""
    from resnet_bk.resolvent.selection import VARIABLE

    before = os.environ.pop(VARIABLE, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[VARIABLE] = before


def _judge_cpu(report: Report, found: dict[str, Any], system: SystemInfo) -> None:
    compiled = next(kernel for kernel in found["kernels"] if kernel["name"] == "cpu")
    if not compiled["usable"]:
        report.find(
            "warning",
            "kernels on cpu",
            f"PyTorch operations compute, many times slower: {compiled['reason']}",
            _rebuild(system),
        )
    elif "one thread" in compiled["reason"]:
        report.find(
            "note",
            "kernels on cpu",
            "the compiled kernels compute with one thread: the compiler that built them had no OpenMP",
            _rebuild(system),
        )


def _rebuild(system: SystemInfo) -> str:
    from modelplug.backends.known import KNOWN_BACKENDS, install_command

    if system.os == "windows":
        return "The kernels can't be compiled on Windows; the Windows Subsystem for Linux can."
    compiler = "a C compiler (gcc or clang, with OpenMP)"
    again = install_command(KNOWN_BACKENDS["resnet-bk"]).replace(
        "pip install ", "pip install --force-reinstall "
    )
    return f"Install {compiler}, and build again: {again}"


# Checks --------------------------------------------------------------------------------------------------


def _checks(report: Report) -> list[dict[str, Any]]:
    found = []
    for device, item in report.sections["kernels"]["devices"].items():
        for kernel in item["kernels"]:
            if item["present"] and kernel["usable"]:
                checks = _check(kernel["name"], device)
                found.extend(checks)
                _judge_checks(report, checks, chosen=kernel["name"] == item["chosen"])
    return found


def _check(kernel: str, device: str) -> list[dict[str, Any]]:
    """What a process that lets the kernel compute had to say."""
    from modelplug.system.child import run_child
    from resnet_bk.resolvent.selection import VARIABLE

    environ = {name: value for name, value in os.environ.items() if name != VARIABLE}
    # Several threads would only wait for each other, with so little to do.
    environ["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "resnet_bk.cli.kernel_checks", kernel, device]
    result = run_child(command, deadline=_DEADLINE, environ=environ)
    if result.ok:
        checks: list[dict[str, Any]] = json.loads(result.stdout.strip().rpartition("\n")[2])
        return checks
    return [
        {"kernel": kernel, "device": device, "operation": "all", "passed": False, "problem": result.failure}
    ]


def _judge_checks(report: Report, checks: list[dict[str, Any]], *, chosen: bool) -> None:
    from resnet_bk.resolvent.selection import VARIABLE

    failed = [check for check in checks if not check["passed"]]
    if not failed:
        return
    first = failed[0]
    where = f"kernel {first['kernel']} on {first['device']}"
    precision = f" in {first['precision']}" if first.get("precision") else ""
    what = first["problem"] or f"its error is {first['error']:.1e}, and should be below {first['limit']:.0e}"
    advice = f"export {VARIABLE}=torch" if first["kernel"] != "torch" else "Install torch again."
    report.find(
        "problem" if chosen else "warning",
        where,
        f"{len(failed)} of {len(checks)} checks failed; {first['operation']}{precision}: {what}",
        advice,
    )
