"""Loading: every plan and target of a configuration directory, and all their faults at once."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dr.errors import Fault
from dr.plan import lint
from dr.plan.declarations import Declarations, Loaded, PlanCache
from dr.plan.document import Document, read
from dr.plan.plan import Plan
from dr.plan.site_file import SiteFile, read_site, told_once
from dr.plan.target import Target, target_model
from dr.plan.unread import FOLDERS, SITE, Folder, look_in, unread
from dr.plan.whereabouts import IsHere
from dr.plan.words import faults_of, key_of

M = TypeVar("M", bound=BaseModel)


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
