"""Loading: every plan and target of a configuration directory, and all their faults at once."""

from __future__ import annotations

import copy
import functools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from dr.errors import Fault, PlanError, UsageError
from dr.late_dataclass import dataclass
from dr.plan import lint
from dr.plan.document import Document, read
from dr.plan.plan import Plan
from dr.plan.site import SitePlan
from dr.plan.site_file import NAME as SITE
from dr.plan.site_file import SiteFile, read_site, told_once
from dr.plan.target import IsHere, Target, target_model
from dr.plan.unread import FOLDERS, Folder, look_in, unread
from dr.plan.words import faults_of, key_of

M = TypeVar("M", bound=BaseModel)


class PlanCache(Protocol):
    """Keeps parsed plans by `PATH\\nSTAMP`."""

    def get_all(self) -> dict[str, str]:
        """Return all that is kept."""

    def put_all(self, items: Mapping[str, str]) -> None:
        """Keep more."""


@dataclass(frozen=True)
class Loaded:
    """A plan with its text, and the SHA-256 of that: its file's, or where `site.yaml` lends to it, the whole plan's."""

    plan: Plan
    path: Path
    text: str = field(repr=False)
    digest: str
    site: SitePlan = field(default=SitePlan.model_construct(), repr=False, compare=False)

    def __hash__(self) -> int:
        """By file."""
        return hash(self.path)


@dataclass(frozen=True)
class Declarations:
    """All plans and targets that could be read, and the faults of all."""

    config: Path
    plans: dict[str, Loaded]
    targets: dict[str, Target]
    faults: tuple[Fault, ...]
    #: Which file declares which system, for the faulty ones too.
    files: dict[str, str] = field(default_factory=dict)
    site: SitePlan = field(default_factory=SitePlan.model_construct)

    def about(self, systems: Sequence[str] = ()) -> tuple[Fault, ...]:
        """Return the faults that concern some systems and their targets; all, when none is named."""
        if not systems:
            return self.faults
        wanted = {str(self.plans[name].path) for name in systems if name in self.plans}
        used = {target for name in systems if name in self.plans for target in self.plans[name].plan.places}
        wanted |= {file for name in {*systems, *used} for file in self._files_of.get(name, ())}
        wanted |= {fault.file for fault in self.unread} | {self._site}
        found = (f for f in self.faults if f.file in wanted or Path(f.file).stem in systems)
        return tuple(f for f in found if not f.systems or not f.systems.isdisjoint(systems))

    @property
    def of_site(self) -> tuple[Fault, ...]:
        """Return the faults for which parts of `site.yaml` are not in use; they stop no system."""
        return tuple(f for f in self.faults if f.file == self._site and f.severity == "unsound" and not f.systems)

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
        if not any(fault.severity == "refused" for fault in self.faults):
            return sorted(self.plans)
        return [name for name in sorted(self.plans) if not self.stopping([name])]

    @property
    def unread(self) -> tuple[Fault, ...]:
        """Return what lies beside the declarations and is not read."""
        return tuple(fault for fault in self.faults if fault.severity == "unread")

    def stopping(self, systems: Sequence[str]) -> tuple[Fault, ...]:
        """Return the faults for which these systems cannot be used; of all, when none is named."""
        return tuple(fault for fault in self.about(systems) if fault.severity == "refused")

    def require(self, systems: Sequence[str]) -> None:
        """Raise `PlanError` with every fault that stops these systems; of all, when none is named."""
        if stopping := self.stopping(systems):
            first = stopping[0]
            raise PlanError(first.what, first.where, hint=first.hint, faults=stopping)


#: The configuration of the machine, used where none is here and none was named.
OF_MACHINE = Path("/etc/dr")


def find_config(option: str | None, env: Mapping[str, str]) -> Path:
    """Return the configuration directory: the option, `DR_CONFIG`, here, or /etc/dr.

    Raises `UsageError` when one was named that is not there.
    """
    named = option or env.get("DR_CONFIG")
    if named:
        path = Path(named).expanduser().absolute()
        if not path.is_dir():
            raise UsageError("the configuration directory is not there", str(path), hint="make it, or name another")
        return path
    here = Path.cwd()
    return OF_MACHINE if not (here / "plans").is_dir() and (OF_MACHINE / "plans").is_dir() else here


