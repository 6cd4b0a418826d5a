"""What the tests of all folders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import torch
import tqdm  # type: ignore[import-untyped]

# How long an example takes says more of the machine's load than of the code.
hypothesis.settings.register_profile("modelplug", deadline=None)
hypothesis.settings.load_profile("modelplug")


@pytest.fixture(scope="session", autouse=True)
def compilers_imported() -> None:
    """Do once what leaves traces in the process: the first optimizer imports compilers."""
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).zero_grad()
    tqdm.tqdm.monitor_interval = 0  # a progress bar anywhere starts a thread that never ends


@pytest.fixture(scope="session")
def models_used(compilers_imported: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Do once what leaves traces in the process: a model computes, is written and is read."""
    import transformers

    from resnet_bk import MambaKillerConfig, ResNetBK

    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    place = tmp_path_factory.mktemp("first")
    model = ResNetBK(MambaKillerConfig(vocab_size=2, d_model=32, n_layers=1))
    model(torch.zeros(1, 2, dtype=torch.long)).logits.sum().backward()
    model.save_pretrained(place)
    ResNetBK.from_pretrained(place)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread: the models are small, and other programs on the machine then disturb least."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_any_model() -> Callable[..., Any]:
    """Makes models, the same for the same settings, with weights large enough for all to count."""
    from resnet_bk import MambaKillerConfig, ResNetBK

    def make(seed: int = 0, **settings: Any) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = ResNetBK(MambaKillerConfig(**settings))
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.2 * torch.randn_like(parameter))
        return model.eval()

    return make
