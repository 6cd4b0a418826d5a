"""Small models to evaluate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import torch

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling import ResNetBK

# How long an example takes says more of the machine's load than of the code.
hypothesis.settings.register_profile("modelplug", deadline=None)
hypothesis.settings.load_profile("modelplug")

SMALL = {"vocab_size": 61, "d_model": 32, "n_layers": 2, "n_seq": 32, "value_dim": 16, "key_dim": 8}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute with one thread: the models are small, and other programs on the machine then disturb least."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Any]:
    """Makes small models, the same for the same settings, with weights large enough for all to count."""

    def make(**settings: Any) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = ResNetBK(MambaKillerConfig(**{**SMALL, **settings}))
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.2 * torch.randn_like(parameter))
        return model.eval()

    return make


@pytest.fixture(scope="session", autouse=True)
def engine_imported(make_model: Callable[..., Any]) -> None:
    """Build a model before the first test, because imports leave traces in the process."""
    make_model()
