"""A plan: the declaration for one system of what must come back, how soon and how fresh."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dr.plan import cadence
from dr.plan.base import ConfigPath, Declaration, Duration, Name
from dr.plan.check import Check, ManifestCheck
from dr.plan.hook import AllHooks
from dr.plan.host import SshHost
from dr.plan.secret import SecretPlace
from dr.plan.source import Source

Scenario = Literal["system-loss", "file-loss", "ransomware", "target-loss", "control-loss"]


class Owner(Declaration):
    """Who answers for the system: a role, never a person's name."""

    role: str
    contact: str = ""


class Objectives(Declaration):
    """Recovery objectives in seconds.

    RTO: the longest time the system may be unavailable. RPO: the point in time before the outage to
    which data must be recovered. MTD: maximum tolerable downtime. All three as NIST SP 800-34r1.
    """

    rto: Annotated[Duration, Field(gt=0)]
    rpo: Annotated[Duration, Field(gt=0)]
    mtd: Annotated[Duration, Field(gt=0)] | None = None


class Cadence(Declaration):
    """When something is due, in the plan's own words (see `dr.plan.cadence`).

    Without a `replicate` of its own a replica is due as soon as the primary holds a point that it lacks. `drill` is
    that of the drill's own scenario, `scenarios` those of others, which are drilled too.
    """

    backup: str | None = None
    replicate: str | None = None
    verify: str | None = "every day at 03:00"
    drill: str | None = "cron 0 5 1 * *"
    scenarios: dict[Scenario, str] = Field(default_factory=dict)
    timezone: str = "UTC"

    @field_validator("backup", "replicate", "verify", "drill")
    @classmethod
    def _sensible(cls, value: str | None) -> str | None:
        if value is not None and value != "never":
            cadence.parse(value)
        return value

    @field_validator("scenarios")
    @classmethod
    def _sensible_each(cls, value: dict[Scenario, str]) -> dict[Scenario, str]:
        for text in value.values():
            cadence.parse(text)
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        cadence.parse("every day at 00:00", value)
        return value


class Retention(Declaration):
    """How many recovery points to keep of each age."""

    last: Annotated[int, Field(ge=1)] = 6
    daily: Annotated[int, Field(ge=0)] = 14
    weekly: Annotated[int, Field(ge=0)] = 8
    monthly: Annotated[int, Field(ge=0)] = 12
    yearly: Annotated[int, Field(ge=0)] = 1


class Drill(Declaration):
    """How recovery is rehearsed: the loss assumed, where it is rehearsed, and what must then be true.

    `host` is another host to restore to, where scratch servers and checks then run too; absent: this one.
    For the scenario `control-loss`, `kit` is a recovery kit's directory and `shares` where custodians' shares are
    read from; without them the drill begins with this host's own key, and says so. `scratch` names the target of the
    scenario `ransomware`: a bucket that keeps versions and holds nothing else, where a copy of the repository is made,
    attacked, and recovered from.

    What runs in the sandbox reaches no network. `reach` names the addresses (HOST:PORT) that the programs of checks
    need all the same: with it these programs, not the scratch servers, have the host's network, and the drill is not
    told of as isolated.
    """

    scenario: Scenario = "system-loss"
    scratch: Name | None = None
    kit: ConfigPath | None = None
    shares: tuple[SecretPlace, ...] = ()
    host: SshHost | None = None
    reach: tuple[Annotated[str, Field(pattern=r"^\S+:\d+$", description="HOST:PORT")], ...] = ()
    checks: tuple[Check, ...] = (Check(manifest=ManifestCheck()),)


class Secrets(Declaration):
    """The secrets a plan names; what it does not name is generated and kept in the state (0600)."""

    passphrase: SecretPlace | None = None


class Plan(Declaration):
    """One plan file.

    Backups go to every one of `targets`, each a repository of its own with its own passphrase; the first is the
    primary. `replicas` are targets that backups never write to: `dr replicate` copies the objects of the primary's
    repository there, so that they open with its passphrase.
    """

    system: Name
    title: str = ""
    owner: Owner | None = None
    classification: str = ""
    priority: Annotated[int, Field(ge=0, strict=True)] = 100
    depends_on: tuple[Name, ...] = ()
    objectives: Objectives
    host: SshHost | None = None
    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    targets: Annotated[tuple[Name, ...], Field(min_length=1)]
    replicas: tuple[Name, ...] = ()
    cadence: Cadence = Cadence()
    retention: Retention = Retention()
    drill: Drill = Drill()
    secrets: Secrets = Secrets()
    hooks: AllHooks = AllHooks()

    def host_of(self, source: str) -> SshHost | None:
        """Return the host that a source lies on: its own, else the plan's; None for this host."""
        return self.sources[source].host or self.host

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """Every scenario that is drilled by a cadence: the drill's own first."""
        return (self.drill.scenario, *self.cadence.scenarios)

    @property
    def places(self) -> tuple[Name, ...]:
        """Every target that holds copies: the primary first, the replicas last."""
        return (*self.targets, *self.replicas)

    @property
    def backup_cadence(self) -> str:
        """The declared cadence of backups, or one that keeps the RPO with room for one failure."""
        return self.cadence.backup or f"every {max(self.objectives.rpo // 3, 60)} seconds"
