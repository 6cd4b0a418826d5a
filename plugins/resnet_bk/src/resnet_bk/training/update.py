"""One update of the parameters: forward, backward, and a step only if everything is as it should be."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from typing import Any, Final

import attrs
import torch

from resnet_bk.checkpoints.weights import unwrap
from resnet_bk.data.packing import IGNORED, Batch
from resnet_bk.training.errors import TrainingError
from resnet_bk.training.monitors import GradientStabilityMonitor, LossSpikeMonitor
from resnet_bk.training.precision import Precision
from resnet_bk.training.processes import Processes
from resnet_bk.training.recovery import OUT_OF_MEMORY, Failure

__all__ = ["Attempt", "Updater", "on_device", "token_loss"]

_NO_MEMORY: Final = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


@attrs.frozen(kw_only=True)
class Attempt:
    """What came of trying to update the parameters.

    Attributes:
        loss: The mean loss over the batch, in nats per token.
        gradient_norm: Of the whole gradient, before clipping.
        tokens: Targets that counted, over all processes.
        failure: Why there was no update; None if there was one.
    """

    loss: float = float("nan")
    gradient_norm: float = float("nan")
    tokens: int = 0
    failure: Failure | None = None


def token_loss(model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss over a batch: what to minimise, and its part that is the cross entropy.

    Both are sums over targets. They differ where the model gives an `aux_loss` beside its logits, as mixtures
    of experts do.

    Args:
        model: A model that follows the convention of transformers.
        batch: Inputs and targets.

    Raises:
        TrainingError: It gives no logits for each position.
    """
    inner = unwrap(model)
    output: Any = model(input_ids=batch.inputs, **_without_cache(type(inner)))
    logits = getattr(output, "logits", output)
    if not isinstance(logits, torch.Tensor) or logits.shape[:-1] != batch.targets.shape:
        shape = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise TrainingError(
            "the model gives no logits for each position",
            why=f"for tokens of the shape {list(batch.inputs.shape)} it gave {shape}",
            advice="Give a model whose result has `logits` of the shape (sequences, positions, vocabulary).",
        )
    entropy = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )
    extra = getattr(output, "aux_loss", None)
    if extra is None:
        return entropy, entropy
    weight = getattr(getattr(inner, "config", None), "router_aux_loss_coef", 1.0)
    return entropy + weight * extra * batch.counted, entropy


def _without_cache(kind: type[torch.nn.Module]) -> dict[str, bool]:
    """What keeps a model from remembering what it has read, which only generation needs."""
    return {"use_cache": False} if "use_cache" in inspect.signature(kind.forward).parameters else {}


class Updater:
    """Makes updates, and says why if one can't be made.

    Args:
        model: The model as it has to be called.
        optimizer: Its optimizer.
        processes: Those that train together.
        precision: What to compute in.
        clip: The largest norm of a gradient; None leaves it.
        gradients: What watches the norm of the gradient.
        losses: What watches the loss.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        processes: Processes,
        precision: Precision,
        clip: float | None,
        gradients: GradientStabilityMonitor,
        losses: LossSpikeMonitor,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.processes = processes
        self.precision = precision
        self.clip = clip
        self.gradients = gradients
        self.losses = losses
        self.scaler = precision.scaler()
        self._parameters = [each for group in optimizer.param_groups for each in group["params"]]

    def attempt(self, step: int, share: Batch, accumulation: int) -> Attempt:
        """Update the parameters, unless something is wrong.

        Args:
            step: The number of the update, from 0.
            share: This process's share of the batch.
            accumulation: Into how many parts to divide it.
        """
        try:
            found = self._forward_and_backward(share, accumulation)
        except (RuntimeError, MemoryError) as error:
            failure = _out_of_memory(error, step, touched=False)
        else:
            try:
                return self._judge_and_step(step, *found)
            except (RuntimeError, MemoryError) as error:
                failure = _out_of_memory(error, step, touched=True)
        # Outside of the handlers, because the error holds on to what was computed.
        self._let_go()
        return Attempt(failure=failure)

    def _forward_and_backward(self, share: Batch, accumulation: int) -> tuple[float, int]:
        """Fill the gradients; gives the mean loss and the targets that count, over all processes."""
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        (counted,) = self.processes.total([share.counted])
        # Processes average their gradients, and the loss is a mean over all of their targets.
        scale = self.processes.count / max(1.0, counted)
        parts = list(_parts(share, accumulation))
        sums = []
        for number, part in enumerate(parts):
            with self.processes.synchronised(self.model, last=number == len(parts) - 1):
                with self.precision.autocast():
                    objective, plain = token_loss(self.model, on_device(part, self.processes.device))
                self.scaler.scale(objective * scale).backward()
            sums.append(plain.detach())
        (total,) = self.processes.total([torch.stack(sums).cpu().double().sum().item()])
        return total / max(1.0, counted), int(counted)

    def _judge_and_step(self, step: int, loss: float, counted: int) -> Attempt:
        self.scaler.unscale_(self.optimizer)
        norm = self.processes.gradient_norm(self._parameters)
        value = float(norm)
        alert = self.losses.observe(step, loss)
        # With float16 an overflow is no failure at first: the scaler leaves the step out and goes lower.
        overflow = self.scaler.is_enabled() and not norm.isfinite() and self.scaler.get_scale() >= 1.0
        if alert is None and not overflow:
            alert = self.gradients.observe(step, value)
        attempt = Attempt(loss=loss, gradient_norm=value, tokens=counted)
        if alert is not None:
            self._let_go()
            return attrs.evolve(attempt, failure=Failure.of(alert))
        if self.clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self.clip, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return attempt

    def _let_go(self) -> None:
        """Forget what was computed, and give back its memory."""
        self.optimizer.zero_grad(set_to_none=True)
        # The scaler remembers how far an update had come; a new one begins with the next.
        state = self.scaler.state_dict()
        self.scaler = self.precision.scaler()
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state)
        gc.collect()
        if self.processes.device.type == "cuda":
            torch.cuda.empty_cache()


def _parts(share: Batch, accumulation: int) -> Iterator[Batch]:
    size = -(-len(share.inputs) // accumulation)
    for start in range(0, len(share.inputs), size):
        yield Batch(share.inputs[start : start + size], share.targets[start : start + size])


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    return Batch(batch.inputs.to(device), batch.targets.to(device))


def _out_of_memory(error: RuntimeError | MemoryError, step: int, *, touched: bool) -> Failure:
    """The failure that an error stands for; any other error goes on its way."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    if not known and not any(words in str(error) for words in _NO_MEMORY):
        raise error
    return Failure(
        kind=OUT_OF_MEMORY,
        step=step,
        onset=step,
        message=(str(error).strip() or "there is not enough memory").splitlines()[0],
        touched=touched,
    )