def load(
    config: Path,
    *,
    cache: PlanCache | None = None,
    env: Mapping[str, str] | None = None,
    is_here: IsHere = lambda host: False,
) -> Declarations:
    """Read every plan and target below a directory. Faults are gathered, never raised."""
    here = lint.Here(env or os.environ, is_here)
    kept = cache.get_all() if cache else {}
    fresh: dict[str, str] = {}
    folders, site = {name: look_in(config / name) for name in FOLDERS}, read_site(config)
    faults: list[Fault] = [*site.faults, *(fault for folder in folders.values() for fault in folder.faults)]
    files: dict[str, str] = {}
    targets: dict[str, tuple[Target, Document | None, Path]] = {}
    plans: dict[str, tuple[Loaded, Document | None]] = {}
    partial: dict[str, tuple[Plan, Document | Path]] = {}
    first: dict[str, Path] = {}
    for path in folders["targets"].files:
        found = _target(path, config, faults, files)
        if found and _first(first, found[0].target, path, "target", faults):
            targets[found[0].target] = (found[0], found[1], path)
    first = {}
    for path in folders["plans"].files:
        item = _cached(path, kept, config, site) or _plan(path, config, faults, files, fresh, partial, site)
        if item is None:
            continue
        files[str(path)] = item[0].plan.system
        if _first(first, item[0].plan.system, path, "system", faults):
            plans[item[0].plan.system] = item
    known = {name: target for name, (target, _, _) in targets.items()}
    declared = set(files.values())
    faults += lint.lint_targets({name: (t, d) for name, (t, d, _) in targets.items()}, here)
    faults += lint.lint_plans(
        partial | {name: (item.plan, document or item.path) for name, (item, document) in plans.items()},
        known,
        declared,
        here,
        lambda path: _read(path, site),
    )
    faults += _unread(config, folders.values(), [*plans.values(), *partial.values()], known.values())
    if cache and fresh:
        cache.put_all(fresh)
    return Declarations(
        config,
        {name: item for name, (item, _) in plans.items()},
        known,
        told_once(faults, str(config / SITE)),
        files,
        site.plan,
    )


def _unread(
    config: Path, folders: Iterable[Folder], plans: Iterable[tuple[Loaded | Plan, object]], targets: Iterable[Target]
) -> Iterator[Fault]:
    others = [path for folder in folders for path in folder.others]
    whole = [each.plan if isinstance(each, Loaded) else each for each, _ in plans] if others else []
    return unread(config, others, [each.model_dump() for each in (*whole, *(targets if others else ()))])


def _first(seen: dict[str, Path], name: str, path: Path, what: str, faults: list[Fault]) -> bool:
    first = seen.setdefault(name, path)
    if first is not path:
        told = f"the {what} {name!r} is declared in another file too: {first.name}"
        faults.append(Fault(str(path), 1, 1, told, "keep one of the two, or give each a name of its own"))
    return first is path


def _build(document: Document, model: type[M], config: Path, faults: list[Fault]) -> M | None:
    try:
        return model.model_validate(document.data, context={"base": str(config)})
    except ValidationError as error:
        faults += faults_of(error, document, model)
    return None


def _salvage(document: Document, model: type[M], config: Path) -> M | None:
    """Return what is left of a faulty document without its faulty keys, so that the rest is looked at too."""
    data = copy.deepcopy(document.data)
    for _ in range(5):
        try:
            return model.model_validate(data, context={"base": str(config)})
        except ValidationError as error:
            keys = [key_of(detail["loc"]) for detail in error.errors(include_url=False)]
            dropped = [_drop(data, key) for key in reversed(keys)]
            if not all(dropped):
                return None
    return None


def _drop(data: Any, key: tuple[str | int, ...]) -> bool:
    try:
        for part in key[:-1]:
            data = data[part]
        del data[key[-1]]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _target(path: Path, config: Path, faults: list[Fault], files: dict[str, str]) -> tuple[Target, Document] | None:
    document = read(path)
    if isinstance(document, list):
        faults += document
        return None
    files[str(path)] = str(document.data.get("target", ""))
    target = _build(document, target_model(), config, faults)
    return (target, document) if target else None


def _plan(
    path: Path,
    config: Path,
    faults: list[Fault],
    files: dict[str, str],
    fresh: dict[str, str],
    partial: dict[str, tuple[Plan, Document | Path]],
    site: SiteFile,
) -> tuple[Loaded, Document] | None:
    stamp = _stamp(path, site)
    document = _read(path, site)
    if isinstance(document, list):
        faults += document
        return None
    files[str(path)] = str(document.data.get("system", path.stem))
    plan = _build(document, Plan, config, faults)
    if plan is None:
        rest = _salvage(document, Plan, config)
        if rest:
            partial[rest.system] = (rest, document)
        return None
    text = json.dumps([plan.model_dump_json(by_alias=True, exclude_none=True), document.text, document.digest])
    fresh[f"{path}\n{stamp}"] = text
    return Loaded(plan, path, document.text, document.digest, site.plan), document


def _read(path: Path, site: SiteFile) -> Document | list[Fault]:
    """Return a plan's document with what the site lends to it."""
    document = read(path)
    return document if isinstance(document, list) else site.lend(document)


def _cached(path: Path, kept: Mapping[str, str], config: Path, site: SiteFile) -> tuple[Loaded, None] | None:
    text = kept.get(f"{path}\n{_stamp(path, site)}")
    if text is None:
        return None
    try:
        plan, source, digest = json.loads(text)
        known = Plan.model_validate_json(plan, context={"base": str(config)})
        return Loaded(known, path, source, digest, site.plan), None
    except (ValueError, TypeError):
        return None


def _stamp(path: Path, site: SiteFile) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_size}-{status.st_ino}-v3{site.stamp}"
