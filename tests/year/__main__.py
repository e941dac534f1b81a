"""A simulated year of a thousand systems: what it costs, and that nothing grows without bound.

Run: `make year`, or `python -m tests.year 100` for a hundred systems. Long: about a second of processor time for each
250 runs, of which a thousand systems make half a million.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from datetime import timedelta

from tests.bench.bench_start import borgmatic
from tests.bench.measure import dr, scratch
from tests.year.simulation import Simulation

#: Of a year, in parts; the clock goes three hours at a time.
DAYS, PARTS, EVERY = 364, 8, timedelta(hours=3)


def of_children() -> float:
    """Processor seconds of all programs run so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cost(year: Simulation, *arguments: str) -> float:
    """Processor seconds of `dr` as typed. Its clock is the real one, by which all is long overdue, or to come."""
    began = of_children()
    dr(year.home, *arguments, code=4 if arguments[0] == "status" else 0)
    return of_children() - began


def told(year: Simulation, day: float) -> str:
    """One line about the year so far."""
    idle = [seconds for busy, seconds in year.ticks if not busy]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return (
        f"day {day:3.0f}: {year.records:7,} records, catalog {year.catalog_bytes / 1e6:6.1f} MB, "
        f"a tick that finds nothing due {statistics.median(idle):.3f} CPU s, memory {memory:.0f} MB, "
        f"dr status {cost(year, 'status'):.1f} CPU s, dr report --since {cost(year, 'report', '--since', '2026-01-01'):.1f}"
    )


def main() -> None:
    """Simulate, and print."""
    systems, sizes, began = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000, [], time.process_time()
    with scratch() as home:
        year = Simulation(home, systems, durable=False)
        year.declare()
        for part in range(1, PARTS + 1):
            year.go(DAYS / PARTS, EVERY)
            sizes.append(year.catalog_bytes)
            print(told(year, DAYS / PARTS * part), flush=True)
        ratio = sizes[-1] / sizes[PARTS // 2 - 1]
        print(f"the catalog after a year / after half of it: {ratio:.2f} (goal 1.5)")
        print(f"dr audit of the year: {cost(year, 'audit'):.1f} CPU s")
        program = borgmatic(home)
        before = of_children()
        for _ in range(3):
            subprocess.run([program, "--version"], check=True, stdout=subprocess.DEVNULL)
        theirs = (of_children() - before) / 3
        idle = statistics.median(seconds for busy, seconds in year.ticks[-PARTS * 20 :] if not busy)
        print(f"a tick that finds nothing due / borgmatic --version: {idle / theirs:.2f} (goal 0.3); {theirs:.2f} s")
        print(
            f"{systems} systems, {len(year.ticks)} ticks, {time.process_time() - began:.0f} CPU s for all", flush=True
        )


if __name__ == "__main__":
    main()
