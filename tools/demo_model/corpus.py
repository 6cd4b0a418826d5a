"""Training examples from the text of the plays: windows, openings and conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor

from demo_model.tokenizer import BOS, EOS, Tokenizer

if TYPE_CHECKING:
    import random

__all__ = ["ASSISTANT", "IGNORED", "USER", "Corpus", "build_corpus"]

USER, ASSISTANT = "USER:\n", "ASSISTANT:\n"
IGNORED = -100
"""A target that the loss leaves out."""

CHARACTERS_PER_TOKEN = 8
"""More than any token stands for on average, so that a slice of text always yields enough tokens."""


@attrs.frozen(kw_only=True)
class Corpus:
    """The tokenized text.

    Attributes:
        tokenizer: What it was tokenized with.
        text: The part that is trained on.
        stream: The tokens of that part.
        openings: Offsets in `text` at which a speech begins.
        speeches: What is said, without the speakers' names, in the order of the plays.
        held_out: Tokens that are never trained on.
        length: Tokens of one example.
    """

    tokenizer: Tokenizer
    text: str
    stream: Tensor
    openings: list[int]
    speeches: list[str]
    held_out: Tensor
    length: int

    def batch(self, rows: int, chance: random.Random) -> tuple[Tensor, Tensor]:
        """Inputs and targets: half are windows, a quarter openings, a quarter conversations."""
        makers = (self._window, self._opening, self._window, self._conversation)
        examples = [makers[row % len(makers)](chance) for row in range(rows)]
        inputs, targets = zip(*examples, strict=True)
        return torch.tensor(inputs), torch.tensor(targets)

    def held_out_batch(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets that cover the held-out text once."""
        rows = (len(self.held_out) - 1) // self.length
        used = rows * self.length
        return (
            self.held_out[:used].view(rows, self.length),
            self.held_out[1 : used + 1].view(rows, self.length),
        )

    def _window(self, chance: random.Random) -> tuple[list[int], list[int]]:
        start = chance.randrange(len(self.stream) - self.length)
        tokens = self.stream[start : start + self.length + 1].tolist()
        return tokens[:-1], tokens[1:]

    def _opening(self, chance: random.Random) -> tuple[list[int], list[int]]:
        start = chance.choice(self.openings)
        piece = self.text[start : start + CHARACTERS_PER_TOKEN * self.length]
        return self._fitted([BOS, *self.tokenizer.encode(piece)])

    def _conversation(self, chance: random.Random) -> tuple[list[int], list[int]]:
        """Speeches that follow each other, as turns of a user and an assistant.

        The last turn of the assistant ends with the end token. The chat template does not repeat that token
        in the turns before, so what follows those is left out of the loss: answers are learned to end.
        """
        while True:
            turns = 2 * chance.choice((1, 1, 2, 3))
            start = chance.randrange(len(self.speeches) - turns)
            chosen = self.speeches[start : start + turns]
            tokens, unlearned = [BOS], []
            text = ""
            for turn, speech in enumerate(chosen):
                text += (ASSISTANT if turn % 2 else USER) + speech
                if turn % 2 and turn + 1 < turns:
                    unlearned.append(len(self.tokenizer.encode(text)))
                if turn + 1 < turns:
                    text += "\n\n"
            tokens += [*self.tokenizer.encode(text), EOS]
            if len(tokens) <= self.length + 1:
                break
        inputs, targets = self._fitted(tokens)
        for position in unlearned:
            targets[position] = IGNORED
        return inputs, targets

    def _fitted(self, tokens: list[int]) -> tuple[list[int], list[int]]:
        """Cut or fill to `length`; what fills is not learned."""
        inputs, targets = tokens[:-1][: self.length], tokens[1:][: self.length]
        missing = self.length - len(inputs)
        return inputs + [EOS] * missing, targets + [IGNORED] * missing


def build_corpus(text: str, tokenizer: Tokenizer, *, length: int, held_out_share: float = 0.05) -> Corpus:
    """Split `text` at a speech into a part to train on and a held-out end, and tokenize both."""
    cut = text.index("\n\n", int(len(text) * (1 - held_out_share))) + 2
    trained, held_out = text[:cut], text[cut:]
    openings, speeches, offset = [], [], 0
    for paragraph in trained.split("\n\n"):
        name, _, speech = paragraph.partition("\n")
        if name.endswith(":") and speech:
            openings.append(offset)
            speeches.append(speech)
        offset += len(paragraph) + 2
    return Corpus(
        tokenizer=tokenizer,
        text=trained,
        stream=torch.tensor(tokenizer.encode(trained)),
        openings=openings,
        speeches=speeches,
        held_out=torch.tensor(tokenizer.encode(held_out)),
        length=length,
    )
