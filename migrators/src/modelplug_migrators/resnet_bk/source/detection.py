"""Tells whether a file holds programs of this family, and for which version, by its content."""

from __future__ import annotations

import codecs
import contextlib
from typing import TYPE_CHECKING

from modelplug.migration.steps import Confidence, Detection, Kind
from modelplug_migrators.resnet_bk.source.evidence import Evidence, look
from modelplug_migrators.resnet_bk.source.files import ENDINGS, open_file
from modelplug_migrators.resnet_bk.source.parsing import Unreadable
from modelplug_migrators.resnet_bk.source.vocabulary import mentions_old_module
from modelplug_migrators.resnet_bk.versions import NAME, V0_4

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelplug.migration.candidates import Candidate

__all__ = ["detect"]

_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16", codecs.BOM_UTF8: "utf-8-sig"}


def detect(candidate: Candidate) -> Iterator[Detection]:
    """What a Python file, notebook or Markdown file is, if it uses ResNet-BK.

    Args:
        candidate: The file.
    """
    if candidate.is_folder or candidate.suffix not in ENDINGS:
        return
    text = _text_of(candidate.data)
    if not mentions_old_module(text):
        return
    found = _look(candidate, text)
    if found is not None:
        yield Detection(
            family=NAME,
            kind=Kind.SOURCE,
            version=found.version,
            confidence=found.confidence,
            evidence=found.seen,
        )


def _text_of(data: bytes) -> str:
    """What some bytes say, read as whatever they may be: to see whether they matter, not to change them."""
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and data[1:64:2].count(0) > 16:
        encoding = "utf-16-le"
    return data.decode(encoding, errors="replace")


def _look(candidate: Candidate, text: str) -> Evidence | None:
    with contextlib.suppress(Unreadable):
        file = open_file(candidate.path, text)
        found = look(file.code)
        if found is not None or not file.unread:
            return found
    # It is for the step to say where and why it can't be read.
    return Evidence(
        version=V0_4,
        confidence=Confidence.LIKELY,
        seen=("it mentions modules of ResNet-BK, and can't be read as it is",),
    )
