"""A plan's places made into live tools: repositories, stores, sources, scratch space.

Nothing is reached over the network here: a toolbox can be made while every target is down.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dr.errors import DrError, RefusedError
from dr.evidence.look import NOTHING, Known
from dr.plan.plan import Plan
from dr.plan.secret import why_unreadable
from dr.plan.target import Credentials, S3Place, Target
from dr.run.workspace.key_record import key_hint
from dr.sources.agent import open_agent
from dr.sources.driver import SourceDriver
from dr.sources.hosts import open_host
from dr.sources.kinds import open_source
from dr.sources.secret import read_secret, variable
from dr.tools.disk import AbsentError, DiskStore
from dr.tools.host import Host
from dr.tools.network import Way
from dr.tools.restic import Repository
from dr.tools.s3 import S3Store
from dr.tools.secrets import S3Keys, generated_passphrase, read_aws_file
from dr.tools.store import ObjectStore


@dataclass(frozen=True)
class Place:
    """One target of a plan: its repository, the objects of that repository, its evidence, and its whole root.

    A replica's repository is the primary's, copied, and opens with its passphrase.
    """

    name: str
    target: Target
    repository: Repository
    store: ObjectStore
    evidence: ObjectStore
    root: ObjectStore | None = None
    known: Known = NOTHING  # what is on record of its repository

    @property
    def system(self) -> str:
        """The system that the repository is of."""
        return self.repository.host

    def object_lock(self) -> str:
        """Return the lock that the bucket says it enforces, "off" for none; nothing where none is declared."""
        s3 = self.target.s3
        if s3 is None or s3.immutability.mode == "none":
            return ""
        try:
            said = self.store.preflight().object_lock
            if said is None and s3.immutability.credentials:  # keys that back up often may not ask
                said = open_store(s3, read_keys(s3.immutability.credentials)).preflight().object_lock
        except DrError:
            return ""
        return said or "off"


def is_detached(place: Place) -> bool:
    """Whether the place is a disk that may be taken away, and is."""
    try:
        if place.target.offline:
            place.store.reachable()
    except AbsentError:
        return True
    except DrError:
        return False  # something else is wrong with it: who uses it will say so
    return False


@dataclass(frozen=True, kw_only=True)
class Toolbox:
    """All that the verbs need of one plan. `plan_dir` is where the plan's relative commands start.

    Backups write to `places`, the primary first; to `replicas` objects are copied.
    """

    plan: Plan
    digest: str
    state: Path
    plan_dir: Path
    places: tuple[Place, ...]
    replicas: tuple[Place, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    installation: str = ""  # whose points are its own; "" where that is not asked

    @property
    def everywhere(self) -> tuple[Place, ...]:
        """Every place that holds copies, in the order in which a recovery prefers them."""
        return (*self.places, *self.replicas)

    def place(self, name: str) -> Place:
        """Return the place of that name, a replica too; `KeyError` when the plan has none."""
        return {place.name: place for place in self.everywhere}[name]

    def source(self, name: str) -> SourceDriver:
        """Return the doors of the source of that name."""
        declared, program = self.plan.host_of(name), self.places[0].repository.program
        host = open_host(declared)
        return open_source(
            name,
            self.plan.sources[name],
            host=host,
            agent=open_agent(declared, host, program),
            scratch=[self.state / part for part in ("cache", "work", "sandboxes")],
            questions=tuple(self._questions(name)),
        )

    def _questions(self, source: str) -> Iterator[tuple[str | None, str]]:
        """The queries whose answers at capture a check compares."""
        for check in self.plan.drill.checks:
            if check.source == source and (query := check.body.captured_query):
                yield query

    def host(self) -> Host:
        """Return the host that the plan names for the system: this one when it names none."""
        return open_host(self.plan.host)

    def work(self) -> Path:
        """Return this system's scratch directory, empty: what a killed run left is swept away.

        Its name is constant, because restic finds a snapshot's parent by its paths. Only the holder of
        the system's lock may ask.
        """
        path = self.state / "work" / self.plan.system
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True, mode=0o700)
        return path

    def sweep_work(self) -> None:
        """Remove the scratch directory."""
        shutil.rmtree(self.state / "work" / self.plan.system, ignore_errors=True)


def open_toolbox(
    plan: Plan,
    targets: Mapping[str, Target],
    *,
    digest: str,
    state: Path,
    plan_dir: Path,
    restic: str,
    versions: Mapping[str, str],
    known: Mapping[str, Known] | None = None,
    installation: str = "",
) -> Toolbox:
    """Make the tools of a plan. Raises `RefusedError` when a named secret cannot be read.

    `known` is by target what is on record of the system's repository there, `installation` the id of this one.
    """
    first, record = plan.targets[0], known or {}

    def opened(name: str, key_of: str = "") -> Place:
        known = record.get(name, NOTHING)
        return open_place(plan, targets[name], state=state, restic=restic, key_of=key_of, known=known)

    places = tuple(opened(name) for name in plan.targets)
    replicas = tuple(opened(name, first) for name in plan.replicas)
    return Toolbox(
        plan=plan,
        digest=digest,
        state=state,
        plan_dir=plan_dir,
        places=places,
        replicas=replicas,
        versions=versions,
        installation=installation,
    )


def open_place(
    plan: Plan, target: Target, *, state: Path, restic: str, key_of: str = "", known: Known = NOTHING
) -> Place:
    """Make the tools of one plan on one target, opened with the passphrase of the target `key_of` (its own)."""
    opens = key_of or target.target
    secret_env = _passphrase(plan, opens, state) | key_hint(state, plan.system, opens)
    if target.s3:
        carried, place = carried_keys(state, target.target), carried_place(state, target.target, target.s3)
        keys = read_aws_file(carried, "default") if carried.is_file() else read_keys(place.credentials)
        root: ObjectStore = open_store(place, keys, seen=known.held)
        location = restic_location(place)
        secret_env |= restic_env(place, keys)
    else:
        assert target.local is not None  # noqa: S101 - the model has exactly one of the two
        label = target.target if target.offline else ""
        root, location = DiskStore(target.local.path, label=label), str(target.local.path)
    repository = Repository(
        program=restic,
        location=f"{location}/{plan.system}",
        where=f"{plan.system} on {target.target}",
        host=plan.system,
        env=secret_env,
        cache=state / "cache" / "restic",
        options=restic_options(target.s3),
    )
    evidence = root.child(f"_evidence/{plan.system}")
    return Place(target.target, target, repository, root.child(plan.system), evidence, root, known)


def open_store(place: S3Place, keys: S3Keys, *, seen: bool = False) -> S3Store:
    """Return a bucket as the target says that it is reached; `seen` by the record. Nothing is asked yet."""
    way = Way(place.addressing, place.ca_file)
    store = S3Store(
        endpoint=place.endpoint, bucket=place.bucket, prefix=place.prefix, region=place.region, keys=keys, way=way
    )
    store.seen = seen
    return store


def restic_location(place: S3Place) -> str:
    """Return what restic calls the place."""
    return "s3:" + "/".join(part for part in (place.endpoint, place.bucket, place.prefix) if part)


def restic_env(place: S3Place, keys: S3Keys) -> dict[str, str]:
    """Return the environment by which restic reaches the place, as `open_store` does."""
    found = {
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
        "AWS_SESSION_TOKEN": keys.session_token,
        "AWS_DEFAULT_REGION": place.region,
        "RESTIC_CACERT": str(place.ca_file or ""),
    }
    return {name: value for name, value in found.items() if value}


def restic_options(place: S3Place | None) -> tuple[str, ...]:
    """Return restic's options for the place."""
    lookup = {"path": "path", "virtual": "dns"}.get((place.addressing if place else None) or "")
    return (f"s3.bucket-lookup={lookup}",) if lookup else ()


