"""What a target held at the last look, kept in the cache, and held against its listing now.

Both pass by in the order of names, so that of a million objects none is held but the first that are to be read again.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import field
from pathlib import Path

from dr.evidence.stored_object import side_by_side
from dr.late_dataclass import dataclass
from dr.run.verification.inventory import Inventory, Listed

#: What is written once and never again. That snapshots are gone is seen by who looks for points.
_ONCE = ("data/", "index/", "snapshots/")
_NEEDED = ("data/", "index/")

#: In the order of names: the name, the size in bytes, and when it was written in microseconds since 1970; None where
#: only the size is known.
Known = Iterable[tuple[str, int, int | None]]


@dataclass
class Difference:
    """What a listing shows against what was `known`, if anything was.

    `gone`: whether something that is needed is not there; `grown`: bytes of data that were not there before. `number`
    objects were written again; of these `again` are the first, those of another size before the others, with the size
    (bytes) that each had.
    """

    known: bool = False
    gone: bool = False
    grown: int = 0
    number: int = 0
    again: list[tuple[Listed, int]] = field(default_factory=list)


def compare(before: Known, there: Inventory, *, most: int) -> Difference:
    """Hold what was known against a listing; of what was written again so many are named at most.

    Raises `ValueError` where what was known is not in order, or cannot be understood.
    """
    found = Difference()

    def again() -> Iterator[tuple[bool, Listed, int]]:
        for name, was, item in side_by_side(_in_order(before), there):
            found.known |= was is not None
            if item is None:
                found.gone |= name.startswith(_NEEDED)
            elif was is None:
                found.grown += item.size if name.startswith("data/") else 0
            elif name.startswith(_ONCE) and (item.size != was[1] or was[2] not in (None, item.modified)):
                found.number += 1
                yield item.size == was[1], item, was[1]

    found.again = [(item, size) for _, item, size in heapq.nsmallest(most, again())]
    return found


def _in_order(known: Known) -> Iterator[tuple[str, int, int | None]]:
    before = ""
    for each in known:
        if each[0] <= before:
            raise ValueError(f"{each[0]} does not come behind {before}")
        before = each[0]
        yield each


def kept(path: Path) -> Known:
    """Yield the last look; nothing where none is kept. Raises `ValueError` for what cannot be understood."""
    with suppress(FileNotFoundError), path.open(encoding="ascii") as file:
        for number, line in enumerate(file):
            match json.loads(line):
                case [str(name), int(size), int(written)]:
                    yield name, size, written
                case int(said) if said == number:
                    return
                case _:
                    raise ValueError(line)
        raise ValueError("its end is missing")


def keep(path: Path, there: Inventory) -> None:
    """Keep a look, whole or not at all. A cache that cannot be written costs the next run a proof, and no more."""
    number, made = 0, path.with_suffix(".new")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with made.open("w", encoding="ascii") as file:
            for item in there:
                if item.name.startswith(_ONCE):
                    file.write(f"[{json.dumps(item.name)},{item.size},{item.modified}]\n")
                    number += 1
            file.write(f"{number}\n")
        made.replace(path)
        path.with_suffix(".json").unlink(missing_ok=True)  # as an earlier release kept it
