"""What the tests of the kit share: the attributes an author sets, and how models are loaded and asked."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest

from modelplug.backends.model import Chunk, GenerateParams, GenerationStats
from modelplug.backends.types import Deadlines
from modelplug.testing.conformance.clauses import clause

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from modelplug.backends.loaded import LoadedModel
    from modelplug.backends.model import CancelToken
    from modelplug.backends.types import BackendReport

__all__ = ["ConformanceBase", "Output"]

ROUND_TRIP_TEXTS = (
    "Hello",
    "Hello, world! How are you?",
    " one space in front",
    "  two in front, two behind  ",
    "\n",
    "\n\n\tindented\r\n",
    "0123456789 3.14159 -1e-9",
    "naïve café — “quoted” … №",
    "Γειά σου Κόσμε, привет, שלום, مرحبا",
    "日本語のテキスト 한국어 中文",
    "😀👩‍👩‍👧‍👦🏳️‍🌈",
    "e\u0301 and \u00e9",
    "a\x01b\x7f",
    "def f(x):\n    return x**2  # ½\n",
    "To be, or not to be, that is the question:\n" * 8,
)


@attrs.frozen
class Output:
    """Everything that came of one request.

    Attributes:
        chunks: The chunks, in order.
    """

    chunks: tuple[Chunk, ...]

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def tokens(self) -> tuple[int, ...]:
        """All token ids."""
        return tuple(token for chunk in self.chunks for token in chunk.tokens)

    @property
    def generated(self) -> int:
        """How many tokens were generated: as many as there are ids, or what the engine says without any."""
        return len(self.tokens) or self.stats.completion_tokens

    @property
    def finish_reason(self) -> str | None:
        """Why it ended."""
        return self.chunks[-1].finish_reason

    @property
    def stats(self) -> GenerationStats:
        """The statistics of the last chunk."""
        stats = self.chunks[-1].stats
        assert stats is not None, clause("Chunk.stats", "the last chunk has no statistics")
        return stats


class ConformanceBase:
    """What an author sets, and what every test can use.

    Attributes:
        backend: The backend's name, as in `BackendReport.name`.
        plugin_module: The plugin's module; found through the entry point if empty.
        engine_modules: Modules of the engine, which neither importing the plugin nor detection may import.
        settings: Settings for `modelplug.load`.
        parallel_settings: Settings with which the engine works on several requests at the same time; None if
            it can't.
        engine_required: Whether an engine that is not usable on this machine fails the tests; if false,
            those that need it are skipped with the cause the plugin reports.
        context_size: Tokens of context to ask for, where the backend honours it. Requests that are to be
            cancelled fill it: raise it for an engine so fast that they end before.
        threads: CPU threads to ask for, where the backend honours it; None leaves it to the backend. One is
            enough for a small model, and other programs on the machine then disturb it least.
        prompts: Prompts after which the model goes on for at least `length` tokens.
        length: Tokens that most tests generate.
        round_trip_texts: Texts that tokens give back unchanged. Shorten this list only for a tokenizer that
            normalises text by design.
        hang_seconds: A request without any answer for so long has failed.
        orphan_seconds: How long processes may survive whoever they work for.
    """

    backend: ClassVar[str] = ""
    plugin_module: ClassVar[str] = ""
    engine_modules: ClassVar[tuple[str, ...]] = ()
    settings: ClassVar[dict[str, Any]] = {}
    parallel_settings: ClassVar[dict[str, Any] | None] = None
    engine_required: ClassVar[bool] = True
    context_size: ClassVar[int] = 512
    threads: ClassVar[int | None] = 1
    prompts: ClassVar[tuple[str, ...]] = ("ROMEO:", "HAMLET:\n", "Hello")
    length: ClassVar[int] = 24
    round_trip_texts: ClassVar[tuple[str, ...]] = ROUND_TRIP_TEXTS
    hang_seconds: ClassVar[float] = 120.0
    orphan_seconds: ClassVar[float] = 5.0

    # What an author may override ----------------------------------------------------------------------

    def model_path(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The model to test with: the demo model, in the first of the backend's formats it exists in."""
        from modelplug.data import demo_model_path
        from modelplug.testing.demo_weights import write_hugging_face_directory

        for name in self.report().formats:
            if name == "gguf":
                return demo_model_path()
            if name == "huggingface":
                return write_hugging_face_directory(tmp_path_factory.getbasetemp() / "demo-weights")
        pytest.fail(
            f"there is no demo model in any of the formats of {self.backend} "
            f"({', '.join(self.report().formats) or 'it declares none'}): override "
            f"`model_path` in {type(self).__name__} and return the path of a small model",
            pytrace=False,
        )

    # What the tests use -------------------------------------------------------------------------------

    @pytest.fixture(autouse=True)
    def _home_of_the_class(self, conformance_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # One home for all tests of a class, so that plugins and the machine are looked at once.
        monkeypatch.setenv("MODELPLUG_HOME", str(conformance_home))

    @classmethod
    def report(cls) -> BackendReport:
        """What the plugin reports about the backend on this machine, asked once per class."""
        if "_report" not in vars(cls):
            cls._report = cls._ask_for_report()  # type: ignore[attr-defined]
        found: BackendReport = vars(cls)["_report"]
        return found

    @classmethod
    def _ask_for_report(cls) -> BackendReport:
        from modelplug.runtime import Runtime

        if not cls.backend:
            pytest.fail(f"set `backend` in {cls.__name__} to the name your plugin reports", pytrace=False)
        runtime = Runtime()
        reports = runtime.backends.reports()
        report = reports.get(cls.backend)
        if report is None or not report.plugin:
            plugins = [
                f"{record.name} ({record.module}): {record.state} {record.cause}".strip()
                for record in runtime.plugins.records
            ]
            problem = f"no plugin brings the backend {cls.backend!r}; installed are: {'; '.join(plugins)}"
            pytest.fail(clause("ENTRY_POINT_GROUP", problem), pytrace=False)
        return report

    @classmethod
    def module_name(cls) -> str:
        """The plugin's module."""
        if cls.plugin_module:
            return cls.plugin_module
        return cls.entry_point().module

    @classmethod
    def entry_point(cls) -> importlib.metadata.EntryPoint:
        """The plugin's entry point."""
        from modelplug.hookspecs import ENTRY_POINT_GROUP

        name = cls.report().plugin
        (found, *_) = importlib.metadata.entry_points(group=ENTRY_POINT_GROUP, name=name)
        return found

    @classmethod
    def need_engine(cls) -> None:
        """Skip or fail the test if the engine can't run here."""
        report = cls.report()
        if report.usable:
            return
        message = f"{cls.backend} can't run on this machine ({report.state}): {report.cause}"
        if not cls.engine_required:
            pytest.skip(message)
        pytest.fail(
            f"{message}. Install it ({report.install}), or set `engine_required = False` in {cls.__name__}",
            pytrace=False,
        )

    @classmethod
    def wishes(cls, **more: Any) -> dict[str, Any]:
        """Arguments for `modelplug.load`."""
        honoured = cls.report().settings
        neutral = {"context_size": cls.context_size, "threads": cls.threads}
        asked = {name: value for name, value in neutral.items() if name in honoured and value is not None}
        return {
            "backend": cls.backend,
            "fallback": "never",
            "deadlines": Deadlines(load=cls.hang_seconds, first_token=cls.hang_seconds),
            **asked,
            **cls.settings,
            **more,
        }

    @classmethod
    def load(cls, path: Path, **more: Any) -> LoadedModel:
        """A model, loaded in a worker process."""
        from modelplug.backends.api import load

        return load(path, **cls.wishes(isolation="process", **more))

    def greedy(self, **more: Any) -> GenerateParams:
        """Parameters for greedy decoding of a few tokens."""
        return GenerateParams(**{"temperature": 0.0, "max_tokens": self.length, **more})

    def random(self, **more: Any) -> GenerateParams:
        """Parameters for sampling a few tokens from all there are."""
        plain = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_tokens": self.length}
        return GenerateParams(**{**plain, **more})

    def ask(
        self,
        model: LoadedModel,
        prompt: str | Sequence[int] | None = None,
        params: GenerateParams | None = None,
        *,
        cancel: CancelToken | None = None,
    ) -> Output:
        """Everything that a request yields; without a prompt, the first of `prompts`."""
        chosen = self.prompts[0] if prompt is None else prompt
        return self.collect(model.generate(chosen, params or self.greedy(), cancel=cancel))

    @staticmethod
    def collect(chunks: Iterable[Chunk]) -> Output:
        """The output that some chunks make."""
        collected = tuple(chunks)
        assert collected, clause("Model.generate", "the request ended without a single chunk")
        return Output(collected)

    def prompt_of(self, model: LoadedModel, count: int) -> list[int]:
        """A prompt of exactly so many token ids."""
        start = model.tokenize("")
        words = model.tokenize(" ".join(self.prompts), add_special=False)
        tokens = [*start, *(words * (count // max(1, len(words)) + 1))]
        return tokens[:count]
