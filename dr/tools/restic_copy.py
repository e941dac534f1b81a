"""One restic that is to reach two repositories at once: what it takes for both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dr.errors import DrError
from dr.tools.network import authorities


class Reached(Protocol):
    """What restic is told of a repository: see `dr.tools.restic.Repository`."""

    @property
    def location(self) -> str:
        """What restic calls it."""

    @property
    def where(self) -> str:
        """It in words."""

    @property
    def env(self) -> Mapping[str, str]:
        """Its secrets."""

    @property
    def options(self) -> tuple[str, ...]:
        """Its options."""


def trust_of_both(one: Reached, other: Reached) -> dict[str, str]:
    """Return the authorities by which both are trusted, where one has its own."""
    secure = [each for each in (one, other) if each.location.startswith(("s3:https:", "rest:https:"))]
    own = [each.env.get("RESTIC_CACERT", "") for each in secure]
    return {"RESTIC_CACERT": ",".join(file or authorities() for file in own)} if any(own) else {}


def refuse_two_ways(one: Reached, other: Reached) -> None:
    """Raise `DrError` where one restic cannot reach both: it takes one login of a kind, and one setting of a name."""
    first, second = _ways(one), _ways(other)
    if any(first.get(name, value) != value for name, value in second.items()):
        raise DrError(
            f"restic cannot reach {one.where} and {other.where} at once, each with a login of its own",
            hint="name one of the two targets under `replicas`: objects are copied there without restic",
        )


def _ways(each: Reached) -> dict[str, str]:
    logins = {name: value for name, value in each.env.items() if name.startswith(("RESTIC_REST_", "RCLONE_"))}
    settings = (option.strip('"').partition("=")[::2] for option in each.options if "bucket-lookup" not in option)
    return {**logins, **dict(settings)}
