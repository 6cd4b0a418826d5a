"""Brings a configuration to 1.0 that is no file of its own: one inside a checkpoint, for example."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from modelplug.documents import read_document
from modelplug.migration.account import Account, Finding
from modelplug.migration.editing import ConfigEditor
from modelplug.migration.steps import Kind, StepContext
from modelplug_migrators.resnet_bk.configs.detection import recognise
from modelplug_migrators.resnet_bk.versions import V0_9

__all__ = ["Upgraded", "upgrade_values"]


@attrs.frozen(kw_only=True)
class Upgraded:
    """A configuration of 1.0, and what became of the one it was.

    Attributes:
        value: The configuration, with its sections.
        account: What became of every key.
        findings: What a person should know; with an error among them, the value is not to be used.
    """

    value: dict[str, Any]
    account: Account
    findings: tuple[Finding, ...]


def upgrade_values(values: Mapping[str, Any]) -> Upgraded:
    """Bring a configuration to 1.0 that is known to be one of ResNet-BK.

    Args:
        values: Plain data, of any version.

    Raises:
        TypeError: The values hold what JSON can't.
    """
    from modelplug_migrators.resnet_bk.family import STEPS  # which needs this package

    text = json.dumps(dict(values), ensure_ascii=False).encode("utf-8", "surrogatepass")
    editor = ConfigEditor(read_document(text, "json"))
    found = recognise(values)
    version = V0_9 if found is None else found.version
    steps = [step for step in STEPS if step.kind is Kind.CONFIG and step.source >= version]
    for step in sorted(steps, key=lambda step: step.source):
        editor.begin_step(f"{step.source} -> {step.target}")
        step().upgrade(editor, StepContext(path=Path()))
    return Upgraded(value=editor.value, account=editor.account(), findings=editor.findings)
