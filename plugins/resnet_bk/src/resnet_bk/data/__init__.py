"""From text to batches: reading, tokenizing, packing."""

from __future__ import annotations

from resnet_bk.data.errors import DataError, DatasetsMissingError, TokenizerError, VocabularyError
from resnet_bk.data.packing import IGNORED, Batch, BatchOrder, PackedSequences
from resnet_bk.data.texts import documents_in, text_files, text_sources
from resnet_bk.data.tokenizers import Tokenizer, load_tokenizer, train_tokenizer
from resnet_bk.data.tokens import TokenStream, tokenize, tokenize_to_file

__all__ = [
    "IGNORED",
    "Batch",
    "BatchOrder",
    "DataError",
    "DatasetsMissingError",
    "PackedSequences",
    "TokenStream",
    "Tokenizer",
    "TokenizerError",
    "VocabularyError",
    "documents_in",
    "load_tokenizer",
    "text_files",
    "text_sources",
    "tokenize",
    "tokenize_to_file",
    "train_tokenizer",
]
