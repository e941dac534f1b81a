"""`site.yaml` read: its document, what of it can be used, and its faults.

What it lends to plans cannot be guessed: a file that cannot be read, or defaults that are not keys and values, stop
every plan. A fault in another part takes that part alone out of use: a backup still runs, and the fault is said.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dr.errors import Fault, Severity
from dr.late_dataclass import dataclass
from dr.plan.document import Document, Key, read
from dr.plan.site import SitePlan
from dr.plan.unread import SITE
from dr.plan.words import MISSING, faults_of, key_of


@dataclass(frozen=True)
class SiteFile:
    """What `site.yaml` says, the document of it (None where there is none to use), and its faults."""

    plan: SitePlan = field(default_factory=SitePlan.model_construct)
    document: Document | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def stamp(self) -> str:
        """Tells its defaults from others; "" for none."""
        if self.document is None:
            return ""
        from dr.plan.defaults import lent_by, stamp

        return stamp(lent_by(self.document))

    def lend(self, plan: Document) -> Document:
        """Return a plan's document with what the site lends to it."""
        if self.document is None:
            return plan
        from dr.plan.defaults import with_defaults

        return with_defaults(plan, self.document)


def read_site(config: Path) -> SiteFile:
    """Return what `site.yaml` of a configuration directory says; nothing where it is not there. Raises nothing."""
    path = config / SITE
    if not path.exists() and not path.is_symlink():
        return SiteFile()
    document = read(path)
    if isinstance(document, list):
        return SiteFile(faults=tuple(document))
    defaults = document.data.get("defaults")
    if "defaults" in document.data and not isinstance(defaults, dict):
        what, hint = "'defaults' must hold keys and values", "write keys of plans below it, or remove it"
        return SiteFile(document=document, faults=(document.fault(("defaults",), what, hint),))
    from dr.plan.defaults import faults_of_defaults

    plan, faults = _usable(document, config)
    whole = [*faults, *faults_of_defaults(document)]
    return SiteFile(plan, document, tuple(replace(fault, severity="unsound") for fault in whole))


def _usable(document: Document, config: Path) -> tuple[SitePlan, list[Fault]]:
    """Return the site without its faulty parts, and the faults."""
    data, faults = copy.deepcopy(document.data), list[Fault]()
    for _ in range(20):
        try:
            return SitePlan.model_validate(data, context={"base": str(config)}), faults
        except ValidationError as error:
            faults = faults or faults_of(error, document, SitePlan)
            keys = [key_of(detail["loc"]) for detail in error.errors(include_url=False)]
            for key in sorted({_part(key) for key in keys}, reverse=True, key=lambda key: [f"{x:>9}" for x in key]):
                _drop(data, key)  # of a list the last first: those before it keep their numbers
    return SitePlan(), faults


def _part(key: Key) -> Key:
    """Return the part that a fault takes out of use: a channel, a verb's windows, or a whole key."""
    return key[:2] if key and key[0] in ("notify", "windows") else key[:1]


def _drop(data: dict[str, Any], key: Key) -> None:
    inside: Any = data
    for part in key[:-1]:
        inside = inside[part]
    if key:
        del inside[key[-1]]


def told_once(faults: Iterable[Fault], site: str) -> tuple[Fault, ...]:
    """Return faults sorted, each once: one of the file `site` with all the systems that it concerns."""
    found: dict[tuple[object, ...], Fault] = {}
    whole = sorted(faults)
    meant = {MISSING.format(fault.hint.removeprefix(_MEANT).rstrip("?")) for fault in whole if fault.file == site}
    for fault in whole:
        if fault.file != site and fault.what in meant:
            continue  # it follows from a slip in the defaults, which is said there
        key = (fault.file, fault.line, fault.column, fault.what, "" if fault.file == site else fault.hint)
        first = found.setdefault(key, fault)
        worse = min(first, fault, key=lambda each: _WORST.index(each.severity))
        found[key] = replace(worse, systems=first.systems | fault.systems)
    return tuple(found.values())


_MEANT = "did you mean "
_WORST: tuple[Severity, ...] = ("refused", "unsound", "unread", "advice")
