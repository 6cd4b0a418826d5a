"""The versions of the family."""

from __future__ import annotations

from modelplug.migration.steps import FamilyVersion
from modelplug.migration.versions import Version

__all__ = ["NAME", "V0_4", "V0_5", "V0_6", "V0_7", "V0_8", "V0_9", "V1_0", "VERSIONS"]

NAME = "resnet-bk"

V0_4 = Version(0, 4)
V0_5 = Version(0, 5)
V0_6 = Version(0, 6)
V0_7 = Version(0, 7)
V0_8 = Version(0, 8)
V0_9 = Version(0, 9)
V1_0 = Version(1, 0)

VERSIONS = (
    FamilyVersion(version=V0_4, summary="Dense matrices; settings are arguments of the model."),
    FamilyVersion(version=V0_5, summary="Semiseparable matrices, and options to save memory."),
    FamilyVersion(version=V0_6, summary="Texts of up to a million tokens, and watching over the training."),
    FamilyVersion(version=V0_7, summary="Quantization in modules of its own."),
    FamilyVersion(
        version=V0_8, summary="Adaptive computation in the model; FLOPs are counted when asked for."
    ),
    FamilyVersion(version=V0_9, summary="Models are models of transformers; export to ONNX."),
    FamilyVersion(version=V1_0, summary="One configuration class, strict; checkpoints are folders of data."),
)
