"""Declarations as they were read before: what the board and the calendar ask of them, while no file of them changed.

To read and to judge plans costs a quarter of a second, most of it for the classes they are read into, and most commands
ask for little: names, places, objectives, times. That is kept as plain data, under a key made of every byte that was
read, of what lies beside it, and of this program. Whatever else is asked of a plan, and what a fault says of this
machine, is read again from the files then. What is kept and cannot be used is like nothing kept.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import dr
from dr.errors import Fault, PlanError
from dr.plan.cadence import known_zone
from dr.plan.declarations import Declarations, Loaded, PlanCache
from dr.plan.unread import ENDINGS, FOLDERS, SITE
from dr.plan.whereabouts import IsHere, Whereabouts

if TYPE_CHECKING:
    from dr.plan.plan import Plan
    from dr.plan.site import SitePlan
    from dr.plan.target import Target

#: What is kept of a part, by name; of a part of its own, what of it.
Shape = Mapping[str, Any]
_PLAIN: Shape = {}
_PLAN: Shape = {
    **dict.fromkeys(("system", "title", "priority", "targets", "replicas", "places", "depends_on"), _PLAIN),
    **dict.fromkeys(("scenarios", "backup_cadence", "verify_seconds", "pattern_bases"), _PLAIN),
    "objectives": dict.fromkeys(("rto", "rpo", "mtd"), _PLAIN),
    "cadence": dict.fromkeys(
        ("backup", "replicate", "verify", "drill", "expire", "prune", "scenarios", "timezone"), _PLAIN
    ),
    "retention": dict.fromkeys(("most",), _PLAIN),
    "proof": dict.fromkeys(("whole_within", "budget", "minutes"), _PLAIN),
    "drill": dict.fromkeys(("scenario", "scratch"), _PLAIN),
}
#: Of each source.
_SOURCE: Shape = {"kind": _PLAIN}
_TARGET: Shape = {
    **dict.fromkeys(("target", "offline", "offsite", "medium", "provider", "account", "forget_after"), _PLAIN),
    **dict.fromkeys(("kind", "place", "expires", "service_host", "meant_offsite", "capacity", "budget"), _PLAIN),
    "reached_from_elsewhere": _PLAIN,
    "locks": dict.fromkeys(("mode", "days"), _PLAIN),
}
#: What a target is opened by, of the kinds that most have: where keys are read from, and no key.
_OPENED_BY: Mapping[str, Shape] = {
    "local": dict.fromkeys(("path", "counts"), _PLAIN),
    "s3": {
        **dict.fromkeys(("endpoint", "bucket", "prefix", "region", "addressing", "ca_file", "counts"), _PLAIN),
        "credentials": {
            **dict.fromkeys(("profile", "file"), _PLAIN),
            "env": dict.fromkeys(("access_key_id", "secret_access_key", "session_token"), _PLAIN),
        },
    },
}
#: What of all that is a path.
_PATHS = frozenset({"path", "ca_file", "file"})
_SITE: Shape = {
    **dict.fromkeys(("organisation", "timezone", "windows"), _PLAIN),
    "limits": dict.fromkeys(("systems", "per_host", "upload", "download", "memory"), _PLAIN),
}
#: What a site may have; kept where it has none.
_SITE_MAY_HAVE = ("notify", "heartbeat", "metrics")
#: Larger files are refused; so are odd things, and neither is opened here.
_LARGEST = 1 << 20


class Keeper(PlanCache, Protocol):
    """Keeps texts by `PATH\\nSTAMP`, one for each path; what is kept here has no path."""

    def get(self, key: str) -> str | None:
        """Return one; None where none is kept under that stamp."""


def declared(config: Path, keeper: Keeper | None, *, is_here: IsHere) -> Declarations:
    """Return what is declared: as it is kept, else read, and kept for the next unless a file changed meanwhile."""

    def read() -> Declarations:
        from dr.plan.load import load

        return load(config, cache=keeper, is_here=is_here)

    key = key_of(config) if keeper else ""
    if keeper is None or not key:
        return read()
    if (text := keeper.get(f"\n{key}")) and (known := from_kept(config, text, read)):
        return known
    found = read()
    if key == key_of(config):
        keeper.put_all({f"\n{key}": kept_text(found)})
    return found


# -- the key -----------------------------------------------------------------------------------------


def key_of(config: Path) -> str:
    """Return what tells declarations, and the program that reads them, from all others; "" where they cannot be read.

    No file is trusted by its time: all are read.
    """
    digest = hashlib.sha256()
    try:
        for part in (dr.__version__, str(config), str(Path.home()), *_program()):
            _add(digest.update, part.encode("utf-8", "surrogateescape"))
        for folder in ("", *FOLDERS):
            for name, mode, path in _listed(config / folder):
                _add(digest.update, os.fsencode(f"{folder}/{name} {mode:o}"))
                if (name == SITE) if not folder else (path.suffix in ENDINGS and name[0] != "."):
                    _add(digest.update, _content(path))
    except (OSError, RuntimeError):
        return ""
    return digest.hexdigest()


def _add(update: Callable[[bytes], None], part: bytes) -> None:
    update(b"%d:" % len(part))
    update(part)


@functools.cache
def _program() -> tuple[str, ...]:
    """Tell this program's rules from others, also where somebody works on them."""
    with os.scandir(Path(__file__).parent) as entries:
        found = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(".py")]
    return tuple(sorted(f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in found))


