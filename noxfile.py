"""Every task there is: `nox -l` lists them, `nox -s NAME` runs one."""

from __future__ import annotations

import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "tests", "tests_resnet_bk"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
CONSTRAINTS = ("-c", "constraints.txt")
CORE = "./core"
PLUGINS = (
    "./plugins/llamacpp_backend",
    "./plugins/ctransformers_backend",
    "./plugins/transformers_backend",
    "./plugins/llamafile_backend",
)
MIGRATORS = "./migrators"
RESNET_BK = "./plugins/resnet_bk"
TEST_TOOLS = (
    "gguf",
    "hatchling",
    "hypothesis",
    "jsonschema",
    "playwright",
    "pytest",
    "pytest-benchmark",
    "pytest-timeout",
    "pytest-xdist",
    "ruamel.yaml",
    "scipy",
    "sentencepiece",
    "xllamacpp",
)
PACKAGES = (
    "core/src/modelplug",
    "plugins/llamacpp_backend/src/modelplug_llamacpp",
    "plugins/ctransformers_backend/src/modelplug_ctransformers",
    "plugins/transformers_backend/src/modelplug_transformers",
    "plugins/llamafile_backend/src/modelplug_llamafile",
    "plugins/resnet_bk/src/resnet_bk",
    "migrators/src/modelplug_migrators",
    "noxfile.py",
)


def install(session: nox.Session, *packages: str) -> None:
    """Install with the pinned versions, quietly."""
    session.install("--quiet", *CONSTRAINTS, *packages)


def install_everything(session: nox.Session) -> None:
    """Install the core and every plugin from this checkout, with their engines."""
    # torch comes first and by itself: with the pin in force nothing after it can ask for a larger build.
    install(session, "torch")
    install(session, CORE, *PLUGINS, MIGRATORS, *TEST_TOOLS)


@nox.session
def demo(session: nox.Session) -> None:
    """Install the core and the llama.cpp plugin, and let the bundled model speak."""
    install(session, CORE, PLUGINS[0])
    prompt = " ".join(session.posargs) or "ROMEO:"
    session.run("modelplug", "run", "demo", prompt, "--max-tokens", "120", "--seed", "7", "--stats")


@nox.session
def tests(session: nox.Session) -> None:
    """Run every test; arguments after `--` go to pytest."""
    install_everything(session)
    folders = ["core/tests", *sorted(map(str, Path("plugins").glob("*_backend"))), "migrators", "tests"]
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "2", "--dist", "loadfile", *folders]))


def install_resnet_bk(session: nox.Session) -> None:
    """Install the ResNet-BK family with all that its tests and benchmarks need, and the migrations to it."""
    install(session, "torch")
    install(session, CORE, f"{RESNET_BK}[testing]", MIGRATORS, "datasets", *TEST_TOOLS)


@nox.session
def tests_resnet_bk(session: nox.Session) -> None:
    """Run the tests of the ResNet-BK family; arguments after `--` go to pytest."""
    install_resnet_bk(session)
    folders = [f"{RESNET_BK}/tests", *sorted(map(str, Path("tests").glob("test_resnet_bk_*.py")))]
    arguments = session.posargs or ["-n", "2", "--dist", "loadfile", "-m", "not slow", *folders]
    session.run("python", "-m", "pytest", *arguments)


@nox.session
def long(session: nox.Session) -> None:
    """Run what takes minutes: ResNet-BK over a million tokens, in less than 1 GB."""
    install_resnet_bk(session)
    session.run("python", "-m", "pytest", *(session.posargs or ["-m", "slow", f"{RESNET_BK}/tests"]))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    install(session, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    libraries = ("libcst", "numpy", "ruamel.yaml", "safetensors", "tokenizers")
    install(session, "mypy", "nox", "pytest", "hypothesis", "types-psutil", *libraries, CORE)
    paths = ":" if sys.platform != "win32" else ";"
    folders = [ROOT / "core/src", *sorted(ROOT.glob("plugins/*/src")), ROOT / "migrators/src"]
    session.run(
        "mypy",
        *(package for package in PACKAGES if (ROOT / package).exists()),
        env={"MYPYPATH": paths.join(map(str, folders))},
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what the documentation claims, as ratios within one run; results go to bench-results/."""
    install_everything(session)
    session.run("python", "tests/bench/run.py", *session.posargs)


@nox.session(name="bench-resnet-bk")
def bench_resnet_bk(session: nox.Session) -> None:
    """Compare ResNet-BK with other models and kernels; takes hours, and goes on where it was stopped."""
    install_resnet_bk(session)
    text = session.posargs or ["../shared/data/tiny-shakespeare.txt"]
    folder = f"{RESNET_BK}/bench"
    session.run("python", f"{folder}/bench_resolvent.py")
    session.run("python", f"{folder}/lengths.py")
    session.run("python", f"{folder}/quality.py", "--text", *text)
    session.run("python", f"{folder}/quality.py", "--text", *text, "--timing")
    session.run("python", f"{folder}/recall.py")
    session.run("python", f"{folder}/report.py")
