"""What the backend does beyond the contract: prefixes, old models, bad directories, and texts in pieces."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import resnet_bk.backend
from modelplug.backends.compatibility import incompatibility
from modelplug.backends.model import GenerateParams, GenerationStats, Message, Model
from modelplug.backends.types import LoadRequest
from modelplug.errors import BackendError, CapabilityError, ModelFileError
from modelplug.formats.inspection import inspect
from modelplug.runtime import Runtime
from resnet_bk.backend.context import PrefixStates
from resnet_bk.backend.demo_model import demo_directory
from resnet_bk.backend.probe import probe
from resnet_bk.backend.sampling import Sampler
from resnet_bk.backend.threads import Threads
from resnet_bk.configuration import MambaKillerConfig, SeesTheFutureWarning
from resnet_bk.modeling import ResNetBK
from resnet_bk.resolvent.kernels import cpu_library

TRAIN_DEMO = Path(__file__).resolve().parents[2] / "tools" / "train_demo.py"
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


def test_the_demo_is_what_the_program_for_it_would_make() -> None:
    """Its settings are those of `tools/train_demo.py`, whatever the defaults of models are now."""
    spec = importlib.util.spec_from_file_location("resnet_bk_train_demo", TRAIN_DEMO)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    # Its classes are looked up there while they are made.
    sys.modules[spec.name] = program
    spec.loader.exec_module(program)
    bundled = json.loads((demo_directory() / "config.json").read_text())
    made = program.configuration(length=256, dropout=0.1, end=0).to_dict()
    # Not what writing adds.
    settings = (made.keys() & bundled.keys()) - {"architectures", "dtype", "learning_rate"}

    assert {"d_model", "free_heads", "vocab_size"} <= settings
    assert {key: made[key] for key in settings} == {key: bundled[key] for key in settings}


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


def test_a_damaged_tokenizer_is_named(directory: Callable[..., Path], load: Callable[..., Model]) -> None:
    """The error says which file is damaged, and what to do."""
    path = directory()
    (path / "tokenizer.json").write_text('{"version": ')

    with pytest.raises(BackendError, match=r"tokenizer\.json can't be read") as found:
        load(path)
    assert found.value.cause == "no-tokenizer"


def test_a_pickle_that_runs_something_is_not_loaded(
    directory: Callable[..., Path], load: Callable[..., Model], tmp_path: Path
) -> None:
    """Weights in a pickle with more than tensors in it are refused, and nothing of it is run."""
    path, trace = directory(drop=("model.safetensors",)), tmp_path / "trace"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (trace,)

    torch.save({"lm_head.weight": Evil()}, path / "pytorch_model.bin")

    with pytest.raises(BackendError, match="more than tensors") as found:
        load(path)
    assert "model.safetensors" in found.value.advice
    assert not trace.exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"model.safetensors": 1_000_000}, "ends early"),
        ({"model.safetensors": 0}, "empty"),
        ({"config.json": 300}, "not JSON"),
    ],
)
def test_what_is_half_written_is_refused_before_an_engine_starts(
    directory: Callable[..., Path], damage: dict[str, int], words: str
) -> None:
    """Inspection finds files that are cut off, and says which."""
    path = directory()
    for name, size in damage.items():
        os.truncate(path / name, size)

    with pytest.raises(ModelFileError, match=words) as found:
        inspect(path)
    assert next(iter(damage)) in found.value.what


def test_a_directory_that_does_not_say_what_it_is_is_left_to_others(directory: Callable[..., Path]) -> None:
    """Without a model type this backend does not offer itself."""
    report = resnet_bk.backend.modelplug_detect_backends(Runtime().system)

    path = directory(model_type=None)
    assert "does not say" in incompatibility(report, inspect(path))
    assert incompatibility(report, inspect(demo_directory())) == ""


def test_the_newest_checkpoint_of_a_run_is_meant(tmp_path: Path) -> None:
    """By its place in the order and not by its name; folders being written and other folders are none."""
    for name in (
        "checkpoint-000009-epoch-0-step-9",
        "checkpoint-000010-epoch-0-step-1",
        "checkpoint-99",
        ".x",
    ):
        shutil.copytree(demo_directory(), tmp_path / "checkpoints" / name)
    (tmp_path / "empty").mkdir()
    newest = tmp_path / "checkpoints" / "checkpoint-000010-epoch-0-step-1"

    for path in (tmp_path, tmp_path / "checkpoints"):
        info = resnet_bk.backend.modelplug_inspect_model(path)
        assert info is not None
        assert info.path == newest
    for path in (tmp_path / "empty", tmp_path / "nowhere", demo_directory() / "config.json"):
        assert resnet_bk.backend.modelplug_inspect_model(path) is None


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
    """A model whose files say nothing of conversations refuses them."""
    assert not shared_model.capabilities.chat
    with pytest.raises(CapabilityError, match="no chat template"):
        shared_model.chat([Message("user", "hello")])


def test_a_conversation_is_written_by_the_models_own_template(
    directory: Callable[..., Path], load: Callable[..., Model]
) -> None:
    """`chat` says what `generate` says to the text that the template makes of the messages."""
    path = directory()
    (path / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role | upper }}:\n{{ m.content }}\n\n{% endfor %}ROMEO:"
    )
    model = load(path)
    messages = [Message("system", "Verona."), Message("user", "Good morrow.")]
    chunks = list(model.chat(messages, GREEDY))

    assert model.capabilities.chat
    expected, _ = answer(model, "SYSTEM:\nVerona.\n\nUSER:\nGood morrow.\n\nROMEO:")
    assert [token for chunk in chunks for token in chunk.tokens] == expected


def test_a_template_that_refuses_a_conversation_is_an_error(
    directory: Callable[..., Path], load: Callable[..., Model]
) -> None:
    """What the template says against a conversation is passed on."""
    path = directory()
    (path / "chat_template.jinja").write_text("{{ raise_exception('no system messages here') }}")

    with pytest.raises(BackendError, match="no system messages here"):
        load(path).chat([Message("system", "hello")])


def test_small_work_gets_one_thread_and_large_work_all() -> None:
    """Threads are worth their waiting for each other only where there is something to share."""
    threads = Threads(4, parameters=1_000_000)

    assert [threads.worth(tokens) for tokens in (1, 7, 8, 512)] == [1, 1, 2, 4]
    assert Threads(2, parameters=40_000_000).worth(1) == 2
    assert Threads(0, parameters=1).worth(1) == 1


def test_the_number_of_threads_is_as_before_after_each_step(load: Callable[..., Model]) -> None:
    """Requests leave the process's number of threads alone, also where they compute with another."""
    model = load(demo_directory(), threads=2)
    torch.set_num_threads(2)
    answer(model, "ROMEO:")

    assert torch.get_num_threads() == 2


def test_a_wrong_weight_is_no_text(directory: Callable[..., Path], load: Callable[..., Model]) -> None:
    """A model that computes NaN says so."""
    path = directory()
    model = load(path)
    weights = model._loaded.model.lm_head.weight.data  # type: ignore[attr-defined]
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
    report = resnet_bk.backend.modelplug_detect_backends(Runtime().system)
    settings = resnet_bk.backend.modelplug_backend_settings()["resnet-bk"]
    named = {*report.settings, *report.ignored_settings}
    assert named == {field.name for field in attrs.fields(settings)}
    assert json.dumps(sorted(report.architectures or ())) == '["resnet_bk"]'


def test_the_engine_says_which_kernel_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deep probe names it, and why it is slow if it is; a variable of one program is not part of it."""
    monkeypatch.setenv("RESNET_BK_KERNEL", "nonsense")
    sound = probe()
    monkeypatch.setattr(cpu_library, "why_not", lambda: "it was built without a C compiler")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    slow = probe()

    assert "kernel " in sound["version"]
    assert slow["version"].endswith("kernel torch")
    assert (slow["state"], slow["devices"]) == ("cpu", [])
    assert "finds no CUDA" in slow["cause"] or "without a C compiler" in slow["cause"]
