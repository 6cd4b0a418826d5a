"""Settings of models that a version gave another name: of semiseparable matrices, and of adaptive depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelplug_migrators.resnet_bk.source.subject import Subject

__all__ = ["ADAPTIVE", "SEMISEPARABLE", "SettingNames"]


@attrs.frozen
class SettingNames:
    """Gives settings of `LanguageModel` and `ResNetBK` other names, where they are keywords.

    Attributes:
        renamed: Older name -> newer name.
    """

    renamed: Mapping[str, str]

    @property
    def MARKERS(self) -> frozenset[str]:  # noqa: N802  as every rule calls it
        """The older names."""
        return frozenset(self.renamed)

    def apply(self, subject: Subject) -> None:
        """Look at the keywords of every call."""
        for call, _ in subject.calls_of("LanguageModel", "ResNetBK"):
            given = {each.keyword.value for each in call.args if each.keyword}
            for each in call.args:
                name = each.keyword.value if each.keyword else ""
                if name in self.renamed and each.keyword and self.renamed[name] not in given:
                    subject.program.edits.replace(*subject.program.span(each.keyword), self.renamed[name])


SEMISEPARABLE = SettingNames({"semiseparable_rank": "low_rank"})
"""As of 0.5."""

ADAPTIVE = SettingNames(
    {
        "act_threshold": "act_halt_threshold",
        "adaptive_computation": "use_act",
        "enable_adaptive_computation": "use_act",
        "halt_threshold_low": "act_halt_threshold",
        "use_adaptive_computation": "use_act",
    }
)
"""As of 0.8."""
