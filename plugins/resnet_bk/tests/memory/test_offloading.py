"""What is not in use goes elsewhere, and nothing that is computed changes."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_bk import ResNetBK
from resnet_bk.memory import MemoryOptimizer, MemorySavingError, NothingToOffloadWarning
from resnet_bk.memory.installed import installed_in
from resnet_bk.memory.parameters import LayersOnCpu, layers_of

without_accelerator = pytest.mark.skipif(torch.accelerator.is_available(), reason="there is an accelerator")


# In a process of its own: one that has run for a while takes tensors from what it freed before.
LEAVING = """
import json, sys
from pathlib import Path

import torch

from resnet_bk.memory import MemoryOptimizer


def anonymous_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


model = torch.nn.Linear(4000, 2500)
optimizer = MemoryOptimizer(use_cpu_offload=True, offload_folder=sys.argv[1])
before = anonymous_bytes()
optimizer.optimize(model)
during = anonymous_bytes()
with torch.no_grad():
    model(torch.zeros(1, 4000))
used = anonymous_bytes()
optimizer.restore(model)
print(json.dumps([before, during, used, anonymous_bytes()]))
"""


@without_accelerator
def test_without_an_accelerator_there_is_nothing_to_do(model: Any, step: Callable[..., None]) -> None:
    """It says so once, with what to do about it, and the model is as it was."""
    optimizer = MemoryOptimizer(use_cpu_offload=True)
    before = optimizer.measure(lambda: step(model), model)
    with pytest.warns(NothingToOffloadWarning, match="there is no accelerator: name an offload_folder"):
        optimizer.optimize(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.optimize(model)

    assert optimizer.measure(lambda: step(model)) == before
    saving = optimizer.report()["use_cpu_offload"]
    assert saving.state == "nothing to do"
    assert "offload_folder" in saving.reason


def test_gradients_survive_a_folder(
    make_model: Callable[..., Any],
    gradients: Callable[..., dict[str, torch.Tensor]],
    kind: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Saved tensors come back from the file as they went, and nothing stays in the folder."""
    expected = gradients(make_model(**kind))
    model = MemoryOptimizer(use_cpu_offload=True, offload_folder=tmp_path).optimize(make_model(**kind))
    found = gradients(model)
    # They come back contiguous, for which sums may be in another order.
    assert all(torch.allclose(found[name], expected[name], rtol=1e-4, atol=1e-8) for name in expected)

    both = MemoryOptimizer(use_cpu_offload=True, offload_folder=tmp_path, use_gradient_checkpointing=True)
    found = gradients(both.optimize(make_model(**kind)))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    if sys.platform != "win32":
        assert list(tmp_path.iterdir()) == []


def test_next_to_nothing_is_saved_in_memory(model: Any, step: Callable[..., None], tmp_path: Path) -> None:
    """What leaves is counted, what stays is small, and the peak is lower."""
    optimizer = MemoryOptimizer(use_cpu_offload=True, offload_folder=tmp_path / "made")
    before = optimizer.measure(lambda: step(model), model)
    optimizer.optimize(model)
    after = optimizer.measure(lambda: step(model))

    assert after.moved > before.saved / 2
    assert after.saved < before.saved / 10
    assert after.peak < before.peak
    report = optimizer.report()
    assert report.parameters == report.parameters_elsewhere == 4 * model.parameter_count()


def test_training_goes_on_in_the_file(
    make_model: Callable[..., Any], step: Callable[..., None], kind: dict[str, Any], tmp_path: Path
) -> None:
    """Updates of mapped parameters are those of parameters in memory, for an optimizer made before, too."""
    plain, mapped = make_model(**kind), make_model(**kind)
    updaters = [torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9) for each in (plain, mapped)]
    optimizer = MemoryOptimizer(
        use_cpu_offload=True, offload_folder=tmp_path, use_gradient_checkpointing=True
    )
    optimizer.optimize(mapped)
    for model, updater in zip((plain, mapped), updaters, strict=True):
        for _ in range(3):
            step(model)
            updater.step()
    optimizer.restore(mapped)
    state = mapped.state_dict()

    assert all(torch.equal(state[name], value) for name, value in plain.state_dict().items())


