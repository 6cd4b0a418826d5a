"""The settings of `backends.llamafile`."""

from __future__ import annotations

import attrs

from modelplug.backends.types import BackendSettings

__all__ = ["GPUS", "SERVERS", "LlamafileSettings"]

GPUS = ("auto", "nvidia", "amd", "apple", "vulkan", "disable")
SERVERS = ("auto", "v1", "v2")
# What decides where the server listens, what it serves and how it is found: never the user's to change.
_RESERVED = frozenset(
    {"--server", "--v2", "--cli", "--chat", "--host", "--port", "-l", "--listen", "-m", "--model"}
    | {"--api-key", "--api-key-file", "--api-prefix", "--url-prefix", "--help", "-h", "--version"}
)


def _no_reserved(
    _instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]
) -> None:
    for argument in value:
        if argument.partition("=")[0] in _RESERVED:
            msg = f"{attribute.name} can't hold {argument}: this plugin decides about that itself"
            raise ValueError(msg)


@attrs.frozen(kw_only=True)
class LlamafileSettings(BackendSettings):
    """What a llamafile program can be told.

    Attributes:
        executable: The program, or a llamafile; None looks for one.
        use_mmap: Whether to map the file instead of reading it.
        use_mlock: Whether to keep the weights from being swapped out.
        gpu: Brand of GPU to use: `auto` takes the one the model is placed on; any other must work or
            loading fails.
        server: Which of its servers to use: `v1` (the one `--server` starts), `v2` (the one that older
            programs start with `--server --v2`; it samples in its own way), or `auto`.
        arguments: Further command-line arguments, passed as they are.
    """

    executable: str | None = None
    use_mmap: bool = True
    use_mlock: bool = False
    gpu: str = attrs.field(default="auto", validator=attrs.validators.in_(GPUS))
    server: str = attrs.field(default="auto", validator=attrs.validators.in_(SERVERS))
    arguments: tuple[str, ...] = attrs.field(default=(), validator=_no_reserved)
