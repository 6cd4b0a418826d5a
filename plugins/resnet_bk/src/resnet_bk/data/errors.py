"""What can be wrong with training data."""

from __future__ import annotations

from pathlib import Path

from modelplug.errors import EXIT_NOTHING_SUITABLE, EXIT_USAGE, ModelplugError

__all__ = ["DataError", "DatasetsMissingError", "TokenizerError", "VocabularyError"]


class DataError(ModelplugError):
    """The data can't be trained on as they are.

    Attributes:
        path: The file at fault, where it is one.
    """

    exit_code = EXIT_USAGE

    def __init__(
        self, what: str, *, path: Path | None = None, why: str = "", advice: str = "", **data: object
    ) -> None:
        self.path = path
        super().__init__(what, why=why, advice=advice, path=path, **data)


class VocabularyError(DataError):
    """A token is outside the model's vocabulary.

    Attributes:
        token: The largest token found.
        vocabulary: How many tokens the model knows.
    """

    def __init__(self, what: str, *, token: int, vocabulary: int, why: str = "", advice: str = "") -> None:
        self.token = token
        self.vocabulary = vocabulary
        super().__init__(what, why=why, advice=advice, token=token, vocabulary=vocabulary)


class TokenizerError(DataError):
    """A tokenizer can't be read, or does not do what is asked of it."""


class DatasetsMissingError(DataError):
    """The library that reads Hugging Face datasets is not installed."""

    exit_code = EXIT_NOTHING_SUITABLE
