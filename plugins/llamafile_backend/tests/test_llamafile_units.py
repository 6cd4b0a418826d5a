"""Reading a program's help, building its command line, reading its log."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from modelplug.errors import BackendError, ConfigError
from modelplug_llamafile.abilities import Abilities, flags_in, probe_abilities, version_in
from modelplug_llamafile.command import build_launch, model_argument
from modelplug_llamafile.log_facts import facts_in, failure_in, port_trouble
from modelplug_llamafile.ports import free_port, listening_ports, ports_in_log
from modelplug_llamafile.settings import LlamafileSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelplug.backends.model import Model
    from modelplug.backends.types import LoadRequest

HERE = Path(__file__).parent
V1_FLAGS = flags_in((HERE / "fake_llamafile" / "help_v1.txt").read_text())
V2_FLAGS = flags_in((HERE / "fake_llamafile" / "help_v2.txt").read_text())
MODERN_FLAGS = flags_in((HERE / "fake_llamafile" / "help_modern.txt").read_text())
V1 = Abilities(version="0.9.3", flags=V1_FLAGS, flags_v2=V2_FLAGS)
MODERN = Abilities(version="0.10.4", flags=MODERN_FLAGS, environment=frozenset({"LLAMA_API_KEY"}))


def program_at(path: Path, mode: int = 0o755) -> Path:
    """A file that could be a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


# What the program understands ---------------------------------------------------------------------------


def test_flags_are_read_from_the_headings_of_a_help_text() -> None:
    """Every spelling of a flag is found; a flag in a sentence, as one that is gone, is not."""
    assert {"-m", "--model", "-ngl", "--n-gpu-layers", "--no-mmap", "--nobrowser", "--port"} <= V1_FLAGS
    assert "--mmap" not in V1_FLAGS
    assert "--v2" not in V1_FLAGS
    assert {"-np", "--parallel", "-lm", "--load-mode", "--no-webui", "--gpu-layers"} <= MODERN_FLAGS
    assert not {"--no-mmap", "--mlock"} & MODERN_FLAGS


def test_flags_printed_bold_are_read_as_well() -> None:
    """Manual pages strike letters over, and terminals colour them."""
    struck = "     " + "".join(f"{c}\b{c}" for c in "--nobrowser") + "\n\x1b[1m-m\x1b[0m F, --model F\n"
    assert flags_in(struck) == {"--nobrowser", "-m", "--model"}


@pytest.mark.parametrize(
    ("text", "version"),
    [("llamafile v0.9.3\n", "0.9.3"), ("version: 0.10.4 (abc)", "0.10.4"), ("hello", ""), ("", "")],
)
def test_the_version_is_read(text: str, version: str) -> None:
    """The number is taken from whatever sentence it stands in."""
    assert version_in(text) == version


def test_a_program_is_asked_once(fake: Callable[..., Path], tmp_path: Path) -> None:
    """The answer is kept per file; a file that changed is asked again; a broken answer is asked again."""
    program = fake("v1")
    cache = tmp_path / "cache"
    first = probe_abilities(program, cache)
    assert first.version == "0.9.3"
    assert first.flags >= V1_FLAGS
    assert first.flags_v2 == V2_FLAGS
    (entry,) = (cache / "llamafile-help").iterdir()
    text = program.read_text()
    program.chmod(0o644)
    assert probe_abilities(program, cache) == first
    program.chmod(0o755)
    entry.write_text("{")
    assert probe_abilities(program, cache) == first
    program.write_text(text.replace("v1:", "modern:"))
    os.utime(program, (1, 1))
    assert probe_abilities(program, cache).version == "0.10.4"


def test_a_cache_that_can_not_be_written_is_done_without(fake: Callable[..., Path], tmp_path: Path) -> None:
    """A file where the cache directory should be does not keep the program from being asked."""
    (tmp_path / "cache").write_text("")
    assert probe_abilities(fake("modern"), tmp_path / "cache").version == "0.10.4"


def test_a_program_that_is_no_llamafile_is_refused(tmp_path: Path) -> None:
    """A program whose help names no model flag is not started as a server."""
    program = tmp_path / "llamafile"
    program.write_text("#!/bin/sh\necho I am something else\n")
    program.chmod(0o755)
    with pytest.raises(BackendError, match="does not answer --help") as caught:
        probe_abilities(program, tmp_path / "cache")
    assert "I am something else" in caught.value.stderr_tail


# The command line ---------------------------------------------------------------------------------------


def arguments(
    request: LoadRequest, abilities: Abilities, settings: dict[str, Any] | None = None, **given: Any
) -> list[str]:
    """The command line for a request."""
    launch = build_launch(
        attrs.evolve(request, **given), LlamafileSettings(**(settings or {})), abilities, "M", "KEY"
    )
    return launch.with_port(0)


