"""What files are that are called like checkpoints, and that no step takes: a plan says why they stay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from modelplug.errors import ModelFileError, ModelNotFoundError, NotAModelError, TruncatedModelError
from modelplug.migration.candidates import CHECKPOINT_ENDINGS

if TYPE_CHECKING:
    from modelplug.migration.candidates import Candidate

__all__ = ["LeftAlone", "explain", "is_called_a_checkpoint"]

_FORMS = {
    "pytorch": "PyTorch weights",
    "pytorch-legacy": "PyTorch weights",
    "safetensors": "safetensors weights",
}


@attrs.frozen(kw_only=True)
class LeftAlone:
    """A file that stays as it is.

    Attributes:
        path: The file, links resolved.
        given_as: How the user named it.
        what: What it is, in words that files of one kind share.
        why: What is said of this file besides; may be empty.
    """

    path: Path
    given_as: Path
    what: str
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "path": str(self.path),
            "given_as": str(self.given_as),
            "what": self.what,
            "why": self.why,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LeftAlone:
        """What `to_dict` wrote.

        Raises:
            KeyError: Something is missing.
        """
        return cls(
            path=Path(data["path"]), given_as=Path(data["given_as"]), what=data["what"], why=data["why"]
        )


def is_called_a_checkpoint(candidate: Candidate) -> bool:
    """Whether a file's name ends as those of checkpoints do."""
    return candidate.suffix in CHECKPOINT_ENDINGS and not candidate.is_folder


def explain(candidate: Candidate) -> LeftAlone:
    """What a file is that is called like a checkpoint and belongs to no family.

    Args:
        candidate: The file.
    """
    what, why = _look_at(candidate)
    return LeftAlone(path=candidate.path, given_as=candidate.given_as, what=what, why=why)


def _look_at(candidate: Candidate) -> tuple[str, str]:
    from modelplug.formats.inspection import inspect_file

    try:
        info = inspect_file(candidate.path)
    except TruncatedModelError as error:
        return "a file that is cut off", error.why or error.what
    except (NotAModelError, ModelNotFoundError) as error:
        return "no checkpoint", error.why or error.what
    except ModelFileError as error:
        return "a damaged file", error.why or error.what
    except OSError as error:
        return "a file that can't be read", error.strerror or str(error)
    form = _FORMS.get(info.format, f"{info.format} weights")
    return f"{form} of a model that no installed family knows", ""
