"""What goes into a self-copy, and how a configuration and a state are made from one again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dr
from dr.errors import DrError
from dr.late_dataclass import dataclass
from dr.plan.declarations import Loaded
from dr.run.keys import host_keys
from dr.run.keys.recipient import recipient_of
from dr.run.workspace.toolbox import Place, Toolbox
from dr.targets.kinds import driver_of
from dr.tools.secrets import write_private
from dr.tools.state_dir import StateDir

if TYPE_CHECKING:
    from dr.plan.target import Target

CONTROL = "control.json"
CATALOG = "catalog.sqlite"
#: Small files beside the plans go along, up to these sizes: what a plan's commands are, not what they work on.
_FILE_BYTES, _ALL_BYTES = 256 << 10, 4 << 20


@dataclass(frozen=True, kw_only=True)
class Material:
    """What is there to be copied. `toolboxes` are those whose secrets can be read, `unread` says of the others why."""

    config: Path
    state: StateDir
    plans: Sequence[Loaded]
    targets: Mapping[str, Target]
    toolboxes: Sequence[Toolbox]
    unread: Mapping[str, str]


def gather(material: Material) -> dict[str, bytes]:
    """Return all but the catalog, by name. What could not be taken along is said in `control.json`."""
    contents: dict[str, bytes] = {}
    left_out = [f"the secrets of {system}: {why}" for system, why in sorted(material.unread.items())]
    for loaded in material.plans:
        contents[f"config/plans/{loaded.path.name}"] = loaded.text.encode()
        left_out += _not_carried(loaded)
    for name, target in material.targets.items():
        contents[f"config/targets/{name}.yaml"] = target_file(target, material.config / "targets")
    left_out += _faulty_plans(material.config / "plans", contents)
    if (custodians := material.config / "kit.yaml").is_file():
        contents["config/kit.yaml"] = custodians.read_bytes()
    if (site := material.config / "site.yaml").is_file():
        # The plans above are whole without it. It is carried under a name that is not read: on the machine that the
        # kit is opened on nobody is to be told of a rehearsal.
        contents["config/site.yaml.carried"] = site.read_bytes()
    executable = _files_beside(material.config / "plans", contents, left_out)
    for toolbox in material.toolboxes:
        for place in toolbox.places:
            _passphrase(toolbox, place, contents, left_out)
        for place in toolbox.everywhere:
            contents |= place.driver.carry(place.repository.env, left_out)
    for name, sealed in host_keys.sealed_escrow(material.state).items():
        contents[f"escrow/{name}.age"] = sealed
    for path in sorted(material.state.escrow.glob("*@*.json")):
        contents[f"escrow/{path.name}"] = path.read_bytes()
    contents["escrow/control.key"] = host_keys.control_key(material.state).hex().encode()
    contents["escrow/recipient"] = (recipient_of(material.state) or "").encode()
    contents[CONTROL] = _control(material, executable, left_out)
    return contents


def _control(material: Material, executable: Sequence[str], left_out: Sequence[str]) -> bytes:
    body = {
        "schema": 1,
        "dr": dr.__version__,
        "systems": [
            {
                "system": loaded.plan.system,
                "title": loaded.plan.title,
                "plan": loaded.path.name,
                "digest": loaded.digest,
                "targets": list(loaded.plan.targets),
                "replicas": list(loaded.plan.replicas),
            }
            for loaded in material.plans
        ],
        "targets": sorted({target for loaded in material.plans for target in loaded.plan.places}),
        "executable": sorted(executable),
        "left_out": sorted(left_out),
    }
    return json.dumps(body, indent=1, sort_keys=True).encode()


def target_file(target: Target, folder: Path) -> bytes:
    """Return a target as a file that means the same place wherever it lies: as it was written, where it can be."""
    if target.declared.directory is not None:
        moved = target.model_copy(update={target.kind: target.declared.anywhere()})
        return moved.model_dump_json(exclude_defaults=True).encode()
    for path in sorted(folder.glob("*.y*ml")):
        if path.stem == target.target:
            return path.read_bytes()
    return target.model_dump_json(exclude_defaults=True).encode()


def _faulty_plans(folder: Path, contents: dict[str, bytes]) -> Iterator[str]:
    """Take along the plans that cannot be used today, as they are: others may depend on them, and people mend them."""
    for path in sorted(folder.glob("*.y*ml")):
        name = f"config/plans/{path.name}"
        try:
            if name not in contents and path.is_file() and path.stat().st_size <= _FILE_BYTES:
                contents[name] = path.read_bytes()
                yield f"the secrets of plans/{path.name}: it cannot be used as it is"
        except OSError as error:
            yield f"plans/{path.name}: {error.strerror}"


def _files_beside(folder: Path, contents: dict[str, bytes], left_out: list[str]) -> list[str]:
    """Take along the small files below the directory of plans; return those that can be started."""
    executable, size = [], 0
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if path.is_dir() or path.suffix in (".yaml", ".yml") or any(part.startswith(".") for part in inner.parts):
            continue
        name = f"config/plans/{inner.as_posix()}"
        try:
            status = path.stat()
            fits = path.is_file() and status.st_size <= _FILE_BYTES and size + status.st_size <= _ALL_BYTES
            if not fits:
                left_out.append(f"plans/{inner.as_posix()}: too large, or no plain file")
                continue
            contents[name] = path.read_bytes()
        except OSError as error:
            left_out.append(f"plans/{inner.as_posix()}: {error.strerror}")
            continue
        size += status.st_size
        executable += [name] if status.st_mode & 0o100 else []
    return executable


def _passphrase(toolbox: Toolbox, place: Place, contents: dict[str, bytes], left_out: list[str]) -> None:
    """Take along what opens a repository, as restic gets it. A replica opens with the primary's."""
    env, name = place.repository.env, f"{toolbox.plan.system}@{place.name}"
    kind = "given" if toolbox.plan.secrets.passphrase else "generated"
    try:
        file = env.get("RESTIC_PASSWORD_FILE")
        phrase = Path(file).read_bytes() if file else env["RESTIC_PASSWORD"].encode() + b"\n"
        contents[f"passphrases/{kind}/{name}"] = phrase
    except (OSError, KeyError):
        left_out.append(f"the passphrase of {name}")


