"""Names: which kernel flags are instruction sets, and what ARM's part numbers are called."""

from __future__ import annotations

__all__ = ["ARM_FEATURES", "MACOS_ARM_FEATURES", "X86_FEATURES", "X86_PREFIXES", "arm_name"]

# Linux flag -> the name used everywhere in modelplug. Linux calls SSE3 by its code name ("pni").
X86_FEATURES = {
    "sse2": "sse2",
    "pni": "sse3",
    "sse3": "sse3",
    "ssse3": "ssse3",
    "sse4_1": "sse4_1",
    "sse4_2": "sse4_2",
    "popcnt": "popcnt",
    "avx": "avx",
    "avx2": "avx2",
    "fma": "fma",
    "fma4": "fma4",
    "f16c": "f16c",
    "bmi1": "bmi1",
    "bmi2": "bmi2",
}
X86_PREFIXES = ("avx512", "avx_", "avx10", "amx_", "avxvnni")

ARM_FEATURES = {
    "neon": "neon",
    "asimd": "neon",
    "vfpv4": "vfpv4",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
    "sme2": "sme2",
    "atomics": "atomics",
}

MACOS_ARM_FEATURES = {
    "hw.optional.neon": "neon",
    "hw.optional.AdvSIMD": "neon",
    "hw.optional.arm.AdvSIMD": "neon",
    "hw.optional.neon_fp16": "fp16",
    "hw.optional.arm.FEAT_FP16": "fp16",
    "hw.optional.arm.FEAT_DotProd": "dotprod",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_LSE": "atomics",
    "hw.optional.arm.FEAT_SME": "sme",
    "hw.optional.arm.FEAT_SME2": "sme2",
}

# (implementer, part) as in the MIDR register.
_ARM_PARTS = {
    (0x41, 0xD03): "ARM Cortex-A53",
    (0x41, 0xD04): "ARM Cortex-A35",
    (0x41, 0xD05): "ARM Cortex-A55",
    (0x41, 0xD07): "ARM Cortex-A57",
    (0x41, 0xD08): "ARM Cortex-A72",
    (0x41, 0xD09): "ARM Cortex-A73",
    (0x41, 0xD0A): "ARM Cortex-A75",
    (0x41, 0xD0B): "ARM Cortex-A76",
    (0x41, 0xD0C): "ARM Neoverse-N1",
    (0x41, 0xD0D): "ARM Cortex-A77",
    (0x41, 0xD40): "ARM Neoverse-V1",
    (0x41, 0xD41): "ARM Cortex-A78",
    (0x41, 0xD42): "ARM Cortex-A78AE",
    (0x41, 0xD44): "ARM Cortex-X1",
    (0x41, 0xD46): "ARM Cortex-A510",
    (0x41, 0xD47): "ARM Cortex-A710",
    (0x41, 0xD48): "ARM Cortex-X2",
    (0x41, 0xD49): "ARM Neoverse-N2",
    (0x41, 0xD4D): "ARM Cortex-A715",
    (0x41, 0xD4E): "ARM Cortex-X3",
    (0x41, 0xD4F): "ARM Neoverse-V2",
    (0xC0, 0xAC3): "Ampere-1",
    (0xC0, 0xAC4): "Ampere-1a",
    (0x48, 0xD01): "HiSilicon Kunpeng 920",
    (0x51, 0x001): "Qualcomm Oryon",
}


def arm_name(implementer: str, part: str) -> str:
    """The name of an ARM core from the numbers in `/proc/cpuinfo`; empty if it isn't in the table."""
    try:
        return _ARM_PARTS.get((int(implementer, 0), int(part, 0)), "")
    except ValueError:
        return ""
