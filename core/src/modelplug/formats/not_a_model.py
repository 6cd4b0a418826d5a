"""Saying what a file is when it is no model, and what to do about it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from modelplug.errors import NotAModelError
from modelplug.formats.source import exists

if TYPE_CHECKING:
    from pathlib import Path
    from typing import NoReturn

__all__ = ["refuse_partial_download", "refuse_unknown"]

_PARTIAL_SUFFIXES: Final = {
    ".part": "a browser or download tool",
    ".partial": "a download tool",
    ".incomplete": "the Hugging Face client",
    ".crdownload": "Chrome",
    ".download": "Safari",
    ".opdownload": "Opera",
    ".aria2": "aria2 (this is its control file)",
    ".!qb": "qBittorrent",
}

_LFS: Final = b"version https://git-lfs.github.com/spec/"
_HTML: Final = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body|\?xml)", re.IGNORECASE)

_OTHER_KINDS: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"\x1f\x8b", "a gzip archive", "Unpack it first (`tar xzf` or `gunzip`)."),
    (b"\xfd7zXZ\x00", "an xz archive", "Unpack it first (`tar xJf` or `unxz`)."),
    (b"BZh", "a bzip2 archive", "Unpack it first (`tar xjf` or `bunzip2`)."),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "Unpack it first (`unzstd`)."),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it first (`7z x`)."),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it first."),
    (b"\x89HDF", "an HDF5 file (Keras or TensorFlow weights)", "Use a model in GGUF or safetensors format."),
    (b"\x93NUMPY", "a NumPy array", "Use a model in GGUF or safetensors format."),
    (b"\x08\x03\x12", "probably an ONNX model", "Use a model in GGUF or safetensors format."),
    (b"\x89PNG", "a picture", "Give the path of a model file."),
    (b"%PDF", "a PDF document", "Give the path of a model file."),
    (b"SQLite format 3", "an SQLite database", "Give the path of a model file."),
    (b"{", "a JSON text", "Give the model's weight file or the directory that holds it."),
)


def refuse_partial_download(path: Path) -> None:
    """Refuse a file that a download tool has not finished, going by the names those tools use.

    Raises:
        NotAModelError: It is unfinished.
    """
    tool = _PARTIAL_SUFFIXES.get(path.suffix.lower())
    if tool is not None:
        raise NotAModelError(
            f"{path.name} is an unfinished download",
            path=path,
            why=f"files ending in `{path.suffix}` are left by {tool} until a download is complete",
            advice="Let the download finish, or start it again, and use the file without this ending.",
        )
    control = path.with_name(path.name + ".aria2")
    if exists(control):
        raise NotAModelError(
            f"{path.name} is an unfinished download",
            path=path,
            why=f"aria2 keeps {control.name} beside it until the download is complete",
            advice="Continue the download with `aria2c -c`; if it did finish, delete the control file.",
        )


def refuse_unknown(path: Path, head: bytes, size: int) -> NoReturn:
    """Say what the file is, as far as its beginning tells.

    Args:
        path: The file.
        head: Its first bytes (some thousand, if it has as many).
        size: Its size in bytes.

    Raises:
        NotAModelError: Always.
    """
    what, why, advice = _explain(head, size)
    raise NotAModelError(f"{path.name} is not a model: it is {what}", path=path, why=why, advice=advice)


def _explain(head: bytes, size: int) -> tuple[str, str, str]:
    if size == 0:
        return "empty", "a download or copy failed before its first byte", "Download or copy the file again."
    if head.startswith(_LFS):
        stated = re.search(rb"^size (\d{1,18})$", head, re.MULTILINE)
        real = f"; the model itself has {int(stated[1]):,} bytes" if stated else ""
        return (
            "a Git LFS pointer",
            f"the repository was cloned without Git LFS, so this text stands in for the file{real}",
            "Run `git lfs install`, then `git lfs pull` in the repository, or download the file itself.",
        )
    if _HTML.match(head):
        return (
            "a web page",
            "the address that was downloaded leads to a page about the model (or to a log-in or error page)",
            "Download from the file's own link (on Hugging Face it contains `/resolve/`, not `/blob/`).",
        )
    if not head.strip(b"\0"):
        return (
            "all zeros at its beginning",
            "a download tool reserved the space and never filled it, or the disk lost the data",
            "Download or copy the file again.",
        )
    for magic, what, advice in _OTHER_KINDS:
        if head.startswith(magic):
            return what, "", advice
    if head[257:262] == b"ustar":
        return "a tar archive", "", "Unpack it first (`tar xf`)."
    if _is_text(head):
        line = head.split(b"\n", 1)[0][:60].decode("utf-8", "replace").strip()
        return (
            f"a text that begins {line!r}",
            "servers answer with a short text when a file needs a log-in or does not exist",
            "Open the file in an editor to see what it says, and download the model again.",
        )
    return (
        f"of an unknown format (it begins with the bytes {head[:8].hex(' ')})",
        "it matches none of GGUF, GGML, safetensors, PyTorch, Hugging Face directory and llamafile",
        "Check that the download is complete and unencrypted, or install a plugin that knows the format.",
    )


def _is_text(head: bytes) -> bool:
    return not any(byte < 32 and byte not in b"\t\n\r\f" for byte in head[:512])
