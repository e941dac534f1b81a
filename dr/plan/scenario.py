"""The scenarios: the losses that a drill may assume, and what each needs. One table that all ask.

How a scenario that is more than a restore holds its drill is its driver's: `dr.operations.scenarios`.
docs/extending.md walks through one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from dr.late_dataclass import dataclass

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A loss that a drill assumes; `assumed` is what is lost, in words for reports."""

    name: str
    assumed: str
    #: Only samples are restored: such a drill proves no more than that data was decrypted.
    partial: bool = False
    #: The primary is lost: nothing of it is used or asked.
    loses_primary: bool = False
    #: A copy on the scratch target is attacked: the plan, or the person, names one.
    attacks_scratch: bool = False
    #: May begin with a recovery kit and its shares.
    begins_with_kit: bool = False
    #: Finds by itself which point, or which time, to recover from: then a person names none.
    finds_point: bool = False
    finds_time: bool = False


#: The loss that a plan assumes when it names none, and that a recovery has.
WHOLE = "system-loss"
#: The loss that a recovery of single files has.
FILES = "file-loss"
#: The loss that a recovery of single tables has: no drill assumes it.
TABLES = "table-loss"
#: Every scenario, by its name in plans, on the command line and in the evidence.
SCENARIOS: dict[str, Scenario] = {
    each.name: each
    for each in (
        Scenario(name=WHOLE, assumed="the whole system is lost"),
        Scenario(name=FILES, assumed="some files are lost", partial=True),
        Scenario(
            name="ransomware",
            assumed="a copy of the repository, attacked: its objects overwritten and deleted",
            attacks_scratch=True,
            finds_point=True,
            finds_time=True,
        ),
        Scenario(name="target-loss", assumed="the first copy is lost", loses_primary=True),
        Scenario(name="control-loss", assumed="the backup host itself is lost", begins_with_kit=True, finds_point=True),
    )
}


def is_partial(name: str) -> bool:
    """Whether a drill of that scenario restores samples only; False of one that is not known any more."""
    return name in SCENARIOS and SCENARIOS[name].partial


class _Known:
    """Takes the name of a scenario that there is."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_known, handler(source))

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"enum": list(SCENARIOS), "type": "string"}


def _known(name: str) -> str:
    if name not in SCENARIOS:
        from pydantic_core import PydanticCustomError

        *others, last = (repr(known) for known in SCENARIOS)
        expected = f"{', '.join(others)} or {last}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
    return name


ScenarioName = Annotated[str, _Known]
