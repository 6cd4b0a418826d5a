"""Reads how much energy the processor has used, where the kernel tells (RAPL)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modelplug.system import Host

__all__ = ["EnergyMeter"]

_FOLDER = "/sys/class/powercap"


class EnergyMeter:
    """The energy counters of the processor's packages.

    They count for the whole package, whoever uses it, and since 2020 most systems let only root read them.

    Args:
        host: Where to look.

    Attributes:
        sources: The names of the counters that can be read; empty if none can.
    """

    def __init__(self, host: Host) -> None:
        self._counters: dict[str, tuple[Path, int]] = {}
        # `intel-rapl:0` is a package; `intel-rapl:0:1` is a part of it and counted already.
        for folder in host.glob(_FOLDER, "*-rapl:[0-9]*"):
            name, limit = _text(folder / "name"), _text(folder / "max_energy_range_uj")
            readable = _text(folder / "energy_uj").isdecimal() and limit.isdecimal()
            if folder.name.count(":") == 1 and name.startswith("package") and readable:
                self._counters[name] = (folder / "energy_uj", int(limit))
        self.sources = tuple(sorted(self._counters))

    def read(self) -> dict[str, int]:
        """Microjoules by source, at this moment; what can't be read is left out."""
        values = {name: _text(file) for name, (file, _limit) in self._counters.items()}
        return {name: int(text) for name, text in values.items() if text.isdecimal()}

    def joules(self, before: Mapping[str, int], after: Mapping[str, int]) -> float | None:
        """Energy used between two readings; None unless every source was read both times.

        Args:
            before: The earlier reading.
            after: The later one.
        """
        if not self.sources or set(before) != set(self.sources) or set(after) != set(self.sources):
            return None
        total = 0
        for name, (_file, limit) in self._counters.items():
            used = after[name] - before[name]
            # The counter starts anew at its limit, minutes apart at the soonest.
            total += used if used >= 0 else used + limit
        return total / 1e6


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
