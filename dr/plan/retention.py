"""Retention: how many recovery points a plan keeps of each age."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dr.plan.base import Count, Declaration, Size

#: The keys of `Retention` that keep recovery points, in the order in which they are named.
RULES = ("last", "daily", "weekly", "monthly", "yearly")


class Retention(Declaration):
    """How many recovery points to keep of each age; the others expire (docs/retention.md).

    `dr points --calendar` shows which ones these are. Where backups write, `dr expire` removes the others, by itself
    once `cadence` has `expire`; a replica removes them later, when its target has `forget_after`.
    """

    last: Annotated[Count, Field(ge=1, description="The newest recovery points, whatever their day.", examples=[6])] = 6
    daily: Annotated[
        Count, Field(ge=0, description="The newest recovery point of each of this many days.", examples=[14])
    ] = 14
    weekly: Annotated[
        Count, Field(ge=0, description="The newest recovery point of each of this many weeks.", examples=[8])
    ] = 8
    monthly: Annotated[
        Count, Field(ge=0, description="The newest recovery point of each of this many months.", examples=[12])
    ] = 12
    yearly: Annotated[
        Count, Field(ge=0, description="The newest recovery point of each of this many years.", examples=[1])
    ] = 1
    max_repack: Annotated[
        Size | None,
        Field(
            description="How much one prune may read and write again to free what is in use in part; the next prune "
            "continues. 0: only what is not in use at all is freed. Default: no limit.",
            examples=["20GB"],
        ),
    ] = None

    @property
    def most(self) -> int:
        """How many recovery points all rules together keep at most."""
        return sum(getattr(self, rule) for rule in RULES)

    def in_words(self) -> str:
        """Return the rules in words: "last 6, daily 14, weekly 8, monthly 12, yearly 1"."""
        return ", ".join(f"{rule} {getattr(self, rule)}" for rule in RULES if getattr(self, rule))