def value_of(flag: str, line: list[str]) -> str:
    """What follows a flag on a command line."""
    return line[line.index(flag) + 1]


@pytest.mark.parametrize("abilities", [V1, MODERN], ids=["v1", "modern"])
def test_only_known_flags_are_passed(request_for: Callable[..., LoadRequest], abilities: Abilities) -> None:
    """Whatever is asked for, nothing goes on the command line that the program does not list."""
    settings = {"use_mmap": False, "use_mlock": True, "batch_size": 64}
    for given in ({}, {"gpu_layers": -1, "device": "cuda:1"}, {"embeddings": True}):
        line = arguments(request_for(), abilities, settings, **given)
        flags = {word for word in line if word.startswith("-") and not word.lstrip("-").isdigit()}
        assert flags <= abilities.flags
        assert "--log-disable" not in line


def test_every_layer_is_999_on_a_gpu_that_is_named(request_for: Callable[..., LoadRequest]) -> None:
    """-1 becomes 999, and the brand is named, so that a GPU which does not work is an error."""
    line = arguments(request_for(), V1, gpu_layers=-1, device="cuda:1")
    assert (value_of("-ngl", line), value_of("--gpu", line)) == ("999", "nvidia")
    assert (value_of("-mg", line), value_of("-sm", line)) == ("1", "none")
    line = arguments(request_for(), V1, gpu_layers=7, device="rocm:0")
    assert (value_of("-ngl", line), value_of("--gpu", line)) == ("7", "amd")
    line = arguments(request_for(), V1, {"gpu": "vulkan"}, gpu_layers=7, device="cuda:0")
    assert value_of("--gpu", line) == "vulkan"


@pytest.mark.parametrize("given", [{}, {"device": "cuda:0", "gpu_layers": 0}])
def test_the_cpu_is_asked_for_explicitly(
    request_for: Callable[..., LoadRequest], given: dict[str, Any]
) -> None:
    """No layers and no GPU: some programs use one unless told otherwise."""
    line = arguments(request_for(), V1, **given)
    assert (value_of("-ngl", line), value_of("--gpu", line)) == ("0", "disable")


def test_memory_settings_follow_the_flags_there_are(request_for: Callable[..., LoadRequest]) -> None:
    """Old flags, the new one, or a note that there is none."""
    old = arguments(request_for(), V1, {"use_mmap": False, "use_mlock": True})
    assert {"--no-mmap", "--mlock"} <= set(old)
    new = arguments(request_for(), MODERN, {"use_mlock": True})
    assert value_of("-lm", new) == "mmap+mlock"
    assert value_of("-lm", arguments(request_for(), MODERN, {"use_mmap": False})) == "none"
    assert "-lm" not in arguments(request_for(), MODERN)
    bare = attrs.evolve(V1, flags=V1.flags - {"--no-mmap", "--mlock"})
    launch = build_launch(request_for(), LlamafileSettings(use_mmap=False, use_mlock=True), bare, "M", "KEY")
    assert len(launch.notes) == 2


def test_the_key_is_passed_where_only_the_program_sees_it(request_for: Callable[..., LoadRequest]) -> None:
    """In the environment if the program reads it there, else on the command line, else not at all."""
    modern = build_launch(request_for(), LlamafileSettings(), MODERN, "M", "KEY")
    assert modern.environment == {"LLAMA_API_KEY": "KEY"}
    assert "KEY" not in modern.arguments
    plain = build_launch(request_for(), LlamafileSettings(), V1, "M", "KEY")
    assert (plain.key, plain.environment) == ("", {})
    flag = attrs.evolve(V1, flags=V1.flags | {"--api-key"})
    assert "KEY" in build_launch(request_for(), LlamafileSettings(), flag, "M", "KEY").arguments


def test_the_second_server_is_started_its_own_way(request_for: Callable[..., LoadRequest]) -> None:
    """It listens with -l, and is only used when asked for and there."""
    line = arguments(request_for(), V1, {"server": "v2"})
    assert line[:2] == ["--server", "--v2"]
    assert value_of("-l", line) == "127.0.0.1:0"
    assert "--v2" not in arguments(request_for(), V1)
    assert "--v2" not in arguments(request_for(), MODERN, {"server": "v2"})


def test_arguments_that_decide_where_it_listens_are_reserved(
    request_for: Callable[..., LoadRequest],
) -> None:
    """The user's own arguments can't move the server or its model."""
    with pytest.raises(ConfigError, match="arguments"):
        request_for(settings={"arguments": ["--host", "0.0.0.0"]}).settings_as(LlamafileSettings)
    settings = request_for(settings={"arguments": ["--numa"]}).settings_as(LlamafileSettings)
    assert settings.arguments == ("--numa",)


