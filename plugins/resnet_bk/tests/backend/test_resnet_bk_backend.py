"""What the backend does beyond the contract: prefixes, old models, bad directories, and texts in pieces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import resnet_bk.backend
from modelplug.backends.model import GenerateParams, GenerationStats, Message, Model
from modelplug.backends.types import LoadRequest
from modelplug.errors import BackendError, CapabilityError
from modelplug.formats.inspection import inspect
from resnet_bk.backend.context import PrefixStates
from resnet_bk.backend.demo_model import demo_directory
from resnet_bk.backend.sampling import Sampler
from resnet_bk.configuration import MambaKillerConfig, SeesTheFutureWarning
from resnet_bk.modeling import ResNetBK

GREEDY = GenerateParams(temperature=0.0, max_tokens=12, return_tokens=True)


def answer(model: Model, prompt: Any, params: GenerateParams = GREEDY) -> tuple[list[int], GenerationStats]:
    """Tokens and statistics of a request."""
    chunks = list(model.generate(prompt, params))
    assert chunks[-1].stats is not None
    return [token for chunk in chunks for token in chunk.tokens], chunks[-1].stats


def test_the_demo_is_small_and_trained() -> None:
    """The bundled model takes 3 MB at most, and knows which letters follow which far better than chance."""
    size = sum(file.stat().st_size for file in demo_directory().iterdir())
    info = inspect(demo_directory())

    assert size <= 3_000_000
    assert (info.architecture, info.layers, info.vocabulary_size) == ("resnet_bk", 6, 1024)
    assert info.parameters == 1_078_800


@torch.no_grad()
def test_the_demo_says_what_the_library_says(shared_model: Model) -> None:
    """Greedy tokens are those of `generate` on the same directory."""
    prompt = shared_model.tokenize("ROMEO:\nWhat")
    model = ResNetBK.from_pretrained(demo_directory(), dtype=torch.float32)
    expected = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0, len(prompt) :]

    assert answer(shared_model, prompt)[0] == expected.tolist()


def test_a_known_beginning_is_not_computed_again(load: Callable[..., Model]) -> None:
    """Prompts with the same beginning take its state from earlier ones, block by block, and say the same."""
    model = load(demo_directory(), settings={"batch_size": 8}, context_size=512)
    prompt = model.tokenize(
        "First Citizen:\nBefore we proceed any further, hear me speak, and then go on. " * 2
    )
    first, fresh = answer(model, prompt)
    again, known = answer(model, prompt)
    _, longer = answer(model, [*prompt, *first, *prompt[:9]])
    _, other = answer(model, [prompt[1], *prompt])

    assert first == again
    assert fresh.cached_tokens == 0
    assert known.cached_tokens == (len(prompt) - 1) // 8 * 8
    assert longer.cached_tokens == len(prompt) // 8 * 8
    assert other.cached_tokens == 0


def test_only_some_states_are_kept() -> None:
    """The newest few beginnings are kept, each once, and the longest that fits is found."""

    class State:
        def clone(self) -> State:
            return self

    states, kept = PrefixStates(2), State()
    for length in range(1, 9):
        states.keep([7] * length, kept)
    states.keep([7] * 8, kept)

    assert states.longest([7] * 20) == (8, kept)
    assert states.longest([7] * 8) == (7, kept)
    assert states.longest([7] * 5) == (0, None)
    assert states.longest([8] * 20) == (0, None)


def test_two_texts_at_once_do_not_mix(shared_model: Model) -> None:
    """Requests that take turns say what each says alone."""
    prompts = ("ROMEO:", "Some other text")
    alone = [answer(shared_model, prompt)[0] for prompt in prompts]
    streams = [shared_model.generate(prompt, GREEDY) for prompt in prompts]
    mixed: list[list[int]] = [[], []]
    for number in (0, 1) * 14:
        chunk = next(streams[number], None)
        mixed[number].extend(chunk.tokens if chunk else ())

    assert mixed == alone


def test_a_model_from_before_1_0_generates(load: Callable[..., Model], tmp_path: Path) -> None:
    """A migrated model without a state says what `generate` says, and a note says why it is slow."""
    end = (demo_directory() / "tokenizer.json").read_text()
    config = MambaKillerConfig(
        mixer="diagonal-bidirectional", vocab_size=1024, d_model=32, n_layers=1, n_seq=64, eos_token_id=0
    )
    with pytest.warns(SeesTheFutureWarning):
        old = ResNetBK(config).eval()
    dice = torch.Generator().manual_seed(0)
    for parameter in old.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=dice)
    old.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(end)
    model = load(tmp_path)
    prompt = model.tokenize("ROMEO:")
    expected = old.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0, len(prompt) :]

    assert model.effective.context_size == 64
    assert any("before 1.0" in note for note in model.effective.notes)
    assert answer(model, prompt)[0] == expected.tolist()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drop": ("tokenizer.json",)}, "tokenizer.json"),
        ({"n_layers": 7}, "missing"),
        ({"mixer": "diagonal"}, "unknown to the model"),
        ({"d_modle": 3}, "d_modle"),
        ({"d_model": "128"}, "d_model"),
    ],
)
def test_bad_directories_are_refused(
    directory: Callable[..., Path], load: Callable[..., Model], changes: dict[str, Any], words: str
) -> None:
    """Missing files, weights that do not fit and wrong settings are errors with a reason and a remedy."""
    path = directory(**changes)
    info = inspect(demo_directory())
    request = LoadRequest(backend="resnet-bk", path=path, info=attrs.evolve(info, path=path))

    with pytest.raises(BackendError) as found:
        resnet_bk.backend.modelplug_load_model(request)

    assert words in f"{found.value} {found.value.advice}"
    assert found.value.advice


def test_another_architecture_is_refused(directory: Callable[..., Path], load: Callable[..., Model]) -> None:
    """A model of another family is refused before anything is imported for it."""
    with pytest.raises(BackendError, match="llama") as found:
        load(directory(model_type="llama"))

    assert found.value.cause == "unsupported"


def test_another_backend_is_not_answered() -> None:
    """A request for another backend is left to its plugin."""
    request = LoadRequest(backend="transformers", path=demo_directory(), info=inspect(demo_directory()))

    assert resnet_bk.backend.modelplug_load_model(request) is None


def test_no_chat_without_a_template(shared_model: Model) -> None:
    """These models know no conversations."""
    with pytest.raises(CapabilityError, match="no chat template"):
        shared_model.chat([Message("user", "hello")])


def test_a_wrong_weight_is_no_text(directory: Callable[..., Path], load: Callable[..., Model]) -> None:
    """A model that computes NaN says so."""
    path = directory()
    model = load(path)
    weights = model._loaded[0].lm_head.weight.data  # type: ignore[attr-defined]
    weights[3] = float("nan")

    with pytest.raises(BackendError, match="NaN") as found:
        answer(model, "ROMEO:")
    assert found.value.cause == "not-finite"


def test_characters_come_whole(shared_model: Model) -> None:
    """Text of several bytes comes in whole characters, and the pieces are the text of the tokens."""
    params = GenerateParams(temperature=100.0, top_k=0, top_p=1.0, max_tokens=60, seed=3, return_tokens=True)
    chunks = list(shared_model.generate("ROMEO:", params))
    text = "".join(chunk.text for chunk in chunks)
    tokens = [token for chunk in chunks for token in chunk.tokens]
    whole = shared_model.detokenize([*shared_model.tokenize("ROMEO:"), *tokens])

    assert whole.startswith("ROMEO:" + text)
    assert set(whole.removeprefix("ROMEO:" + text)) <= {"\ufffd"}


@pytest.mark.parametrize(
    ("params", "kept"),
    [
        ({"top_k": 2, "top_p": 1.0}, {0, 1}),
        ({"top_k": 0, "top_p": 0.6}, {0, 1}),
        ({"top_k": 0, "top_p": 0.5}, {0}),
        ({"top_k": 0, "top_p": 1.0, "min_p": 0.5}, {0, 1}),
        ({"top_k": 0, "top_p": 0.0}, {0}),
        ({"top_k": 9, "top_p": 1.0}, {0, 1, 2, 3}),
    ],
)
def test_filters_keep_what_they_say(params: dict[str, Any], kept: set[int]) -> None:
    """Of tokens with the probabilities 0.5, 0.3, 0.15 and 0.05, each filter leaves what it must leave."""
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    sampler = Sampler(GenerateParams(temperature=50.0, seed=1, **params))

    assert {sampler.draw(logits.clone(), []) for _ in range(300)} == kept


def test_settings_are_described() -> None:
    """The report names every setting of the backend, either as honoured or as ignored with a way out."""
    from modelplug.runtime import Runtime

    report = resnet_bk.backend.modelplug_detect_backends(Runtime().system)
    settings = resnet_bk.backend.modelplug_backend_settings()["resnet-bk"]
    named = {*report.settings, *report.ignored_settings}
    assert named == {field.name for field in attrs.fields(settings)}
    assert json.dumps(sorted(report.architectures or ())) == '["resnet_bk"]'
