"""Clauses on a freshly loaded model: what it says of itself is true."""

from __future__ import annotations

from pathlib import Path

from modelplug.backends.loaded import LoadedModel
from modelplug.backends.model import Capabilities, Effective, GenerateParams
from modelplug.backends.streaming import honoured_parameters
from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause
from modelplug.testing.conformance.watching import run_child

__all__ = ["LoadClauses"]


class LoadClauses(ConformanceBase):
    """Loading, in a worker process and in the caller's own."""

    def test_what_is_in_force_is_told(self, conformance_model: LoadedModel) -> None:
        """`Effective` names backend, engine version, device and the size of the context."""
        effective = conformance_model.effective
        assert isinstance(effective, Effective), clause("Model", "`effective` is no Effective")
        assert effective.backend == self.backend, clause("Effective.backend", f"it is {effective.backend!r}")
        assert effective.engine_version, clause("Effective.engine_version", "it is empty")
        assert effective.device == "cpu" or effective.device in self.report().devices, clause(
            "Effective.device", f"{effective.device!r} is not among the devices reported"
        )
        if effective.device == "cpu":
            assert not effective.gpu_layers, clause(
                "Effective.gpu_layers", f"{effective.gpu_layers} layers on the CPU"
            )
        assert effective.context_size > 0, clause("Effective.context_size", f"it is {effective.context_size}")
        assert effective.threads is None or effective.threads > 0, clause(
            "Effective.threads", f"it is {effective.threads}"
        )
        unfinished = [note for note in effective.notes if not note.endswith((".", "!", "?"))]
        assert not unfinished, clause("Effective.notes", f"not in full sentences: {unfinished}")

    def test_context_size_is_the_one_asked_for(self, conformance_model: LoadedModel) -> None:
        """A context size that was asked for is in force, or a note says why not."""
        wanted = self.wishes().get("context_size")
        effective = conformance_model.effective
        if wanted is None:
            return
        told = any(str(effective.context_size) in note for note in effective.notes)
        assert effective.context_size == wanted or told, clause(
            "Effective.context_size", f"{effective.context_size}, not {wanted}, and no note says so"
        )

    def test_capabilities_were_announced(self, conformance_model: LoadedModel) -> None:
        """What a model can do is among what detection said that the backend may be able to do."""
        capabilities = conformance_model.capabilities
        assert isinstance(capabilities, Capabilities), clause("Model", "`capabilities` is no Capabilities")
        has = {name for name in ("chat", "embeddings", "grammar", "logprobs") if getattr(capabilities, name)}
        surplus = has - self.report().capabilities
        assert not surplus, clause("BackendReport.capabilities", f"it lacks {sorted(surplus)}")
        assert capabilities.parallel_requests >= 1, clause(
            "Capabilities.parallel_requests", f"it is {capabilities.parallel_requests}"
        )

    def test_default_parameters_are_honoured(self, conformance_model: LoadedModel) -> None:
        """A request with default parameters asks for nothing that the engine can't do."""
        missing = set(GenerateParams().demands()) - honoured_parameters(conformance_model.capabilities)
        missing |= {"max_tokens"} - conformance_model.capabilities.parameters
        assert not missing, clause(
            "Capabilities.parameters", f"{sorted(missing)} are missing, but every engine must honour defaults"
        )
        output = self.ask(conformance_model, params=GenerateParams(max_tokens=4))
        assert output.finish_reason in ("length", "stop"), clause(
            "Chunk.finish_reason", f"a plain request ended with {output.finish_reason!r}"
        )

    def test_inline_gives_the_same_text(
        self, conformance_model: LoadedModel, conformance_path: Path, tmp_path: Path
    ) -> None:
        """Loaded in the caller's own process, the engine writes the same text and leaves nothing behind."""
        wishes = self.wishes(isolation="inline")
        wishes.pop("deadlines")
        task = {
            "path": str(conformance_path),
            "wishes": wishes,
            "prompt": self.prompts[0],
            "tokens": self.length,
            "temporary": str(tmp_path),
        }
        answer = run_child("modelplug.testing.conformance.inline_child", task, 2 * self.hang_seconds)
        expected = self.ask(conformance_model).text
        assert answer["text"] == expected, clause(
            "modelplug_load_model", f"inline it says {answer['text']!r}, in a worker {expected!r}"
        )
        assert not answer["left"], clause("Model.close", f"these temporary files remain: {answer['left']}")
        assert not answer["children"], clause("Model.close", f"processes remain: {answer['children']}")
