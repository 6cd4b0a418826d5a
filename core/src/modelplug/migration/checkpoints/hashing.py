"""SHA-256 of what is read, in a thread of its own while something else is written."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from modelplug.migration.checkpoints.build import FileReceipt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from modelplug.migration.checkpoints.source import CheckpointSource, TensorData

__all__ = ["SourceHashes", "hash_file", "hash_tensor"]

_CHUNK = 1 << 18  # what fits into the cache of a core is written twice as fast as a megabyte


def hash_tensor(tensor: TensorData) -> str:
    """SHA-256 of a tensor's values, in hexadecimal."""
    digest = hashlib.sha256()
    for chunk in tensor.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def hash_file(path: Path, stopped: Callable[[], bool] = lambda: False) -> FileReceipt:
    """Size and SHA-256 of a file.

    Args:
        path: The file.
        stopped: Whether nobody wants to know any more.
    """
    digest, size = hashlib.sha256(), 0
    buffer = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as stream:
        while (count := stream.readinto(buffer)) and not stopped():
            digest.update(buffer[:count])
            size += count
    return FileReceipt(size, digest.hexdigest())


class SourceHashes:
    """Hashes the files, and if wished the tensors, of a checkpoint while something else is done.

    Args:
        source: The checkpoint.
        each_tensor: Whether every tensor is hashed besides.
    """

    def __init__(self, source: CheckpointSource, *, each_tensor: bool) -> None:
        self._source = source
        self._wanted = source.tensors if each_tensor else {}
        self._files: dict[Path, FileReceipt] = {}
        self._tensors: dict[str, str] = {}
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="modelplug-hash", daemon=True)

    def __enter__(self) -> SourceHashes:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            for path in self._source.files:
                self._files[path] = hash_file(path, self._stop.is_set)
            for name, tensor in self._wanted.items():
                if self._stop.is_set():
                    return
                self._tensors[name] = hash_tensor(tensor)
        except Exception as error:  # noqa: BLE001  raised where the result is asked for
            self._error = error

    def result(self) -> tuple[dict[Path, FileReceipt], dict[str, str]]:
        """File -> its size and hash, and tensor -> the hash of its values.

        Raises:
            OSError: Something can't be read.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._files, self._tensors