def test_a_llamafile_reads_the_model_within_itself(tmp_path: Path) -> None:
    """The program that is the model is told the member's name, any other program the file's."""
    path = program_at(tmp_path / "model.llamafile")
    assert model_argument(path, "weights.gguf", path) == "/zip/weights.gguf"
    assert model_argument(path, "weights.gguf", tmp_path / "llamafile") == str(path)
    assert model_argument(path, None, path) == str(path)


# The log and the ports ----------------------------------------------------------------------------------


def test_the_log_says_where_the_layers_went() -> None:
    """The last word on offloading counts; silence is no number."""
    log = (
        "llm_load_tensors: offloaded 3/33 layers to GPU\n"
        "load_tensors:        CUDA0 model buffer size =  1234.00 MiB\n"
        "load_tensors: offloaded 20/33 layers to GPU\n"
    )
    facts = facts_in(log)
    assert (facts.offloaded, facts.layers, facts.device) == (20, 33, "CUDA0")
    assert facts_in("nothing of that kind").offloaded is None


@pytest.mark.parametrize(
    ("tail", "cause"),
    [
        ("run-detectors: unable to find an interpreter for ./llamafile", "start-failed"),
        ("ggml_cuda: cudaMalloc failed: out of memory", "out-of-memory"),
        ("error: unknown argument: --mmap", "unsupported"),
        ("error loading model: unknown model architecture: 'qwen9'", "unsupported"),
        (
            "fatal error: support for --gpu nvidia was explicitly requested, but it is not available",
            "unsupported",
        ),
        ("llama_load_model_from_file: failed to load model", "exception"),
    ],
)
def test_last_words_are_understood(tail: str, cause: str) -> None:
    """The usual reasons for giving up are recognised."""
    failure = failure_in(tail)
    assert failure is not None
    assert failure.cause == cause


def test_unknown_last_words_are_not_guessed_at() -> None:
    """What is not recognised is left to the reader."""
    assert failure_in("all is well") is None
    assert not port_trouble("all is well")
    assert port_trouble("couldn't bind to server socket: hostname=127.0.0.1 port=8080")


@pytest.mark.parametrize(
    "line",
    [
        "llama server listening at http://127.0.0.1:4711",
        "srv  init: listening on http://127.0.0.1:4711",
        "llamafile/server/listen.cpp:39 listen http://127.0.0.1:4711",
    ],
)
def test_the_log_names_the_port(line: str) -> None:
    """Each server's own words for it are understood."""
    assert ports_in_log(f"before\n{line}\nafter") == [4711]


def test_ports_are_those_of_our_own_processes() -> None:
    """Only sockets that belong to the process asked about are listed, and only listening ones."""
    with socket.socket() as listener, socket.socket() as bound:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        bound.bind(("127.0.0.1", 0))
        ports = listening_ports(os.getpid())
        assert ports is not None
        assert listener.getsockname()[1] in ports
        assert bound.getsockname()[1] not in ports
    assert listening_ports(2**22 + 1) == []
    assert free_port() > 0


# What is in force ---------------------------------------------------------------------------------------


def test_what_is_in_force_is_what_was_asked_for(load: Callable[..., Model]) -> None:
    """Without a difference there is no note."""
    effective = load("modern", threads=2, settings={"batch_size": 64}).effective
    assert (effective.backend, effective.device, effective.gpu_layers) == ("llamafile", "cpu", 0)
    assert (effective.context_size, effective.threads, effective.batch_size) == (512, 2, 64)
    assert effective.notes == ()


@pytest.mark.parametrize(
    ("fault", "asked", "device", "layers", "noted"),
    [
        ("gpu-3", -1, "cuda:0", 3, ""),
        ("gpu-2", 2, "cuda:0", 2, ""),
        ("gpu-1", -1, "cuda:0", 1, "1 are there"),
        ("gpu-0", -1, "cpu", 0, "0 are there"),
        ("", -1, "cpu", 0, "runs on the CPU"),
    ],
)
def test_the_gpu_that_is_really_used_is_reported(
    load: Callable[..., Model], fault: str, asked: int, device: str, layers: int, noted: str
) -> None:
    """Device and layers come from the program's log, and less than was asked for is noted."""
    effective = load("v1", fault, device="cuda:0", gpu_layers=asked).effective
    assert (effective.device, effective.gpu_layers) == (device, layers)
    assert (noted in " ".join(effective.notes)) if noted else effective.notes == ()


def test_a_smaller_context_than_asked_for_is_noted(load: Callable[..., Model]) -> None:
    """The context is what the server says; the model's own limit may be smaller."""
    effective = load("modern", context_size=1000).effective
    assert effective.context_size >= 512
    assert (effective.context_size == 1000) == (effective.notes == ())
