"""A kind of check in one file: `total`, the bytes of a source's files together. docs/extending.md walks through it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dr.plan.base import Name
from dr.plan.check_kinds import CheckBody, Expectation, Turn
from dr.plan.expect import describe, holds
from dr.run.recovery.checks.context import CheckContext, CheckOutcome, verdict
from dr.run.recovery.checks.driver import CheckDriver


# begin declaration
class TotalCheck(CheckBody):
    """The files of a source are as large together as expected."""

    kind = "total"
    asserts = "The files of a source are as large together as expected."
    title = "The size of all files together"
    example: ClassVar[Mapping[str, Any]] = {"source": "uploads", "bytes": ">= 1000000"}
    turn = Turn.LOOKS

    source: Annotated[Name, Field(description="Name of the source to look at.", examples=["uploads"])]
    bytes: Annotated[
        Expectation, Field(description="How large: a number of bytes, or a comparison.", examples=[">= 1000000"])
    ]


# end declaration


# begin driver
class TotalDriver(CheckDriver[TotalCheck]):
    """Adds up sizes."""

    declares = TotalCheck

    def expected(self) -> str:
        return f"bytes of all files together: {describe(self.body.bytes)}"

    def run(self, context: CheckContext) -> CheckOutcome:
        survey = context.land.survey(context.sources[self.body.source].root)
        with survey.reachable():
            total = sum(status.st_size for _, status in survey.files())
        return CheckOutcome(self.expected(), f"{total:,}", verdict(holds(self.body.bytes, total)))


# end driver
