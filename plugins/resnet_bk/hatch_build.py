"""Compiles the CPU kernels into the wheel; without a C compiler the wheel is pure Python and still works.

The kernels are compiled once for each instruction set and linked into one library, which looks at the
processor when it is loaded: a wheel runs on machines older and newer than the one that built it.

Environment: `CC` names the compiler; `RESNET_BK_NATIVE` is `require` (no compiler is an error), `off` (none
    is
looked for) or `auto`, the default.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY = "resolvent_kernels" + (".dylib" if sys.platform == "darwin" else ".so")
PACKAGE = Path("resnet_bk") / "resolvent" / "kernels"
# Exact arithmetic: nothing that lets the compiler reorder sums or assume that values are finite. Loops that
# copy a few numbers stay loops: a call takes longer.
FLAGS = (
    "-std=gnu11",
    "-O3",
    "-fPIC",
    "-fno-math-errno",
    "-fno-tree-loop-distribute-patterns",
    "-fvisibility=default",
    "-Wno-psabi",
)
X86_VARIANTS = {
    "_baseline": (),
    "_avx2": ("-mavx2", "-mfma"),
    "_avx512": (
        "-mavx2",
        "-mfma",
        "-mavx512f",
        "-mavx512dq",
        "-mavx512vl",
        "-mavx512bw",
        "-mprefer-vector-width=512",
    ),
}


class CompileError(Exception):
    """The compiler is there and did not do it."""


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the compiled library to a wheel, or to the source folder of an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, as far as a compiler is there, and say so in the wheel's tag."""
        wish = os.environ.get("RESNET_BK_NATIVE", "auto")
        compiler = None if wish == "off" else find_compiler()
        if compiler is None:
            if wish == "require":
                msg = (
                    "RESNET_BK_NATIVE=require, but there is no C compiler (cc, gcc, clang, or what CC names)"
                )
                raise RuntimeError(msg)
            self.app.display_warning("no C compiler: building without the compiled CPU kernels")
            return
        if version == "editable":
            target = Path(self.root) / "src" / PACKAGE / LIBRARY
        else:
            folder = tempfile.TemporaryDirectory(prefix="resnet-bk-")
            self._folder = folder  # lives until the wheel is written
            target = Path(folder.name) / LIBRARY
            build_data["force_include"][str(target)] = str(PACKAGE / LIBRARY)
        try:
            compile_library(compiler, Path(self.root) / "native", target)
        except CompileError as error:
            if wish == "require":
                raise
            self.app.display_warning(f"building without the compiled CPU kernels: {error}")
            build_data["force_include"].pop(str(target), None)
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{wheel_platform()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove what was compiled for a wheel."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            folder.cleanup()


def wheel_platform() -> str:
    """The platform part of the wheel's tag."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def find_compiler() -> str | None:
    """The C compiler to use, or None."""
    if sys.platform == "win32":
        return None  # the kernels use vector types that Microsoft's compiler does not know
    names = [os.environ["CC"].split()[0]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    return next((path for name in names if (path := shutil.which(name))), None)


def compile_library(compiler: str, sources: Path, target: Path) -> None:
    """Compile every variant and link them into `target`.

    Raises:
        CompileError: The compiler failed, with what it said.
    """
    variants = X86_VARIANTS if platform.machine() in {"x86_64", "AMD64"} else {"_baseline": ()}
    with tempfile.TemporaryDirectory(prefix="resnet-bk-objects-") as name:
        folder = Path(name)
        threads = ("-fopenmp",) if _can_thread(compiler, folder) else ()
        commands = [
            [compiler, *FLAGS, *threads, *flags, f"-DVARIANT={variant}", "-c", sources / "kernels.c"]
            for variant, flags in variants.items()
        ]
        commands.append([compiler, *FLAGS, *threads, "-c", sources / "features.c"])
        objects = [folder / f"{number}.o" for number in range(len(commands))]
        running = [
            subprocess.Popen([*map(str, command), "-o", str(output)], stderr=subprocess.PIPE, text=True)
            for command, output in zip(commands, objects, strict=True)
        ]
        problems = [process.communicate()[1] for process in running]
        for process, problem in zip(running, problems, strict=True):
            if process.returncode:
                raise CompileError(problem.strip()[-2000:])
        target.parent.mkdir(parents=True, exist_ok=True)
        # Linked beside the target and moved: a library that a running program has loaded must not be written
        # into.
        fresh = target.with_name(target.name + ".new")
        _run([compiler, "-shared", *threads, *map(str, objects), "-lm", "-o", str(fresh)])
        fresh.replace(target)


def _can_thread(compiler: str, folder: Path) -> bool:
    probe = folder / "probe.c"
    probe.write_text("#include <omp.h>\nint probe(void) { return omp_get_max_threads(); }\n")
    try:
        _run([compiler, "-fopenmp", "-fPIC", "-shared", str(probe), "-o", str(folder / "probe.so")])
    except CompileError:
        return False
    return True


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise CompileError(result.stderr.strip()[-2000:])
