"""Who the custodians of the recovery kit are: `kit.yaml` in the configuration directory, where they are not named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from dr.errors import PlanError
from dr.plan.base import Declaration
from dr.plan.document import read
from dr.plan.words import faults_of


class KitPlan(Declaration):
    """`kit.yaml`: who holds a share of the secret that opens the recovery kit, and how many shares open it."""

    custodians: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            max_length=16,
            description="Who gets a share: roles, never names of persons; 1 to 16 of them.",
            examples=[["Superintendent", "Business manager", "Director of technology"]],
        ),
    ]
    threshold: Annotated[
        int,
        Field(
            ge=1,
            le=16,
            strict=True,
            description="How many shares together open the kit; fewer open nothing. At least 2 where there are several "
            "custodians.",
            examples=[2],
        ),
    ]
    paper: Annotated[
        Literal["A4", "Letter"], Field(description="Size of the pages that are printed for the custodians.")
    ] = "A4"

    @model_validator(mode="after")
    def _can_be_shared(self) -> KitPlan:
        many = len(self.custodians)
        if self.threshold > many:
            raise ValueError(f"the threshold ({self.threshold}) is more than there are custodians ({many})")
        if self.threshold == 1 and many > 1:
            raise ValueError("with a threshold of 1 each custodian alone could open everything")
        return self


def load_kit_plan(config: Path) -> KitPlan | None:
    """Return what `kit.yaml` says; None when there is none. Raises `PlanError` with all its faults."""
    path = config / "kit.yaml"
    if not path.exists():
        return None
    document = read(path)
    faults = document if isinstance(document, list) else []
    if not isinstance(document, list):
        try:
            return KitPlan.model_validate(document.data, context={"base": str(config)})
        except ValidationError as error:
            faults = faults_of(error, document, KitPlan)
    raise PlanError(faults[0].what, faults[0].where, hint=faults[0].hint, faults=tuple(faults))
