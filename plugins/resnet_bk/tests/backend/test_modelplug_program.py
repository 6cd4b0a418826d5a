"""`modelplug` with ResNet-BK models, as a user runs it: a process of its own, with real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from modelplug.testing.conformance.watching import Tree, wait_until
from resnet_bk.backend.demo_model import demo_directory
from resnet_bk.modeling import ResNetBK

pytestmark = pytest.mark.integration
GREEDY = ("--temperature", "0", "--threads", "1")


def modelplug(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The program's result."""
    return subprocess.run(
        [sys.executable, "-m", "modelplug", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def answer(*arguments: str) -> dict[str, Any]:
    """What a verb prints as JSON."""
    done = modelplug(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def started(*arguments: str) -> subprocess.Popen[str]:
    """The program, running, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "modelplug", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run in the background may ignore Ctrl-C themselves, and hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@torch.no_grad()
def test_the_demo_runs_by_its_name() -> None:
    """`modelplug run demo-resnet-bk` chooses this backend, and says what the library says."""
    done = modelplug("run", "demo-resnet-bk", "ROMEO:", "--max-tokens", "12", *GREEDY, "--json")
    assert done.returncode == 0, done.stderr
    *chunks, last = map(json.loads, done.stdout.splitlines())
    model = ResNetBK.from_pretrained(demo_directory(), dtype=torch.float32)
    tokenizer = pytest.importorskip("tokenizers").Tokenizer.from_file(
        str(demo_directory() / "tokenizer.json")
    )
    prompt = torch.tensor([tokenizer.encode("ROMEO:").ids])
    expected = model.generate(prompt, max_new_tokens=12, do_sample=False)[0, prompt.shape[1] :]

    assert last["load"]["effective"]["backend"] == "resnet-bk"
    assert (last["finish_reason"], last["stats"]["completion_tokens"]) == ("length", 12)
    assert "".join(chunk["text"] for chunk in chunks) == tokenizer.decode(expected.tolist())


def test_what_the_demo_is_is_told_by_its_name() -> None:
    """`inspect` says how large model and state are, how it mixes, and which backend can run it."""
    info = answer("inspect", "demo-resnet-bk")
    (cache,) = {entry["need"]["kv_host"] for entry in info["memory"]}

    assert (info["architecture"], info["parameters"]) == ("resnet_bk", 1_078_800)
    assert (info["state_bytes"], cache) == (135_552, 135_552)
    assert info["metadata"]["mixer"] == "green"
    assert info["compatible_backends"] == ["resnet-bk"]
    assert "transformers" in info["incompatible_backends"]


def test_this_backend_is_recommended_for_it() -> None:
    """`recommend` has no other suggestion, and none to fall back to that can't run it."""
    recommendation = answer("recommend", "demo-resnet-bk")

    assert recommendation["backend"] == "resnet-bk"
    assert {plan["backend"] for plan in recommendation["plans"]} == {"resnet-bk"}


def test_it_is_listed_among_models_and_backends() -> None:
    """`models list` says where it comes from, and `backends` that its engine works."""
    models = {model["name"]: model for model in json.loads(modelplug("models", "list", "--json").stdout)}
    backends = {backend["name"]: backend for backend in answer("backends")["backends"]}

    assert models["demo-resnet-bk"]["distribution"] == "modelplug-resnet-bk"
    assert models["demo-resnet-bk"]["architecture"] == "resnet_bk"
    assert backends["resnet-bk"]["state"] in ("cpu", "gpu")


def test_a_conversation_is_refused_at_once() -> None:
    """Without a chat template the error comes before the first message, with what to do instead."""
    done = modelplug("chat", "demo-resnet-bk")

    assert done.returncode == 1
    assert "no chat template" in done.stderr
    assert "`modelplug run`" in done.stderr


def test_ctrl_c_ends_it_and_its_worker() -> None:
    """130, the text so far, and no process left."""
    process = started("run", "demo-resnet-bk", "ROMEO:", "--max-tokens", "100000", *GREEDY)
    assert process.stdout is not None
    process.stdout.read(4)
    tree = Tree(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()

    assert process.returncode == 130
    assert errors.rstrip().endswith("interrupted")
    assert tree.wait_gone(10) == []


@pytest.mark.parametrize("when", ["loading", "generating"])
def test_killing_it_leaves_no_worker(when: str) -> None:
    """Whenever the program dies, its worker follows."""
    process = started("run", "demo-resnet-bk", "ROMEO:", "--max-tokens", "100000", *GREEDY)
    assert process.stdout is not None
    if when == "generating":
        process.stdout.read(4)
    else:
        assert wait_until(lambda: len(Tree(process.pid).living()) > 1, 60)
    tree = Tree(process.pid)
    process.kill()
    process.communicate()

    assert len(tree.living()) < 10
    assert tree.wait_gone(10) == []


def test_a_run_folder_is_run(tmp_path: Path) -> None:
    """What `resnet-bk train` left is named as a whole: the newest checkpoint in it is meant."""
    from resnet_bk.checkpoints import CheckpointManager

    model = ResNetBK.from_pretrained(demo_directory(), dtype=torch.float32)
    tokenizer = (demo_directory() / "tokenizer.json").read_bytes()
    manager = CheckpointManager(tmp_path / "run" / "checkpoints")
    for step in (1, 2):
        newest = manager.save_checkpoint(
            model=model, epoch=0, step=step, extra_files={"tokenizer.json": tokenizer}
        )
    done = modelplug("run", str(tmp_path / "run"), "ROMEO:", "--max-tokens", "4", *GREEDY)

    assert answer("inspect", str(tmp_path / "run"))["path"] == str(newest)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
