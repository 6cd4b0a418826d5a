"""The place of a converted model: nothing half-written is ever there, and nothing there is lost."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelplug.atomic import move_into_place
from modelplug.errors import ConversionError, UsageError

if TYPE_CHECKING:
    from modelplug.formats.model_info import ModelInfo
    from modelplug.runtime import Runtime

__all__ = ["check_space", "default_place", "set_apart"]

_LOCKS: Final = "conversions"
# Room for what else happens on the disk meanwhile.
_SPARE_BYTES: Final = 64 << 20


def default_place(info: ModelInfo, quantization: str, runtime: Runtime) -> Path:
    """Where a converted model goes if nobody says: beside its source, under its name and type.

    What came into a cache of Hugging Face's is not ours to add to: such a model goes into modelplug's own
    data directory.

    Args:
        info: The source.
        quantization: The type it is converted to.
        runtime: For the data directory.
    """
    path = info.path
    if any(part.startswith("models--") for part in path.parts):
        name = (info.name or path.name).replace("/", "-")
        return runtime.paths.data / "models" / f"{name}-{quantization}.gguf"
    return path.with_name(f"{path.name}-{quantization}.gguf")


def check_space(target: Path, size: int) -> None:
    """Make sure that a disk has room for a file.

    Raises:
        ConversionError: It has not.
    """
    from modelplug.system.report import format_bytes

    free = shutil.disk_usage(target.parent).free
    if free < size + _SPARE_BYTES:
        raise ConversionError(
            f"there is no room for {target.name}",
            path=target,
            why=f"it takes {format_bytes(size)}, and {target.parent} has {format_bytes(free)} left",
            advice="Free some space, convert to another disk with --output, or to a smaller type with --to.",
        )


@contextlib.contextmanager
def set_apart(target: Path, *, source: ModelInfo, force: bool, runtime: Runtime) -> Iterator[Path]:
    """A name beside a target for a file in the making, which takes its place when the block ends well.

    A block that ends with an error leaves nothing. One that is killed leaves the file in the making, under a
    hidden name that the next conversion to the same target removes.

    Args:
        target: Where the file is to be; its folder is made.
        source: The model that is being converted, none of whose files is replaced.
        force: Whether to replace a file that is there.
        runtime: For the directory with the locks.

    Raises:
        UsageError: There is something that must not be replaced.
        ConversionError: The folder can't be written, or another process converts to the same place.
    """
    _check_target(target, source, force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(target, error) from error
    name = hashlib.sha256(os.fsencode(target)).hexdigest()[:16]
    with _locked(runtime.paths.cache / _LOCKS / f"{name}.lock", target):
        # The name ends like a finished model's, because engines look at it.
        temporary = target.with_name(f".converting-{name}.gguf")
        try:
            temporary.unlink(missing_ok=True)
            temporary.touch(exist_ok=False)
            temporary.unlink()
        except OSError as error:
            raise _unwritable(target, error) from error
        try:
            yield temporary
            _check_target(target, source, force)
            try:
                move_into_place(temporary, target)
            except OSError as error:
                raise _unwritable(target, error) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _check_target(target: Path, source: ModelInfo, force: bool) -> None:
    if target.is_dir():
        raise UsageError(
            f"{target} is a directory",
            why="the result is one file",
            advice=f"Name the file: --output {target / 'model.gguf'}",
        )
    if not os.path.lexists(target):
        return
    if any(target.exists() and target.samefile(file) for file in source.files if file.exists()):
        raise UsageError(
            f"{target} is the model itself",
            why="a conversion never replaces its source",
            advice="Give the result another name with --output.",
        )
    if not force:
        raise UsageError(
            f"{target} exists",
            why="a conversion replaces nothing unless told to",
            advice="Replace it with --force, or give the result another name with --output.",
        )


@contextlib.contextmanager
def _locked(path: Path, target: Path) -> Iterator[None]:
    import filelock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path, timeout=0)
        lock.acquire()
    except filelock.Timeout as error:
        raise ConversionError(
            f"another process is converting to {target}",
            path=target,
            why=f"it holds {path}",
            advice="Wait for it to end, or give the result another name with --output.",
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def _unwritable(path: Path, error: OSError) -> ConversionError:
    return ConversionError(
        f"{path} can't be written",
        path=path,
        why=error.strerror or str(error),
        advice="Convert to another place with --output.",
    )
