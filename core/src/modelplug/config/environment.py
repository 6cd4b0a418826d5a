"""Settings from environment variables.

`MODELPLUG_<KEY>` overrides a setting of the file; two underscores lead into a section:
`MODELPLUG_ISOLATION=inline`, `MODELPLUG_DEADLINES__LOAD=60`, `MODELPLUG_BACKENDS__LLAMACPP__GPU_LAYERS=20`.
`MODELPLUG_BACKEND` and `MODELPLUG_MODEL` are short for `MODELPLUG_PREFERRED_BACKEND` and
`MODELPLUG_MODEL_PATH`. Values are JSON where that is what they look like, and text otherwise; lists may be
written with commas, and yes and no mean true and false. An empty variable counts as not set.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import attrs

from modelplug.config.schema import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug.config.document import KeyPath

__all__ = ["PREFIX", "Variable", "read_environment", "variable_name"]

PREFIX = "MODELPLUG_"

_SHORT = {"backend": "preferred_backend", "model": "model_path"}
# Variables of the program that are no settings; a setting's misspelling is told from them by distance only.
_OTHERS = frozenset({"home", "disable_plugins", "debug", "shared", "plugins", "log_level", "no_plugins"})


@attrs.frozen(kw_only=True)
class Variable:
    """One environment variable that is a setting.

    Attributes:
        name: The variable.
        path: The setting it overrides.
        text: Its value.
    """

    name: str
    path: KeyPath
    text: str


def read_environment(environ: Mapping[str, str]) -> tuple[list[Variable], list[str]]:
    """The variables that are settings, and a warning for each that looks like a misspelt one.

    Args:
        environ: The environment.
    """
    known = [field.name for field in attrs.fields(Settings) if field.name != "version"]
    found: list[Variable] = []
    warnings: list[str] = []
    for name, text in sorted(environ.items()):
        if not name.upper().startswith(PREFIX) or not text:
            continue
        steps = name[len(PREFIX) :].lower().split("__")
        first = _SHORT.get(steps[0], steps[0]) if len(steps) == 1 else steps[0]
        if first in known and all(steps):
            found.append(Variable(name=name, path=(first, *steps[1:]), text=text))
        elif steps[0] not in _OTHERS:
            near = difflib.get_close_matches(steps[0], [*known, *_SHORT], n=1, cutoff=0.8)
            if near:
                meant = PREFIX + "__".join([near[0], *steps[1:]]).upper()
                warnings.append(f"the environment variable {name} sets nothing; did you mean {meant}?")
    return found, warnings


def variable_name(path: KeyPath) -> str:
    """The variable that overrides a setting."""
    return PREFIX + "__".join(step.upper().replace("-", "_").replace(".", "_") for step in path)
