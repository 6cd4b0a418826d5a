"""Small models of every kind, and what the tests of quantised ones share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import torch
import tqdm
import transformers

from resnet_bk.configuration import MambaKillerConfig
from resnet_bk.modeling import ResNetBK

# How long an example takes says more of the machine's load than of the code.
hypothesis.settings.register_profile("modelplug", deadline=None)
hypothesis.settings.load_profile("modelplug")

SMALL = {"vocab_size": 61, "d_model": 42, "n_layers": 2, "n_seq": 32, "value_dim": 14, "key_dim": 5}
KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "complex": {"complex_heads": 3},
    "tied": {"tie_word_embeddings": True, "head_bias": True},
    "swiglu": {"feed_forward": ["swiglu", "none"], "norm": "layer"},
    "positions": {"position_embeddings": True, "head_bias": True},
    "diagonal": {"mixer": "diagonal", "feed_forward": "swiglu", "diagonal_heads": 4},
    "experts": {"num_experts": 3, "use_scattering_router": False},
    "routed": {"num_experts": 3, "parallel_feed_forward": True},
}


@pytest.fixture(scope="session", autouse=True)
def engines_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Do once what leaves traces in the process: compilers are imported, a model is written and read."""
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).zero_grad()
    tqdm.tqdm.monitor_interval = 0  # a progress bar anywhere starts a thread that never ends
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    place = tmp_path_factory.mktemp("first")
    model = ResNetBK(MambaKillerConfig(**SMALL))
    model(torch.zeros(1, 2, dtype=torch.long)).logits.sum().backward()
    model.save_pretrained(place)
    ResNetBK.from_pretrained(place)


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

    def make(seed: int = 0, **settings: Any) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = ResNetBK(MambaKillerConfig(**{**SMALL, **settings}))
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.2 * torch.randn_like(parameter))
        return model.eval()

    return make


@pytest.fixture
def tokens() -> torch.Tensor:
    """Two texts."""
    return torch.randint(0, 61, (2, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=sorted(KINDS))
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of every kind of model, one after the other."""
    return KINDS[request.param]
