"""What Windows says about the processor."""

from __future__ import annotations

import sys

__all__ = ["features_of", "processor_features", "processor_name"]

_PROCESSOR = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"

# Arguments of IsProcessorFeaturePresent.
_QUERIES = {
    10: "sse2",
    13: "sse3",
    36: "ssse3",
    37: "sse4_1",
    38: "sse4_2",
    39: "avx",
    40: "avx2",
    41: "avx512f",
    29: "neon",
    43: "dotprod",
}


def features_of(present: frozenset[int]) -> frozenset[str]:
    """The instruction sets behind the numbers for which `IsProcessorFeaturePresent` said yes.

    Windows has no question for FMA and F16C. Every processor with AVX2 that Intel or AMD sell has both.
    """
    features = {name for number, name in _QUERIES.items() if number in present}
    if "avx2" in features:
        features |= {"fma", "f16c"}
    return frozenset(features)


def processor_features() -> frozenset[str]:
    """The instruction sets of this machine's processor; empty on other systems than Windows."""
    if sys.platform == "win32":
        import ctypes

        ask = ctypes.windll.kernel32.IsProcessorFeaturePresent
        return features_of(frozenset(number for number in _QUERIES if ask(number)))
    return frozenset()


def processor_name() -> str:
    """The processor's marketing name from the registry; empty if it isn't there or this isn't Windows."""
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _PROCESSOR) as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
        except OSError:
            return ""
    return ""
