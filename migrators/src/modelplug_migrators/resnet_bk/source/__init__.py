"""Programs that use ResNet-BK: Python files, notebooks, and Python blocks in Markdown.

What the rest of the family needs of this package:

- `detect(candidate)` gives at most one `Detection`, of `Kind.SOURCE`. The version is that of the oldest way
  of doing something that the program uses; if nothing tells, the newest version that brought something it
  uses; else 0.4. A program that imports from `resnet_bk` alone, and uses nothing as before, is of 1.0.
- `upgrade_source_0_5(artifact, context)` to `upgrade_source_1_0(artifact, context)` bring the program in a
  `SourceEditor` from the version before to this one. There is no way back but a rollback: a program of today
  may use what there was not before.

How it is done: the `rules`, one module each, look at a `Program` and note changes to spans of its text, so
whatever no rule touches stays as it is. Names are resolved by LibCST's scopes; where objects come from is
followed within the file. What can't be decided is left as it was, and told with its line.

LibCST is loaded when a program is changed, and not to see whether a file is one.
"""

from __future__ import annotations

from modelplug_migrators.resnet_bk.source.detection import detect
from modelplug_migrators.resnet_bk.source.steps import (
    upgrade_source_0_5,
    upgrade_source_0_6,
    upgrade_source_0_7,
    upgrade_source_0_8,
    upgrade_source_0_9,
    upgrade_source_1_0,
)

__all__ = [
    "detect",
    "upgrade_source_0_5",
    "upgrade_source_0_6",
    "upgrade_source_0_7",
    "upgrade_source_0_8",
    "upgrade_source_0_9",
    "upgrade_source_1_0",
]
