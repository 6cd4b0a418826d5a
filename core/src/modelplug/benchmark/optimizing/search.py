"""Searches one setting after the other: values take turns with the best so far, the better half goes on."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from modelplug.benchmark.optimizing.space import LeftOut, spelled
from modelplug.benchmark.statistics import mann_whitney

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from modelplug.benchmark.optimizing.limit import TimeLimit
    from modelplug.benchmark.optimizing.space import SearchedSetting, SearchSpace
    from modelplug.benchmark.optimizing.trials import Contestant, Trials

__all__ = ["Search"]

MOST_REPEATS = 3
WORTHWHILE = 0.02
"""A value that is better by less than this part is not taken over while searching."""


class Search:
    """Finds the settings that are worth a confirmation.

    It is cheap and may err: a value is taken over if each of at least three rounds was better than each of
    the best so far, so that hardly any comes along by chance. Whether there is a gain is decided afterwards,
    on new rounds.

    Args:
        trials: Measures.
        space: What to try.
        verdict: Why settings do not fit into memory; empty if they do.
        limit: The time there is.
        reserve: Seconds of it to leave for the confirmation.

    Attributes:
        left_out: What was not tried, with the reason.
        ran_out: Whether the time ended before everything was tried.
    """

    def __init__(
        self,
        trials: Trials,
        space: SearchSpace,
        verdict: Callable[[dict[str, Any]], str],
        limit: TimeLimit,
        reserve: float,
    ) -> None:
        self._trials = trials
        self._space = space
        self._verdict = verdict
        self._limit = limit
        self._reserve = reserve
        self.left_out: list[LeftOut] = []
        self.ran_out = False

    def run(self) -> Contestant | None:
        """The contestant that did best besides the settings in force; None if nothing else could be tried."""
        best = now = self._trials.contestant({})
        waiting = list(self._space.settings)
        self._take_turns([now], 1)
        if self._space.engine_defaults:
            best = self._better(best, [self._space.engine_defaults], waiting)
        while waiting and best.alive and not self.ran_out:
            setting = waiting.pop(0)
            options = [{**best.settings, setting.name: value} for value in self._values(setting, best)]
            best = self._better(best, options, waiting)
        self.left_out += [
            LeftOut(what=setting.name, reason="the time was needed to confirm what had been found")
            for setting in waiting
        ]
        return self._challenger(best, now)

    def _values(self, setting: SearchedSetting, best: Contestant) -> list[Any]:
        current = best.settings.get(setting.name, setting.now)
        return [value for value in (setting.now, *setting.values) if value != current]

    def _challenger(self, best: Contestant, now: Contestant) -> Contestant | None:
        """The best one, or else whichever of the others came nearest: noise may have hidden a gain."""
        if best is not now:
            return best
        others = [
            other
            for other in self._trials.contestants
            if other.settings and other.alive and self._score(other)
        ]
        return max(others, key=lambda other: self._score(other)[0], default=None)

    def _score(self, contestant: Contestant) -> list[float]:
        scores = self._trials.scores(contestant)
        return [statistics.median(scores)] if scores else []

    # One setting

    def _better(
        self, best: Contestant, options: Sequence[dict[str, Any]], waiting: Sequence[SearchedSetting]
    ) -> Contestant:
        """The best so far, or the option that was clearly better in each of its turns."""
        now = {setting.name: setting.now for setting in self._space.settings}
        rivals = []
        for option in options:
            settings = {name: value for name, value in option.items() if value != now[name]}
            reason = self._verdict(settings)
            if reason:
                self.left_out.append(LeftOut(what=spelled(settings), reason=reason))
            else:
                rivals.append(self._trials.contestant(settings))
        since = {id(one): len(one.collected.rounds) for one in (best, *rivals)}
        alive = [rival for rival in rivals if rival.alive]
        while alive and best.alive:
            # The best so far comes last: where time ends early, its turns are the ones that can be spared.
            repeats = MOST_REPEATS if best.settings else self._repeats(len(alive), waiting)
            if not self._take_turns([*alive, best], repeats):
                break
            alive = [rival for rival in alive if rival.alive and self._trials.scores(rival, since[id(rival)])]
            alive.sort(key=lambda rival: -statistics.median(self._trials.scores(rival, since[id(rival)])))
            if len(alive) <= 1:
                break
            alive = alive[: len(alive) // 2]
        if len(alive) == 1 and self._is_better(alive[0], best, since):
            return alive[0]
        return best

    def _is_better(self, rival: Contestant, best: Contestant, since: dict[int, int]) -> bool:
        ours, theirs = (self._trials.scores(one, since[id(one)]) for one in (rival, best))
        if min(len(ours), len(theirs)) < MOST_REPEATS:
            return False
        margin = WORTHWHILE * abs(statistics.median(theirs))
        return (
            mann_whitney(theirs, ours).effect == 1
            and statistics.median(ours) - statistics.median(theirs) > margin
        )

    def _take_turns(self, contestants: Sequence[Contestant], repeats: int) -> bool:
        """Measure all of them in turn, A B A B; False if the time was used up."""
        for turn in range(repeats):
            for contestant in contestants:
                if not contestant.alive:
                    continue
                if not self._time_for_a_round or not self._trials.measure(contestant):
                    self.ran_out = True
                    # One turn of each is enough to judge by.
                    return turn > 0
        return True

    # Time

    @property
    def _time_for_a_round(self) -> bool:
        return self._left >= self._trials.expected

    @property
    def _left(self) -> float:
        """Seconds left for searching."""
        # Without anything to confirm, keeping time for that helps nobody.
        rivals = any(one.settings and one.collected.rounds for one in self._trials.contestants)
        return self._limit.left - (self._reserve if rivals else self._reserve / 2)

    def _repeats(self, count: int, waiting: Sequence[SearchedSetting]) -> int:
        """How many turns each contestant can have, so that the settings that wait are reached too."""
        rounds = sum(2 * len(setting.values) + 1 for setting in waiting) + 2 * count + 1
        return max(1, min(MOST_REPEATS, int(self._left / (rounds * max(self._trials.expected, 1e-3)))))
