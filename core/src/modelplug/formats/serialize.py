"""`ModelInfo` as plain data and back, for JSON output and for the trip to a worker process."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelplug.formats.model_info import ModelInfo

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["from_dict", "to_dict"]


def to_dict(info: ModelInfo) -> dict[str, Any]:
    """The record as data that `json.dumps` accepts: paths as text, tuples as lists.

    Args:
        info: What inspection returned. Its metadata holds JSON-able values already.

    Returns:
        One entry per attribute.
    """
    plain: dict[str, Any] = _converter().unstructure(info)
    return plain


def from_dict(data: dict[str, Any]) -> ModelInfo:
    """The record that `to_dict` turned into `data`.

    Args:
        data: What `to_dict` returned, possibly after a trip through JSON.

    Returns:
        A record equal to the original.

    Raises:
        cattrs.errors.BaseValidationError: `data` is not such a record.
    """
    return _converter().structure(data, ModelInfo)


@lru_cache(maxsize=1)
def _converter() -> Converter:
    # imported late: cattrs costs more than the rest of this package
    from cattrs import Converter

    converter = Converter(detailed_validation=False, unstruct_collection_overrides={tuple: list})
    converter.register_unstructure_hook_func(
        lambda kind: isinstance(kind, type) and issubclass(kind, Path), str
    )
    converter.register_structure_hook(Path, lambda value, _: Path(value))
    return converter