def read_keys(declared: Credentials | None) -> S3Keys:
    """Return the S3 key pair a target names; `RefusedError` when it is not there."""
    if declared and declared.file:
        return read_aws_file(declared.file, "default")
    if declared and declared.profile:
        named = os.environ.get("AWS_SHARED_CREDENTIALS_FILE")
        return read_aws_file(Path(named) if named else Path.home() / ".aws/credentials", declared.profile)
    if declared and declared.env:
        token = declared.env.session_token
        pair = variable(declared.env.access_key_id), variable(declared.env.secret_access_key)
        return S3Keys(*pair, variable(token) if token else "")
    pair = variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")
    return S3Keys(*pair, os.environ.get("AWS_SESSION_TOKEN", ""))


def carried_keys(state: Path, target: str) -> Path:
    """Return where a recovery kit leaves a target's key pair, in AWS format; what is there comes before the target's.

    On the machine that a kit was opened on, the places that plans and targets name are empty.
    """
    return state / "carried" / f"{target}.keys"


def carried_authorities(state: Path, target: str) -> Path:
    """Return where a recovery kit leaves the `ca_file` of a target; what is there comes before the target's."""
    return state / "carried" / f"{target}.pem"


def carried_place(state: Path, target: str, place: S3Place) -> S3Place:
    """Return the place as it is reached from here: on the machine that a kit was opened on, with what it brought."""
    carried = carried_authorities(state, target)
    return place.model_copy(update={"ca_file": carried}) if carried.is_file() else place


def carried_passphrase(state: Path, system: str, target: str) -> Path:
    """Return where a recovery kit leaves the passphrase of a repository; what is there comes before the plan's."""
    return state / "carried" / f"{system}@{target}.passphrase"


def tombstone(state: Path, system: str, target: str) -> Path:
    """Return the file that stands in the place of a passphrase whose keys were destroyed; it says when."""
    return state / "secrets" / f"{system}@{target}.destroyed"


def _passphrase(plan: Plan, target: str, state: Path) -> dict[str, str]:
    grave = tombstone(state, plan.system, target)
    if grave.exists():
        raise RefusedError(
            "the keys of this system were destroyed: nothing opens its copies any more",
            f"{plan.system} on {target}",
            grave.read_text("utf-8").strip(),
            hint="remove its plan; to protect the system again, give it another name",
        )
    declared, carried = plan.secrets.passphrase, carried_passphrase(state, plan.system, target)
    if carried.is_file():
        return {"RESTIC_PASSWORD_FILE": str(_as_restic_reads(carried))}
    if declared is None:
        path = _as_restic_reads(state / "secrets" / f"{plan.system}@{target}.passphrase")
        return {"RESTIC_PASSWORD_FILE": str(path)}
    return {"RESTIC_PASSWORD": read_secret(declared, f"{plan.system}: secrets.passphrase")}


def _as_restic_reads(path: Path) -> Path:
    """Return a passphrase file of ours, made when absent; `RefusedError` where others would read something else."""
    problem, hint = why_unreadable(generated_passphrase(path).read_bytes())
    if problem:
        raise RefusedError(f"the passphrase file {problem}", str(path), hint=hint)
    return path