@pytest.mark.skipif(sys.platform != "linux", reason="only here a program learns its own memory")
def test_parameters_leave_memory(tmp_path: Path) -> None:
    """Memory that only swap could free becomes less by the size of the parameters, and more again."""
    made = subprocess.run(
        [sys.executable, "-c", LEAVING, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    before, during, used, after = json.loads(made.stdout)

    assert before - during > 35_000_000
    assert used - during < 1_000_000
    assert after - during > 35_000_000


def test_all_uses_of_a_model_still_work(
    make_model: Callable[..., Any], kind: dict[str, Any], tmp_path: Path
) -> None:
    """Generation, streaming, saving and copying see the same weights."""
    plain, model = make_model(**kind).eval(), make_model(**kind).eval()
    MemoryOptimizer(use_cpu_offload=True, offload_folder=tmp_path / "parameters").optimize(model)
    prompt = torch.arange(10)[None]

    assert torch.equal(plain(prompt).logits, model(prompt).logits)
    assert torch.equal(*(each.generate(prompt, max_new_tokens=5, do_sample=False) for each in (plain, model)))
    assert torch.equal(*(each.stream_state().prefill(prompt) for each in (plain, model)))
    model.save_pretrained(tmp_path / "saved")
    loaded = ResNetBK.from_pretrained(tmp_path / "saved")
    assert torch.equal(loaded(prompt).logits, plain(prompt).logits)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for each in other.parameters():
            each.zero_()
    assert not other(prompt).logits.any()
    assert torch.equal(plain(prompt).logits, model(prompt).logits)


def test_an_interrupted_pass_leaves_nothing_switched_on(model: Any, tokens: Any, tmp_path: Path) -> None:
    """After Ctrl-C in the middle of a forward pass, other work saves its tensors in memory again."""
    MemoryOptimizer(use_cpu_offload=True, offload_folder=tmp_path, use_mixed_precision=True).optimize(model)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = model.model.layers[1].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        model(tokens)
    handle.remove()
    activations = installed_in(model)["use_cpu_offload"].activations
    assert activations is not None
    moved = activations.moved
    torch.ones(100_000, requires_grad=True).exp().sum().backward()

    assert moved > 0
    assert activations.moved == moved
    assert not torch.is_autocast_enabled("cpu")


def test_a_folder_that_is_none_is_refused(model: Any, tmp_path: Path) -> None:
    """The error names it, and nothing else was done to the model either."""
    (tmp_path / "file").write_text("no folder")
    optimizer = MemoryOptimizer(
        use_cpu_offload=True, use_gradient_checkpointing=True, offload_folder=tmp_path / "file"
    )
    with pytest.raises(MemorySavingError, match="tensors can't be written to") as caught:
        optimizer.optimize(model)
    assert caught.value.option == "offload_folder"
    assert not model.is_activation_checkpointing
    assert not installed_in(model)
    assert model(torch.zeros(1, 4, dtype=torch.long)).logits.shape == (1, 4, 60)


FULL = """
import resource, sys, torch
from resnet_bk.memory import MemoryOptimizer, MemorySavingError
model = torch.nn.Sequential(torch.nn.Linear(200, 200), torch.nn.Tanh())
MemoryOptimizer(use_cpu_offload=True, offload_folder=sys.argv[1]).optimize(model)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    model(torch.ones(1000, 200))
except MemorySavingError as error:
    print(error.option, "|", error.advice)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
def test_a_full_disk_is_an_error_with_advice(tmp_path: Path) -> None:
    """What can't be written is said in the family of errors, and not lost."""
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("offload_folder | Free some space there")


def test_layers_wait_elsewhere_between_their_turns(
    make_model: Callable[..., Any], kind: dict[str, Any], tokens: torch.Tensor
) -> None:
    """Each layer gets its weights for its turn only, parameters stay the same objects, and all comes back.

    The device is the CPU here, so what is looked at is where the weights are kept.
    """
    model = make_model(**kind).eval()
    with torch.no_grad():
        expected = model(tokens).logits
    parameters = list(model.parameters())
    weight = model.model.layers[1].mixer.in_proj.weight
    waiting = LayersOnCpu(layers_of(model), torch.device("cpu", 0))
    with torch.no_grad():
        assert torch.equal(model(tokens).logits, expected)
        assert torch.equal(model(tokens).logits, expected)
    assert waiting.nbytes == sum(each.nbytes for each in model.model.layers.parameters())
    waiting.remove()

    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    assert model.model.layers[1].mixer.in_proj.weight is weight


def test_layers_that_wait_are_not_trained(model: Any) -> None:
    """A forward pass in training mode would lose gradients, so it is refused, with what to do."""
    waiting = LayersOnCpu(layers_of(model), torch.device("cpu"))
    with pytest.raises(MemorySavingError, match="can't be trained") as caught, waiting.forward():
        pass
    assert "restore(model)" in caught.value.advice
    with torch.no_grad(), waiting.forward():
        pass
    waiting.remove()
