"""How much one proof reads of what is stored, and within how long everything is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dr.plan.base import Count, Declaration, PositiveDuration, Size


class ProofReading(Declaration):
    """How much `dr verify` reads of a repository in one run (docs/proof.md).

    A repository smaller than 20 GiB, and than `budget`, is read whole each time. Of a larger one each run lists
    everything, reads what is new or changed, then what was not read for longest.
    """

    whole_within: Annotated[
        PositiveDuration,
        Field(
            description="Within how long every stored object is read. Level 2 is reached only while nothing was read "
            "longer ago.",
            examples=["30d"],
        ),
    ] = 30 * 86_400
    budget: Annotated[
        Size, Field(gt=0, description="How much one run reads at most of each target.", examples=["50GiB"])
    ] = 50 << 30
    minutes: Annotated[
        Count,
        Field(
            ge=1,
            strict=True,
            description="For how long one run reads at most of each target that it does not read whole.",
            examples=[60],
        ),
    ] = 60
