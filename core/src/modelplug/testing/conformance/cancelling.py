"""Clauses on requests that are cancelled or abandoned."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from modelplug.backends.loaded import LoadedModel
from modelplug.backends.model import CancelToken, GenerateParams
from modelplug.testing.conformance.base import ConformanceBase, Output
from modelplug.testing.conformance.clauses import clause
from modelplug.testing.conformance.watching import Tree, wait_until

__all__ = ["CancelClauses"]

# An engine may be through with the longest request before anybody could cancel it.
TRIES = 5


class CancelClauses(ConformanceBase):
    """Cancelling stops the engine, and only the request that is meant."""

    def long(self) -> GenerateParams:
        """Parameters for a request that goes on until the context is full."""
        return self.greedy(max_tokens=None)

    def _cancelled(self, model: LoadedModel, attempt: Callable[[], Output], when: str) -> None:
        outputs: list[Output] = []
        while len(outputs) < TRIES and (not outputs or outputs[-1].finish_reason != "cancelled"):
            outputs.append(attempt())
        last = outputs[-1]
        if not model.capabilities.cancel:
            assert last.finish_reason is not None
            return
        assert last.finish_reason == "cancelled", clause(
            "Model.generate",
            f"cancelled {when}, the request went on for {last.stats.completion_tokens} tokens and ended with "
            f"{last.finish_reason!r}, {TRIES} times (if the engine is that fast, raise `context_size`)",
        )
        room = model.effective.context_size - last.stats.prompt_tokens
        assert last.stats.completion_tokens < room, clause(
            "CancelToken", f"all {room} tokens were generated in spite of it"
        )

    def test_cancelled_while_generating(self, conformance_model: LoadedModel) -> None:
        """Cancelled from another thread, a request ends with the reason `cancelled` before it is through."""

        def attempt() -> Output:
            token = CancelToken()
            stream = conformance_model.generate(self.prompts[0], self.long(), cancel=token)
            first = next(stream)
            thread = threading.Thread(target=token.cancel)
            thread.start()
            thread.join()
            return self.collect([first, *stream])

        self._cancelled(conformance_model, attempt, "after the first chunk")

    def test_cancelled_before_it_begins(self, conformance_model: LoadedModel) -> None:
        """A request whose token is already cancelled ends with the reason `cancelled`."""

        def attempt() -> Output:
            token = CancelToken()
            token.cancel()
            return self.ask(conformance_model, params=self.long(), cancel=token)

        self._cancelled(conformance_model, attempt, "before it began")

    def test_cancelled_before_the_first_token(self, conformance_model: LoadedModel) -> None:
        """Cancelled while the prompt is being evaluated, a request ends likewise."""

        def attempt() -> Output:
            token = CancelToken()
            stream = conformance_model.generate(self.prompts[0], self.long(), cancel=token)
            canceller = threading.Timer(0.0, token.cancel)
            canceller.start()
            output = self.collect(stream)
            canceller.join()
            return output

        self._cancelled(conformance_model, attempt, "before the first token")

    def test_cancelling_twice_or_late_changes_nothing(self, conformance_model: LoadedModel) -> None:
        """A token that is cancelled after the request has ended does no harm."""
        token = CancelToken()
        before = self.ask(conformance_model, cancel=token)
        token.cancel()
        token.cancel()
        after = self.ask(conformance_model)
        assert (before.text, before.finish_reason) == (after.text, after.finish_reason), clause(
            "CancelToken", f"{before.finish_reason!r} became {after.finish_reason!r} for the next request"
        )

    def test_next_request_is_unaffected(self, conformance_model: LoadedModel) -> None:
        """After a cancelled request, the next one gives what it always gives."""
        expected = self.ask(conformance_model).text
        token = CancelToken()
        stream = conformance_model.generate(self.prompts[-1], self.long(), cancel=token)
        first = next(stream)
        token.cancel()
        self.collect([first, *stream])
        text = self.ask(conformance_model).text
        assert text == expected, clause("CancelToken", f"the next request gives {text!r}, not {expected!r}")

    def test_other_requests_are_unaffected(self, conformance_model: LoadedModel) -> None:
        """Cancelling one request hurts none that runs or waits beside it."""
        count = 3 * self.length
        expected = self.ask(conformance_model, self.prompts[1], self.greedy(max_tokens=count))
        token = CancelToken()
        cancelled = conformance_model.generate(self.prompts[0], self.long(), cancel=token)
        first = next(cancelled)
        other = conformance_model.generate(self.prompts[1], self.greedy(max_tokens=count))
        outputs: list[Output] = []
        thread = threading.Thread(target=lambda: outputs.append(self.collect(other)))
        thread.start()
        token.cancel()
        self.collect([first, *cancelled])
        thread.join()
        assert outputs, clause("CancelToken", "cancelling one request made another one fail")
        assert (outputs[0].text, outputs[0].finish_reason) == (expected.text, expected.finish_reason), clause(
            "CancelToken", f"the other request gives {outputs[0].text!r}, not {expected.text!r}"
        )

    def test_waiting_request_can_be_cancelled(self, conformance_model: LoadedModel) -> None:
        """A request that waits for its turn can be cancelled, and the one before it goes on."""
        count = 6 * self.length
        expected = self.ask(conformance_model, params=self.greedy(max_tokens=count)).text
        running = conformance_model.generate(self.prompts[0], self.greedy(max_tokens=count))
        first = next(running)
        token = CancelToken()
        waiting = conformance_model.generate(self.prompts[1], self.long(), cancel=token)
        outputs: list[Output] = []
        thread = threading.Thread(target=lambda: outputs.append(self.collect(waiting)))
        thread.start()
        token.cancel()
        text = self.collect([first, *running]).text
        thread.join()
        assert outputs, clause("CancelToken", "a request that was cancelled while it waited failed")
        assert text == expected, clause(
            "CancelToken", f"cancelling a waiting request changed the running one: {text!r}, not {expected!r}"
        )

    def test_leaving_the_stream_stops_the_engine(self, conformance_model: LoadedModel) -> None:
        """An iterator that is closed early stops the engine: the next request need not wait for it."""
        whole = [self._seconds(conformance_model, self.long())]
        waits: list[float] = []
        # Timed before and after, so that a moment in which the machine was busy proves nothing.
        while len(waits) < TRIES and (not waits or waits[-1] > min(whole[-2:]) / 2):
            self._leave(conformance_model)
            waits.append(self._seconds(conformance_model, self.greedy(max_tokens=1)))
            whole.append(self._seconds(conformance_model, self.long()))
        if conformance_model.capabilities.cancel:
            assert waits[-1] <= min(whole[-2:]) / 2, clause(
                "Model.generate",
                f"its stream was closed early, but the next request waited {waits[-1]:.2f} s, {TRIES} times; "
                f"a request that nobody leaves takes {min(whole):.2f} s",
            )

    def _seconds(self, model: LoadedModel, params: GenerateParams) -> float:
        """How long a request takes."""
        began = time.monotonic()
        self.ask(model, params=params)
        return time.monotonic() - began

    def test_engine_rests_when_its_stream_was_left(self, conformance_model: LoadedModel) -> None:
        """After an iterator was closed early, the engine stops computing, and takes the next request."""
        expected = self.ask(conformance_model).text
        self._leave(conformance_model)
        tree = Tree(conformance_model.engine.process.pid)  # type: ignore[attr-defined]

        def rests() -> bool:
            before = tree.cpu_seconds()
            time.sleep(0.3)
            return tree.cpu_seconds() - before < 0.15

        assert wait_until(rests, self.hang_seconds), clause(
            "Model.generate", "its stream was closed early, but the engine goes on computing"
        )
        text = self.ask(conformance_model).text
        assert text == expected, clause("Model.generate", f"then it gives {text!r}, not {expected!r}")

    def _leave(self, model: LoadedModel) -> None:
        """Take the first chunk of a long request, and no more."""
        stream = model.generate(self.prompts[0], self.long())
        next(stream)
        close = getattr(stream, "close", None)
        if close is None:
            pytest.fail(clause("Model.generate", "the iterator can't be closed"), pytrace=False)
        close()