def _listed(folder: Path) -> list[tuple[str, int, Path]]:
    """Return what lies in a directory, by name, and of what sort each is: of a link, what it leads to."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, _sort(entry)) for entry in entries]
    except FileNotFoundError:
        return []
    return [(name, mode, folder / name) for name, mode in sorted(found)]


def _sort(entry: os.DirEntry[str]) -> int:
    own = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
    try:
        return own if own != stat.S_IFLNK else own << 16 | stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return own


def _content(path: Path) -> bytes:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
        raise OSError("not for a plan")
    return path.read_bytes()


# -- keeping -----------------------------------------------------------------------------------------


def kept_text(found: Declarations) -> str:
    """Return what is kept of declarations, as JSON."""
    directories = [str(each) for target in found.targets.values() if (each := target.declared.directory) is not None]
    return json.dumps(
        {
            "plans": {
                name: {"path": str(item.path), "digest": item.digest, "plan": _taken_plan(item.plan)}
                for name, item in found.plans.items()
            },
            "targets": {name: _taken(target, _shape_of(target.kind)) for name, target in found.targets.items()},
            "site": _taken(found.site, _SITE)
            | {name: getattr(found.site, name) for name in _SITE_MAY_HAVE if not getattr(found.site, name)},
            "files": found.files,
            "faults": [asdict(fault) | {"systems": sorted(fault.systems)} for fault in found.lasting],
            "directories": [(path, os.path.realpath(path)) for path in directories],
        }
    )


def _taken_plan(plan: Plan) -> dict[str, Any]:
    """Return what is kept of a plan; of its secrets only that none is named."""
    taken = _taken(plan, _PLAN) | {"sources": {name: _taken(each, _SOURCE) for name, each in plan.sources.items()}}
    return taken if plan.secrets.passphrase else taken | {"secrets": {"passphrase": None}}


def _shape_of(kind: str) -> Shape:
    return {**_TARGET, "declared": _OPENED_BY[kind]} if kind in _OPENED_BY else _TARGET


def _taken(whole: Any, shape: Shape) -> dict[str, Any]:
    return {name: _plain(name, getattr(whole, name), inside) for name, inside in shape.items()}


def _plain(name: str, value: Any, inside: Shape) -> Any:
    if value is None:
        return None
    return _taken(value, inside) if inside else str(value) if name in _PATHS else value


# -- handing out -------------------------------------------------------------------------------------


def from_kept(config: Path, text: str, again: Callable[[], Declarations]) -> Declarations | None:
    """Return declarations from what was kept of them; None where that cannot be used. `again` reads the files."""
    try:
        kept = json.loads(text)
        if any(os.path.realpath(path) != where for path, where in kept["directories"]):
            return None  # two of them may be one place now
        if not all(known_zone(each["plan"]["cadence"]["timezone"]) for each in kept["plans"].values()):
            return None
        return _Known(config, kept, again)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


class _Known(Declarations):
    """Declarations of which little is asked; what is not kept is read once, from the files."""

    def __init__(self, config: Path, kept: Mapping[str, Any], again: Callable[[], Declarations]) -> None:
        whole = _Once(again)
        targets = {
            name: _part(_KnownTarget, each, _shape_of(each["kind"]), whole.target(name))
            for name, each in kept["targets"].items()
        }
        site = _part(_Part, kept["site"], _SITE, lambda: whole().site)
        plans = {name: _KnownPlan(each, site, whole.loaded(name)) for name, each in kept["plans"].items()}
        faults = tuple(Fault(**each | {"systems": frozenset(each["systems"])}) for each in kept["faults"])
        self.__dict__.update(config=config, plans=plans, targets=targets, files=dict(kept["files"]), site=site)
        self.__dict__.update(lasting=faults, _whole=whole)

    @property
    def read(self) -> Declarations:
        """See `Declarations`."""
        found: Declarations = self.__dict__["_whole"]()
        return found

    @functools.cached_property
    def faults(self) -> tuple[Fault, ...]:
        """All faults: what they say of this machine is looked at now."""
        return self.read.faults


class _Once:
    """The declarations as they are in the files, read by the first that asks."""

    def __init__(self, again: Callable[[], Declarations]) -> None:
        self._again, self._one = again, threading.RLock()

    def __call__(self) -> Declarations:
        with self._one:
            return self._found

    @functools.cached_property
    def _found(self) -> Declarations:
        return self._again()

    def loaded(self, system: str) -> Callable[[], Loaded]:
        """Return what reads one plan."""
        return lambda: _there(self().plans, system)

    def target(self, name: str) -> Callable[[], Target]:
        """Return what reads one target."""
        return lambda: _there(self().targets, name)


def _there(found: Mapping[str, Any], name: str) -> Any:
    if name not in found:
        raise PlanError(
            f"what is declared for {name} changed while it was read", hint="start the command again; see `dr validate`"
        )
    return found[name]


class _Part:
    """A part of a declaration: what is kept of it, and all else by way of the whole."""

    def __init__(self, values: Mapping[str, Any], whole: Callable[[], Any]) -> None:
        self.__dict__.update(values, _whole=whole)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["_whole"](), name)

    def __eq__(self, other: object) -> bool:
        mine = self.__dict__["_whole"]()
        return bool(mine == (other.__dict__["_whole"]() if isinstance(other, _Part) else other))

    def __hash__(self) -> int:
        return hash(self.__dict__["_whole"]())


class _KnownTarget(_Part, Whereabouts):
    """A target."""


def _part(made: type[_Part], values: Mapping[str, Any], shape: Shape, whole: Callable[[], Any]) -> Any:
    """Return a part with its own parts; lists are tuples again, as everywhere in a plan."""
    ready = dict(_ready(values, shape, whole))
    return made(ready, whole)


def _ready(values: Mapping[str, Any], shape: Shape, whole: Callable[[], Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        inside = shape.get(name)
        if inside and value is not None:
            yield name, _part(_Part, value, inside, functools.partial(_attribute, whole, name))
        else:
            yield name, Path(value) if name in _PATHS and value is not None else _tuples(value)


def _attribute(whole: Callable[[], Any], name: str) -> Any:
    return getattr(whole(), name)


def _source(whole: Callable[[], Loaded], name: str) -> Any:
    return _there(whole().plan.sources, name)


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {name: _tuples(each) for name, each in value.items()} if isinstance(value, dict) else value


class _KnownPlan(Loaded):
    """A plan with its text; both are read when they are asked for."""

    def __init__(self, kept: Mapping[str, Any], site: SitePlan, whole: Callable[[], Loaded]) -> None:
        shape = {**_PLAN, "secrets": {"passphrase": _PLAIN}}
        plan = _part(_Part, {**kept["plan"], "sources": {}}, shape, lambda: whole().plan)
        for name, each in kept["plan"]["sources"].items():
            plan.sources[name] = _part(_Part, each, _SOURCE, functools.partial(_source, whole, name))
        self.__dict__.update(plan=plan, path=Path(kept["path"]), digest=kept["digest"], site=site, _whole=whole)

    @functools.cached_property
    def text(self) -> str:
        """The text."""
        return str(self.__dict__["_whole"]().text)

    @property
    def read(self) -> Loaded:
        """The plan as it is in its file."""
        found: Loaded = self.__dict__["_whole"]()
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loaded) and (self.path, self.digest) == (other.path, other.digest)

    __hash__ = Loaded.__hash__