def _not_carried(loaded: Loaded) -> Iterator[str]:
    plan = loaded.plan
    hosts = {host.ssh for host in (plan.host, plan.drill.host, *(s.host for s in plan.sources.values())) if host}
    for ssh in sorted(hosts):
        yield f"the SSH key and known_hosts of {ssh} ({plan.system}): a capture needs them, a recovery does not"
    for name, source in plan.sources.items():
        if source.database and source.database.password:
            yield f"the password of the server of {plan.system}: {name}: a recovery into a live server needs one"


# -- and back ----------------------------------------------------------------------------------------


def unfold(contents: Mapping[str, bytes], older: Mapping[str, bytes], to: Path) -> None:
    """Make `to/config` and `to/state` from a self-copy; secrets and the catalog that it lacks, from an older one.

    `to` must be there. Files are 0600, directories 0700, scripts 0700. Raises `DrError`.
    """
    secrets = ("passphrases/", "keys/", "authorities/", "escrow/", CATALOG)
    whole = {**{n: d for n, d in older.items() if n.startswith(secrets)}, **contents}
    control: dict[str, Any] = json.loads(whole[CONTROL])
    executable = set(control.get("executable", ()))
    for name, data in whole.items():
        if path := _place_of(name, to):
            _write(path, data, 0o700 if name in executable else 0o600)
    for part in ("config/plans", "config/targets", "state/secrets"):
        (to / part).mkdir(mode=0o700, parents=True, exist_ok=True)


def _place_of(name: str, to: Path) -> Path | None:
    top, _, rest = name.partition("/")
    state = StateDir(to / "state")
    if top == "config":
        return to / name
    if top == "escrow":
        return state.path / name
    if top == "keys":
        return state.carried_keys(rest)
    if top == "authorities":
        return state.carried_authorities(rest)
    if name == CATALOG:
        return state.catalog
    if top == "passphrases":
        kind, _, repository = rest.partition("/")
        system, _, target = repository.partition("@")
        generated = state.passphrase(system, target)
        return generated if kind == "generated" else state.carried_passphrase(system, target)
    return None


def _write(path: Path, data: bytes, mode: int) -> None:
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        for parent in reversed(missing):
            parent.mkdir(mode=0o700)
    except OSError as error:
        raise DrError(
            "the directory cannot be made", str(path.parent), error.strerror or "", hint="see the rights there"
        ) from error
    write_private(path, data)
    path.chmod(mode)


# -- by hand -----------------------------------------------------------------------------------------


def by_hand(loaded: Loaded, targets: Mapping[str, Target]) -> str:
    """Return the restic command lines that bring one system back without this program.

    They start where a self-copy was unpacked.
    """
    plan, lines = loaded.plan, []
    for name in plan.places:
        reached = driver_of(targets[name]).by_hand()
        lines += [f"# {plan.system} on {name}", *(f"export {each}" for each in reached.exports)]
        options = "".join(f"-o {shlex.quote(option)} " for option in reached.options)
        location = f"{reached.location}/{plan.system}"
        kind = "given" if plan.secrets.passphrase else "generated"
        opens = name if name in plan.targets else plan.targets[0]
        lines += [
            f"export RESTIC_REPOSITORY={shlex.quote(location)}",
            f"export RESTIC_PASSWORD_FILE=passphrases/{kind}/{plan.system}@{opens}",
            f"restic {options}snapshots --no-lock",
            f"restic {options}restore SNAPSHOT --no-lock --target /srv/recovered/{plan.system}   # one for each source",
            "",
        ]
    return "\n".join(lines)
