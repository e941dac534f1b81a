"""Where a target is: of one that was read now, and of one that is known from before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

#: Whether a host's name or address is that of this host.
IsHere = Callable[[str], bool]


class _Place(Protocol):
    @property
    def service_host(self) -> str: ...

    @property
    def meant_offsite(self) -> bool: ...


class Whereabouts:
    """Where a target is, by what is declared of it."""

    def lies_here(self: _Place, is_here: IsHere) -> bool:
        """Whether its service is on this very host, whatever was declared."""
        return bool(self.service_host) and is_here(self.service_host)

    def is_offsite(self: _Place, is_here: IsHere) -> bool:
        """Whether a copy here counts as offsite: as declared or by kind, unless the service is on this very host."""
        return self.meant_offsite and not Whereabouts.lies_here(self, is_here)
