"""What a kind of target declares below its own key, and what that says of it before it is opened.

A kind is one class here, the keys that people write, and one driver (`dr.targets`), which opens what is declared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from dr.plan.base import Declaration
from dr.plan.found import Found
from dr.plan.immutability import Immutability

Media = Literal["object-storage", "disk", "tape", "optical", "other"]


class TargetKind(Declaration):
    """The keys of one kind. What is not overridden here is true of a service that keeps plain objects elsewhere."""

    #: The key in a target file, and what people call such a place.
    key: ClassVar[str]
    noun: ClassVar[str]
    #: What `dr schema target` says of the key: one sentence, and what may stand below it.
    about: ClassVar[str]
    example: ClassVar[Mapping[str, Any]]
    #: What copies are stored on, and whether they count as offsite, where the target file does not say.
    medium: ClassVar[Media]
    is_offsite: ClassVar[bool] = True
    #: Whether it can be a disk that is taken away (`offline`).
    may_be_detached: ClassVar[bool] = False
    #: Whether another host can write there by itself, given nothing but an environment.
    is_reached_from_elsewhere: ClassVar[bool] = True
    #: Whether such a place can keep what is overwritten and deleted, and give it back.
    may_keep_versions: ClassVar[bool] = False
    #: The key that holds its address.
    address_key: ClassVar[str] = ""

    @property
    def place(self) -> tuple[str, ...]:
        """Where it is: the same for two targets that are one place. Begins with the key."""
        raise NotImplementedError

    @property
    def service_host(self) -> str:
        """Return the name or address of the host whose service it is; nothing where that is not known."""
        return ""

    @property
    def container(self) -> str:
        """Return what several targets may share, and a rehearsed attack must have alone; nothing for none."""
        return ""

    @property
    def directory(self) -> Path | None:
        """Return the directory, where it is one of this host; else None."""
        return None

    @property
    def expires(self) -> bool:
        """Return whether recovery points may be removed there: with what backs up, or with what is named for it."""
        return True

    @property
    def locks(self) -> Immutability:
        """Return what Object Lock is declared. A kind that can lock has the key `immutability`."""
        declared = getattr(self, "immutability", None)
        return declared if isinstance(declared, Immutability) else Immutability()

    def faults(self, env: Mapping[str, str]) -> Iterator[Found]:
        """Yield what is wrong with it, as far as can be told from this machine: no network is used."""
        yield from ()

    def anywhere(self) -> Self:
        """Return it so that it means the same place wherever the file is."""
        return self
