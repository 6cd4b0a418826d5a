"""Makes damaged copies of a model, always the same ones."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["doubtful_models", "useless_models"]

Damage = Callable[[bytes], bytes]

WEB_PAGE = b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n"
HEAD = 2048


def _flipped(seed: int) -> Damage:
    def damage(data: bytes) -> bytes:
        source = random.Random(seed)  # noqa: S311  nothing here is secret
        changed = bytearray(data)
        for _ in range(4):
            # Beyond the first words, which say what kind of file it is.
            position = source.randrange(24, min(HEAD, len(data)))
            changed[position] ^= 1 << source.randrange(8)
        return bytes(changed)

    return damage


def _random_second_half(data: bytes) -> bytes:
    half = len(data) // 2
    return data[:half] + random.Random(9).randbytes(len(data) - half)  # noqa: S311  nothing here is secret


USELESS: dict[str, Damage] = {
    "empty": lambda _data: b"",
    "one byte": lambda data: data[:1],
    "cut in the header": lambda data: data[:100],
    "cut in the middle": lambda data: data[: len(data) // 2],
    "without its first bytes": lambda data: bytes(~byte & 0xFF for byte in data[:16]) + data[16:],
    "a web page": lambda _data: WEB_PAGE,
    "all zeros": lambda data: bytes(len(data)),
}
DOUBTFUL: dict[str, Damage] = {
    "bits flipped in the header (1)": _flipped(1),
    "bits flipped in the header (2)": _flipped(2),
    "bits flipped in the header (3)": _flipped(3),
    "random numbers in the second half": _random_second_half,
}


def useless_models(source: Path, directory: Path) -> Iterator[tuple[str, Path]]:
    """Copies that nobody could run, as (what was done, path).

    Args:
        source: A model that is a file or a directory; its largest file is damaged, and its `config.json`.
        directory: Where to put them; each is removed when the next is asked for.
    """
    yield from _copies(source, directory, _main_file(source), USELESS)
    if source.is_dir() and (source / "config.json").is_file():
        damages = {f"config.json {name}": USELESS[name] for name in ("empty", "cut in the header")}
        damages["config.json of an unknown architecture"] = _unknown_architecture
        yield from _copies(source, directory, source / "config.json", damages)
    elif b"general.architecture" in source.read_bytes()[:HEAD]:
        yield from _copies(source, directory, source, {"an unknown architecture": _unknown_architecture})


def doubtful_models(source: Path, directory: Path) -> Iterator[tuple[str, Path]]:
    """Copies that may or may not run, as (what was done, path).

    Args:
        source: A model that is a file or a directory; its largest file is damaged.
        directory: Where to put them; each is removed when the next is asked for.
    """
    yield from _copies(source, directory, _main_file(source), DOUBTFUL)


def _main_file(source: Path) -> Path:
    if source.is_file():
        return source
    return max((path for path in source.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def _copies(
    source: Path, directory: Path, file: Path, damages: dict[str, Damage]
) -> Iterator[tuple[str, Path]]:
    data = file.read_bytes()
    target = directory / f"damaged-{source.name}"
    for name, damage in damages.items():
        if source.is_dir():
            shutil.copytree(source, target)
            (target / file.relative_to(source)).write_bytes(damage(data))
        else:
            target.write_bytes(damage(data))
        yield name, target
        if source.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()


def _unknown_architecture(data: bytes) -> bytes:
    """The same file with every mention of its architecture made one that does not exist, of equal length."""
    marker = b"general.architecture"
    if marker in data[:HEAD]:
        start = data.index(marker) + len(marker) + 4
        length = int.from_bytes(data[start : start + 8], "little")
        name = data[start + 8 : start + 8 + length]
        return data.replace(name, bytes(reversed(name)).upper())
    import json

    config = json.loads(data)
    config.update(architectures=["NoSuchModel"], model_type="no-such-model")
    return json.dumps(config).encode()
