"""How fast a repository grows, by what its listings showed. Pure; every figure of it is an ESTIMATE.

The slope is that of Theil and Sen (P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968):
the median of the slopes between any two observations, which a few that are far off hardly move; its range is Sen's
confidence interval of 90 %. Where pruning makes a saw-tooth of what is stored, only what is left after each prune is
compared: between two of these, growth and expiry are both in the difference.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import combinations, pairwise

from dr.evidence.size import Growth, Observation
from dr.plan.units import MONTH_DAYS

#: What is older tells little of today.
HISTORY = timedelta(days=365)
#: Less than this is no history.
FEWEST, SHORTEST = 3, timedelta(days=14)
#: A drop by more than this share is a prune, and not noise.
_PRUNED = 0.02
#: So many observations are compared with each other, evenly over the time; more tell no more.
_COMPARED = 48
#: The quantile of the normal distribution for a two-sided interval of 90 %.
_Z = 1.645


def sound(seen: Iterable[Observation], now: datetime) -> list[Observation]:
    """Return observations, given in the order in which they were recorded, without those of a clock that was wrong.

    One from after `now`, and the fewest without which time never goes back. Of each day the last.
    """
    known = [each for each in seen if each.at <= now]
    kept = _longest_forward(known)
    return list({each.at.date(): each for each in kept}.values())


def _longest_forward(seen: Sequence[Observation]) -> list[Observation]:
    """Return the longest part in which time never goes back."""
    ends: list[datetime] = []
    last: list[int] = []
    before: list[int | None] = []
    for number, each in enumerate(seen):
        place = bisect.bisect_right(ends, each.at)
        before.append(last[place - 1] if place else None)
        ends[place:], last[place:] = [each.at, *ends[place + 1 :]], [number, *last[place + 1 :]]
    kept, at = [], last[-1] if last else None
    while at is not None:
        kept.append(seen[at])
        at = before[at]
    return kept[::-1]


def growth(seen: Sequence[Observation]) -> Growth | None:
    """Return how fast it grows by sound observations, oldest first; None where they are too few, or too close."""
    if len(seen) < FEWEST or seen[-1].at - seen[0].at < SHORTEST:
        return None
    troughs = [after for before, after in pairwise(seen) if after.bytes < before.bytes * (1 - _PRUNED)]
    compared = troughs if len(troughs) >= 2 and troughs[-1].at - troughs[0].at >= SHORTEST else seen
    slopes = _slopes(_thinned(compared))
    low, high = _range(slopes)
    if len(compared) < FEWEST:  # two prunes: what lies between is all that else is known
        others = _slopes(_thinned(seen))
        low, high = min(low, statistics.median(others)), max(high, statistics.median(others))
    return Growth(
        bytes_per_month=statistics.median(slopes), low=low, high=high, observations=len(seen), since=seen[0].at
    )


def _thinned(seen: Sequence[Observation]) -> Sequence[Observation]:
    if len(seen) <= _COMPARED:
        return seen
    return [seen[round(i * (len(seen) - 1) / (_COMPARED - 1))] for i in range(_COMPARED)]


def _slopes(seen: Sequence[Observation]) -> list[float]:
    """Return the slopes between any two, in bytes a month, the smallest first."""
    month = MONTH_DAYS * 86_400
    return sorted((b.bytes - a.bytes) / (b.at - a.at).total_seconds() * month for a, b in combinations(seen, 2))


def _range(slopes: Sequence[float]) -> tuple[float, float]:
    """Return Sen's interval of 90 %: the slopes that lie as far from the median as Kendall's tau may by chance."""
    number = len(slopes)
    n = (1 + math.isqrt(1 + 8 * number)) // 2
    reach = _Z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    first, last = math.floor((number - reach) / 2), math.ceil((number + reach) / 2)
    return slopes[max(0, first)], slopes[min(number - 1, last)]
