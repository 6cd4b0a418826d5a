"""Takes llamafile's arguments, and serves with the real llama.cpp server of xllamacpp.

Run as a program by the tests: `program.py --fake DIALECT:FAULT ARGUMENTS...`. Three dialects are spoken:
today's server directly, the two older ones through a small proxy in front of it. Faults are misbehaviours
that real programs have shown.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VERSIONS = {"v1": "0.9.3", "v2": "0.9.3", "modern": "0.10.4"}
LOADING_FAULTS = ("never-ready", "http-500", "mid-stream", "stalls", "no-endpoint", "flood")


def help_text(name: str) -> str:
    """What the program prints for `--help`."""
    text = (HERE / f"help_{name}.txt").read_text()
    if name == "modern":
        return text
    # Manual pages print bold as a letter, a backspace and the letter again.
    return re.sub(r"(?<![\w-])(--?[a-z][\w-]*)", lambda m: "".join(f"{c}\b{c}" for c in m[1]), text)


def known_flags(name: str) -> set[str]:
    """The flags that a dialect accepts."""
    text = (HERE / f"help_{name}.txt").read_text()
    lines = [line for line in text.splitlines() if re.match(r"\s*-", line)]
    return {flag for line in lines for flag in re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", line[:45])}


def parse(arguments: list[str], name: str) -> dict[str, str]:
    """The options on the command line; ends the program over one that is unknown."""
    options: dict[str, str] = {}
    known = known_flags(name) | {"--server", "--v2"}
    position = 0
    while position < len(arguments):
        flag = arguments[position]
        if flag not in known:
            print(f"error: unknown argument: {flag}", file=sys.stderr)
            sys.exit(1)
        following = arguments[position + 1] if position + 1 < len(arguments) else ""
        takes_value = bool(following) and (not following.startswith("-") or following[1:].isdigit())
        options[flag] = following if takes_value else ""
        position += 1 + takes_value
    return options


def model_file(path: str) -> str:
    """The model's file; a member of the program itself is unpacked, because the engine can't look inside."""
    if not path.startswith("/zip/"):
        return path
    with zipfile.ZipFile(os.environ["FAKE_LLAMAFILE_SELF"]) as archive:
        return archive.extract(path.removeprefix("/zip/"), Path.cwd())


def start_engine(options: dict[str, str], *, host: str, port: int, key: str) -> Any:
    """The real server, loaded with the model."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model_file(options["-m"])
    params.n_ctx = int(options["-c"])
    threads = int(options.get("-t", "1"))
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.n_parallel = 1
    params.warmup = False
    params.ui = False
    params.fit_params = False
    params.n_gpu_layers = 0
    params.hostnames = [host]
    params.port = port
    if key:
        params.api_keys = [key]
    if "--embedding" in options or "-l" in options:  # the second server always has them
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return xllamacpp.Server(params)


def report_gpu(options: dict[str, str], fault: str) -> None:
    """Say in the log what a program with a GPU says, or one without."""
    layers = int(options.get("-ngl", "0"))
    if fault.startswith("gpu-") and layers:
        placed = min(layers, int(fault.partition("-")[2]))
        print("load_tensors:        CUDA0 model buffer size =  1234.00 MiB", file=sys.stderr)
        print(f"load_tensors: offloaded {placed}/3 layers to GPU", file=sys.stderr, flush=True)


def sit_still() -> None:
    """Wait until told to end."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    while not stop.wait(0.2):
        pass
    os._exit(0)


def misbehave_before_loading(fault: str, port: int, options: dict[str, str]) -> None:
    """Fail, or do something noteworthy, as the fault says."""
    if fault == "dies-loading":
        print("llama_model_load: error loading model: tensor data out of memory", file=sys.stderr)
        time.sleep(0.2)
        sys.exit(1)
    if fault == "segfaults-loading":
        print("loading the model...", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == "refuses-port-zero" and port == 0:
        print("error: invalid port 0", file=sys.stderr)
        sys.exit(1)
    if fault == "ports-taken":
        print(f"couldn't bind to server socket: hostname=127.0.0.1 port={port}", file=sys.stderr)
        sys.exit(1)
    if fault == "first-port-taken":
        # The file tells how often this has been started: twice without success.
        count = Path(os.environ["FAKE_LLAMAFILE_COUNT"])
        count.write_text(str(int(count.read_text() or "0") + 1) if count.exists() else "1")
        if int(count.read_text()) < 3:
            print(f"couldn't bind to server socket: hostname=127.0.0.1 port={port}", file=sys.stderr)
            sys.exit(1)
    if fault == "forks":
        import subprocess

        child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])
        Path(os.environ["FAKE_LLAMAFILE_CHILD"]).write_text(str(child.pid))
    if fault == "says-arguments":
        print(f"arguments: {sys.argv[3:]}", file=sys.stderr, flush=True)
    report_gpu(options, fault)


def main() -> None:
    """Be a llamafile program."""
    dialect, _, fault = sys.argv[2].partition(":")
    arguments = sys.argv[3:]
    if fault == "help-hangs":
        sit_still()
    if "--help" in arguments:
        print(
            help_text(
                "v2"
                if "--v2" in arguments and dialect != "modern"
                else ("modern" if dialect == "modern" else "v1")
            )
        )
        return
    if "--version" in arguments:
        print(f"llamafile v{VERSIONS[dialect]}")
        return
    second = "--v2" in arguments
    options = parse(arguments, "modern" if dialect == "modern" else "v2" if second else "v1")
    address = options.get("-l", "")
    port = int(address.rpartition(":")[2] if second else options.get("--port", "8080"))
    misbehave_before_loading(fault, port, options)
    if dialect == "modern" and fault not in LOADING_FAULTS:
        engine = start_engine(options, host="127.0.0.1", port=port, key=os.environ.get("LLAMA_API_KEY", ""))
        assert engine is not None
        sit_still()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    inner = Path("inner.sock")  # relative: such paths may not be long
    if not second:
        # The first server listens before it has loaded, and says 503 meanwhile.
        listener.bind(("127.0.0.1", port))
    importlib.import_module("proxy").serve(
        listener,
        port,
        inner,
        lambda: start_engine(options, host=str(inner), port=1, key=""),
        dialect="v2" if second else dialect,
        fault=fault,
    )


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
