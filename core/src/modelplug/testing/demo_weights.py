"""The bundled demo model in other formats with the same weights, for tests that compare engines.

F32, F16, Q8_0 and the Hugging Face directory hold exactly the same numbers: the demo model was rounded so
that all of them can. Only Q4_0 rounds further.
"""

from __future__ import annotations

import tempfile
import zlib
from functools import lru_cache
from pathlib import Path

from modelplug.data import demo_model_path
from modelplug.testing.demo_gguf import PRECISIONS, DemoGguf, read_demo_gguf, write_demo_gguf
from modelplug.testing.demo_hugging_face import write_demo_hugging_face

__all__ = ["write_gguf", "write_hugging_face_directory"]


def write_gguf(directory: Path, precision: str) -> Path:
    """Write the demo model as a GGUF file of another precision, unless it is already there.

    Args:
        directory: Where to put the file; made if need be. Use one directory for a whole test run.
        precision: `f32`, `f16`, `q8_0` or `q4_0`.

    Returns:
        The path of the file.

    Raises:
        ValueError: There is no such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"{precision!r} is not one of {', '.join(PRECISIONS)}")
    target = directory / f"demo-{precision}-{_content_id()}.gguf"
    if not target.exists():
        with _workplace(directory) as workplace:
            made = Path(workplace) / target.name
            write_demo_gguf(_demo_model(), made, precision)
            made.replace(target)
    return target


def write_hugging_face_directory(directory: Path) -> Path:
    """Write the demo model as a Hugging Face directory with 32-bit weights, unless it is already there.

    Args:
        directory: The directory in which the model's directory is made. Use one for a whole test run.

    Returns:
        The path of the model's directory.
    """
    target = directory / f"demo-hf-{_content_id()}"
    if not target.exists():
        with _workplace(directory) as workplace:
            made = Path(workplace) / target.name
            made.mkdir()
            write_demo_hugging_face(_demo_model(), made)
            try:
                made.rename(target)
            except OSError:
                # Another process was quicker; anything else is an error.
                if not (target / "config.json").exists():
                    raise
    return target


def _workplace(directory: Path) -> tempfile.TemporaryDirectory[str]:
    """A directory beside the results, so that a finished one appears at once and never half-written."""
    directory.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(dir=directory, prefix=".making-")


def _content_id() -> str:
    """Eight digits that change with the bundled file, so that old results are never mistaken for new ones."""
    return f"{zlib.crc32(demo_model_path().read_bytes()):08x}"


@lru_cache(maxsize=1)
def _demo_model() -> DemoGguf:
    return read_demo_gguf(demo_model_path())
