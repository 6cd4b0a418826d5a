"""Making a model of a text."""

from __future__ import annotations

from pathlib import Path

from modelplug_markov.chain import Chain
from modelplug_markov.file import write
from modelplug_markov.tokenizer import END, START, Tokenizer

__all__ = ["train"]


def train(text: str, output: Path, *, name: str, order: int = 3, vocabulary: int = 512) -> int:
    """Train a model and write it.

    Args:
        text: What to learn.
        output: The file to write.
        name: The model's name.
        order: Tokens of context.
        vocabulary: Tokens at most.

    Returns:
        The number of counts in the model.
    """
    tokenizer = Tokenizer.train(text, vocabulary)
    tokens = [START, *tokenizer.encode(text), END]
    chain = Chain.train(tokens, order, tokenizer.vocabulary_size)
    write(output, name, tokenizer, chain)
    return chain.parameters
