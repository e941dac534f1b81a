"""A generated database: statements drawn from a seed, so that the same number gives the same database each time."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

T = TypeVar("T")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class Seeded:
    """One database of a kind. `traits` say what is in it, `without` what may not be.

    `before` and `after` are statements for the server, around those for the database itself: accounts, and what
    becomes of them. `lacking` is in the source itself: a capture may name it, and the run is then degraded.
    """

    kind: str
    number: int
    name: str
    before: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    traits: set[str] = field(default_factory=set)
    without: frozenset[str] = frozenset()

    def takes(self, trait: str) -> bool:
        """Whether it may have this trait, which it then has."""
        if trait in self.without:
            return False
        self.traits.add(trait)
        return True

    def called(self, name: str) -> Seeded:
        """Return the same database under another name, with all that names it."""
        own, number = self.name, name.rpartition("_")[2]

        def other(texts: list[str]) -> list[str]:
            return [
                re.sub(rf"(\b(?:weak|gone|clerk))_{self.number:02}\b", rf"\1_{number}", text).replace(own, name)
                for text in texts
            ]

        return replace(
            self, name=name, before=other(self.before), statements=other(self.statements), after=other(self.after)
        )

    @property
    def script(self) -> str:
        """What makes it, for somebody who wants to see."""
        return "\n".join([*self.before, f"-- in {self.name}", *self.statements, "-- then", *self.after])


class Draw:
    """Chance by a seed, and names in any order of letters."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._used: set[str] = set()

    def maybe(self, share: float) -> bool:
        """Whether this time."""
        return self._random.random() < share

    def number(self, least: int, most: int) -> int:
        """A number of these."""
        return self._random.randint(least, most)

    def pick(self, among: Sequence[T]) -> T:
        """One of these."""
        return self._random.choice(among)

    def name(self, tail: str) -> str:
        """A name that nobody has yet; its first letter says nothing about when it was given."""
        while True:
            name = f"{self._random.choice(_LETTERS)}{self._random.randint(0, 99)}_{tail}"
            if name not in self._used:
                self._used.add(name)
                return name
