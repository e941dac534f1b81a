"""What is declared: the plans and targets of a configuration directory, with what is wrong with them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dr.errors import Fault, PlanError, UsageError
from dr.late_dataclass import dataclass
from dr.plan.unread import SITE

if TYPE_CHECKING:
    from dr.plan.plan import Plan
    from dr.plan.site import SitePlan
    from dr.plan.target import Target


class PlanCache(Protocol):
    """Keeps parsed plans by `PATH\\nSTAMP`."""

    def get_all(self) -> dict[str, str]:
        """Return all that is kept."""

    def put_all(self, items: Mapping[str, str]) -> None:
        """Keep more."""


def _no_site() -> SitePlan:
    from dr.plan.site import SitePlan

    return SitePlan.model_construct()


@dataclass(frozen=True)
class Loaded:
    """A plan with its text, and the SHA-256 of that: its file's, or where `site.yaml` lends to it, the whole plan's."""

    plan: Plan
    path: Path
    text: str = field(repr=False)
    digest: str
    site: SitePlan = field(default_factory=_no_site, repr=False, compare=False)

    def __hash__(self) -> int:
        """By file."""
        return hash(self.path)

    @property
    def read(self) -> Loaded:
        """The same with all of its plan: of one that is known from before, read now."""
        return self


@dataclass(frozen=True)
class Declarations:
    """All plans and targets that could be read, and the faults of all."""

    config: Path
    plans: dict[str, Loaded]
    targets: dict[str, Target]
    faults: tuple[Fault, ...]
    #: Which file declares which system, for the faulty ones too.
    files: dict[str, str] = field(default_factory=dict)
    site: SitePlan = field(default_factory=_no_site)

    @property
    def read(self) -> Declarations:
        """The same, read whole; see `Loaded.read`."""
        return self

    def about(self, systems: Sequence[str] = ()) -> tuple[Fault, ...]:
        """Return the faults that concern some systems and their targets; all, when none is named."""
        return self._among(systems, self.faults)

    def _among(self, systems: Sequence[str], faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        if not systems:
            return faults
        wanted = {str(self.plans[name].path) for name in systems if name in self.plans}
        used = {target for name in systems if name in self.plans for target in self.plans[name].plan.places}
        wanted |= {file for name in {*systems, *used} for file in self._files_of.get(name, ())}
        wanted |= {fault.file for fault in self.unread} | {self._site}
        found = (f for f in faults if f.file in wanted or Path(f.file).stem in systems)
        return tuple(f for f in found if not f.systems or not f.systems.isdisjoint(systems))

    @functools.cached_property
    def lasting(self) -> tuple[Fault, ...]:
        """The faults that say nothing of this machine, and decide what is used: the same while no file changes."""
        return tuple(f for f in self.faults if f.severity in ("refused", "unread") or self._is_of_site(f))

    @property
    def of_site(self) -> tuple[Fault, ...]:
        """Return the faults for which parts of `site.yaml` are not in use; they stop no system."""
        return tuple(f for f in self.lasting if self._is_of_site(f))

    def _is_of_site(self, fault: Fault) -> bool:
        return fault.file == self._site and fault.severity == "unsound" and not fault.systems

    @property
    def _site(self) -> str:
        return str(self.config / SITE)

    @functools.cached_property
    def _files_of(self) -> dict[str, list[str]]:
        """The files that declare a name, of a system or of a target."""
        found: dict[str, list[str]] = {}
        for file, name in self.files.items():
            found.setdefault(name, []).append(file)
        return found

    @property
    def usable(self) -> list[str]:
        """Return the names of the systems that no fault stops."""
        if not any(fault.severity == "refused" for fault in self.lasting):
            return sorted(self.plans)
        return [name for name in sorted(self.plans) if not self.stopping([name])]

    @property
    def unread(self) -> tuple[Fault, ...]:
        """Return what lies beside the declarations and is not read."""
        return tuple(fault for fault in self.lasting if fault.severity == "unread")

    def stopping(self, systems: Sequence[str]) -> tuple[Fault, ...]:
        """Return the faults for which these systems cannot be used; of all, when none is named."""
        return tuple(fault for fault in self._among(systems, self.lasting) if fault.severity == "refused")

    def require(self, systems: Sequence[str]) -> None:
        """Raise `PlanError` with every fault that stops these systems; of all, when none is named."""
        if stopping := self.stopping(systems):
            first = stopping[0]
            raise PlanError(first.what, first.where, hint=first.hint, faults=stopping)


#: The configuration of the machine, used where none is here and none was named.
OF_MACHINE = Path("/etc/dr")


def find_config(option: str | None, env: Mapping[str, str]) -> Path:
    """Return the configuration directory: the option, `DR_CONFIG`, here, or /etc/dr.

    Raises `UsageError` when one was named that is not there, or the current directory is gone.
    """
    named = option or env.get("DR_CONFIG")
    if named:
        path = Path(named).expanduser().absolute()
        if not path.is_dir():
            raise UsageError("the configuration directory is not there", str(path), hint="make it, or name another")
        return path
    try:
        here = Path.cwd()
    except FileNotFoundError as error:
        hint = "change into one that is there, or name the configuration with --config"
        raise UsageError("the current directory is gone", hint=hint) from error
    return OF_MACHINE if not (here / "plans").is_dir() and (OF_MACHINE / "plans").is_dir() else here
