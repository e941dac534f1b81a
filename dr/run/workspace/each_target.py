"""One thing done on each target of a system, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dr.errors import DrError, InterruptedRunError
from dr.run.workspace.toolbox import Place
from dr.tools import activity, command

T = TypeVar("T")


def everywhere(places: Mapping[str, Place], act: Callable[[Place], T]) -> dict[str, T | DrError]:
    """Do the same on every target side by side; a target's error is its result."""

    def guarded(place: Place) -> T | DrError:
        try:
            return act(place)
        except InterruptedRunError:
            if command.stopping():
                raise
            return DrError("restic was ended from outside", hint="start the backup again")
        except DrError as error:
            return error

    if len(places) == 1:
        return {name: guarded(place) for name, place in places.items()}
    with ThreadPoolExecutor(max(1, len(places))) as pool:
        return dict(zip(places, pool.map(activity.carried(guarded), places.values()), strict=True))
