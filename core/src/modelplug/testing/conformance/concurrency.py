"""Clauses on several requests at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from modelplug.backends.loaded import LoadedModel
from modelplug.backends.model import Chunk, GenerateParams
from modelplug.testing.conformance.base import ConformanceBase, Output
from modelplug.testing.conformance.clauses import clause

__all__ = ["ConcurrencyClauses"]

TRIES = 5


class ConcurrencyClauses(ConformanceBase):
    """A model is used from several threads."""

    def _together(
        self, model: LoadedModel, requests: list[tuple[str, GenerateParams]]
    ) -> tuple[list[Output | BaseException], list[int]]:
        """What each of some requests gives when all are made at once, and in which order they ended."""
        results: list[Output | BaseException] = [RuntimeError("no answer")] * len(requests)
        order: list[int] = []

        def one(number: int) -> None:
            prompt, params = requests[number]
            try:
                results[number] = self.ask(model, prompt, params)
            except BaseException as error:  # noqa: BLE001  whatever it is, the test reports it
                results[number] = error
            order.append(number)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(len(requests))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results, order

    def _as_if_alone(self, model: LoadedModel) -> None:
        requests = [(prompt, self.greedy()) for prompt in self.prompts]
        requests.append((self.prompts[0], self.random(seed=3) if self._seeds(model) else self.greedy()))
        expected = [self.ask(model, *request).text for request in requests]
        results, _ = self._together(model, requests)
        for request, result, text in zip(requests, results, expected, strict=True):
            assert isinstance(result, Output), clause(
                "Model", f"several requests at once: {request[0]!r} failed with {result!r}"
            )
            assert result.text == text, clause(
                "Model", f"several at once: {request[0]!r} gives {result.text!r}, alone it gives {text!r}"
            )

    def _seeds(self, model: LoadedModel) -> bool:
        return "seed" in model.capabilities.parameters

    def test_requests_at_once_are_as_if_alone(self, conformance_model: LoadedModel) -> None:
        """Requests from several threads give what each would have given alone."""
        self._as_if_alone(conformance_model)

    def test_tokenizer_works_beside_a_request(self, conformance_model: LoadedModel) -> None:
        """Text can be tokenised while a request is running."""
        if not conformance_model.capabilities.tokenize:
            return
        expected = conformance_model.tokenize(self.prompts[1])
        stream = conformance_model.generate(self.prompts[0], self.greedy())
        first = next(stream)
        tokens = conformance_model.tokenize(self.prompts[1])
        self.collect([first, *stream])
        assert tokens == expected, clause("Model.tokenize", f"beside a request it gives {tokens}")

    def test_parallel_requests(self, conformance_parallel_model: LoadedModel | None) -> None:
        """Where several requests are worked on at the same time, a short one overtakes a long one."""
        if conformance_parallel_model is None:
            return
        model = conformance_parallel_model
        assert model.capabilities.parallel_requests > 1, clause(
            "Capabilities.parallel_requests", f"it is 1 with {self.parallel_settings}"
        )
        self._as_if_alone(model)
        for _ in range(TRIES):
            stream = model.generate(self.prompts[0], self.greedy(max_tokens=None))
            next(stream)
            ended: list[str] = []

            thread = threading.Thread(target=_drain, args=(stream, ended))
            thread.start()
            self.ask(model, self.prompts[1], self.greedy(max_tokens=2))
            ended.append("short")
            thread.join()
            if ended[0] == "short":
                return
        problem = f"a short request waited for a long one, {TRIES} times out of {TRIES}"
        raise AssertionError(clause("Capabilities.parallel_requests", problem))


def _drain(stream: Iterator[Chunk], ended: list[str]) -> None:
    for _ in stream:
        continue
    ended.append("long")
