"""Clauses on stop strings."""

from __future__ import annotations

from modelplug.backends.loaded import LoadedModel
from modelplug.testing.conformance.base import ConformanceBase
from modelplug.testing.conformance.clauses import clause

__all__ = ["StopClauses"]

SEE = "GenerateParams.stop"


class StopClauses(ConformanceBase):
    """Stop strings end the output, wherever tokens begin and end."""

    def _stops(self, model: LoadedModel) -> bool:
        # An engine that does not honour `stop` must refuse it; another test sees to that.
        return "stop" in model.capabilities.parameters

    def test_stop_string_ends_the_output(self, conformance_model: LoadedModel) -> None:
        """The output ends before the stop string, which may begin and end within tokens."""
        if not self._stops(conformance_model):
            return
        whole = self.ask(conformance_model).text
        for start, length in ((1, 1), (3, 2), (5, 3), (4, 7), (8, 5), (9, 11)):
            stop = whole[start : start + length]
            expected = whole[: whole.index(stop)]
            output = self.ask(conformance_model, params=self.greedy(stop=stop))
            assert stop not in output.text, clause(SEE, f"the output {output.text!r} contains {stop!r}")
            assert output.text == expected, clause(
                SEE, f"with {stop!r} the output is {output.text!r}, not {expected!r}"
            )
            assert output.finish_reason == "stop", clause(
                "Chunk.finish_reason", f"a stop string was found, and it says {output.finish_reason!r}"
            )

    def test_first_of_several_stop_strings_counts(self, conformance_model: LoadedModel) -> None:
        """Of several stop strings, the one that appears first ends the output."""
        if not self._stops(conformance_model):
            return
        whole = self.ask(conformance_model).text
        stops = (whole[12:15], "never to be seen", whole[6:9])
        expected = whole[: min(whole.index(stop) for stop in stops if stop in whole)]
        output = self.ask(conformance_model, params=self.greedy(stop=stops))
        assert output.text == expected, clause(SEE, f"with {stops} it is {output.text!r}, not {expected!r}")

    def test_stop_string_that_never_comes(self, conformance_model: LoadedModel) -> None:
        """What only begins like a stop string is part of the output after all."""
        if not self._stops(conformance_model):
            return
        whole = self.ask(conformance_model)
        for stop in (whole.text[-4:] + "\x07", whole.text[5:8] + "\x07"):
            output = self.ask(conformance_model, params=self.greedy(stop=stop))
            assert output.text == whole.text, clause(
                SEE, f"{stop!r} never appears, but {output.text!r} came instead of {whole.text!r}"
            )
            assert output.finish_reason == whole.finish_reason, clause(
                "Chunk.finish_reason", f"no stop string was found, and it says {output.finish_reason!r}"
            )

    def test_next_request_is_not_stopped(self, conformance_model: LoadedModel) -> None:
        """A stop string belongs to one request and does not linger."""
        if not self._stops(conformance_model):
            return
        whole = self.ask(conformance_model).text
        self.ask(conformance_model, params=self.greedy(stop=whole[2:4]))
        again = self.ask(conformance_model).text
        assert again == whole, clause(SEE, f"a later request without any gives {again!r}, not {whole!r}")
