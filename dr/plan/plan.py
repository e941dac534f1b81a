"""A plan: the declaration for one system of what must come back, how soon and how fresh."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from dr.plan import cadence
from dr.plan.base import ConfigPath, Count, Declaration, Name, PositiveDuration, Size
from dr.plan.check import Check
from dr.plan.check_kinds import ManifestCheck
from dr.plan.hook import AllHooks
from dr.plan.host import SshHost
from dr.plan.proof import ProofReading
from dr.plan.retention import Retention
from dr.plan.scenario import WHOLE, ScenarioName
from dr.plan.secret import SecretPlace
from dr.plan.source import Source


class Owner(Declaration):
    """Who is responsible for the system."""

    role: Annotated[str, Field(description="A role, never a person's name.", examples=["Data manager"])]
    contact: Annotated[
        str,
        Field(
            description="How the role is reached, best an address that outlives its holder. Default: none.",
            examples=["sis-owner@district.example"],
        ),
    ] = ""


class Objectives(Declaration):
    """What a recovery must achieve: drills are judged by it. The terms are those of NIST SP 800-34r1."""

    rto: Annotated[
        PositiveDuration,
        Field(
            description="Recovery time objective: the longest time that the system may be unavailable.", examples=["2h"]
        ),
    ]
    rpo: Annotated[
        PositiveDuration,
        Field(
            description="Recovery point objective: how old the recovered data may be, measured back from the loss.",
            examples=["4h"],
        ),
    ]
    mtd: Annotated[
        PositiveDuration | None,
        Field(
            description="Maximum tolerable downtime; must be longer than the RTO. Default: not declared.",
            examples=["8h"],
        ),
    ] = None


class Cadence(Declaration):
    """When work is due.

    Written as `every 4 hours`, `every day at 02:00`, `every monday at 03:00`, `cron 0 5 1 * *`, or `never`. What is due
    is done by `dr run`; a time that was missed is caught up once.
    """

    backup: Annotated[
        str | None,
        Field(
            description="When a backup is due. Default: three times in each RPO, so that one may fail.",
            examples=["every 4 hours"],
        ),
    ] = None
    replicate: Annotated[
        str | None,
        Field(
            description="When the replicas are due. Default: as soon as the primary has a recovery point that a "
            "replica has not.",
            examples=["every day at 22:00"],
        ),
    ] = None
    verify: Annotated[
        str | None, Field(description="When the stored copies are verified.", examples=["every day at 03:00"])
    ] = "every day at 03:00"
    drill: Annotated[
        str | None,
        Field(
            description="When the drill's own scenario is due. As given here: the first day of each month at 05:00.",
            examples=["cron 0 5 1 * *"],
        ),
    ] = "cron 0 5 1 * *"
    expire: Annotated[
        str | None,
        Field(
            description="When recovery points that `retention` no longer keeps are removed from the targets that "
            "backups write to (docs/retention.md). Default: only when `dr expire` is typed.",
            examples=["every day at 04:00"],
        ),
    ] = None
    prune: Annotated[
        str | None,
        Field(
            description="When the space of removed recovery points is freed there, where `expire` is given too. "
            "`never`: only when `dr expire` is typed.",
            examples=["every sunday at 04:00"],
        ),
    ] = "every sunday at 04:00"
    scenarios: dict[ScenarioName, str] = Field(
        default_factory=dict,
        description="When other scenarios are drilled, besides the drill's own. Default: none are.",
        examples=[{"ransomware": "every 26 weeks", "target-loss": "every 13 weeks"}],
        json_schema_extra={"default": {}},
    )
    timezone: Annotated[
        str,
        Field(
            description="Time zone of these times, and of the days that `retention` counts.",
            examples=["America/New_York"],
        ),
    ] = "UTC"

    @field_validator("backup", "replicate", "verify", "drill", "expire", "prune")
    @classmethod
    def _sensible(cls, value: str | None) -> str | None:
        if value is not None and value != "never":
            cadence.parse(value)
        return value

    @field_validator("scenarios")
    @classmethod
    def _sensible_each(cls, value: dict[ScenarioName, str]) -> dict[ScenarioName, str]:
        for text in value.values():
            cadence.parse(text)
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        cadence.parse("every day at 00:00", value)
        return value


class Drill(Declaration):
    """How recovery is rehearsed: the loss that is assumed, where to restore, and what must then be true."""

    scenario: Annotated[
        ScenarioName,
        Field(
            description="The loss that is assumed: all of the system, some of its files, its copies attacked, its "
            "first target lost, or the backup host lost too (docs/words.md)."
        ),
    ] = WHOLE
    scratch: Annotated[
        Name | None,
        Field(
            description="Target for ransomware drills: a bucket that keeps versions and holds nothing else, where a "
            "copy of the repository is made, attacked, and recovered from. Default: none, and no ransomware drill.",
            examples=["practice"],
        ),
    ] = None
    kit: Annotated[
        ConfigPath | None,
        Field(
            description="Directory of the recovery kit that control-loss drills begin with; give `shares` too. "
            "Default: they begin with this host's own key, and the evidence says so.",
            examples=["/srv/kit/kit"],
        ),
    ] = None
    shares: Annotated[
        tuple[SecretPlace, ...],
        Field(
            description="Where control-loss drills read the custodians' shares. Shares on this host do not protect "
            "from somebody who takes the host. Default: none.",
            examples=[[{"file": "/mnt/stick/share-1-of-3.txt"}, {"env": "SECOND_SHARE"}]],
        ),
    ] = ()
    host: Annotated[
        SshHost | None,
        Field(
            description="Another host to restore to, where scratch servers and checks run too. Default: the backup "
            "host.",
            examples=[{"ssh": "drill@spare.district.example"}],
        ),
    ] = None
    sample: Annotated[
        Size | None,
        Field(
            gt=0,
            description="How many bytes of a larger system a drill restores: the newest files of each source, then "
            "others in turn, so that over the drills each file comes once; a database whole or not at all. Such a "
            "drill proves no recovery of the whole, and its RTO is not judged. Default: all is restored.",
            examples=["50GiB"],
        ),
    ] = None
    sandbox: Annotated[
        ConfigPath | None,
        Field(
            description="Directory, on the host that drills restore to, below which they put what they restore; each "
            "removes its own again. It must be there. Scratch servers lie there too, where its path has at most 40 "
            "characters and every account may enter it. Default: the state directory, and for servers TMPDIR or "
            "/var/tmp; on another host those two for both.",
            examples=["/srv/drills"],
        ),
    ] = None
    reach: Annotated[
        tuple[Annotated[str, Field(pattern=r"^\S+:\d+$", description="HOST:PORT")], ...],
        Field(
            description="Addresses that the programs of checks must reach. With any, these programs use the host's "
            "whole network, and the drill does not count as isolated. Default: none; no network is reached.",
            examples=[["licences.district.example:443"]],
        ),
    ] = ()
    checks: Annotated[
        tuple[Check, ...],
        Field(
            description="What must be true of the restored system; at least one check must be mandatory. Default: one "
            "manifest check, of everything.",
            examples=[
                [
                    {"manifest": {"sample": "100%"}},
                    {"sql": {"source": "database", "query": "select count(*) from students", "expect": ">= 1000"}},
                ]
            ],
        ),
    ] = (Check.of(ManifestCheck.model_construct()),)


class Secrets(Declaration):
    """Where the system's secrets are read from."""

    passphrase: Annotated[
        SecretPlace | None,
        Field(
            description="The passphrase of the system's repositories. Default: one is generated for each repository, "
            "and kept in the state directory under `secrets/` (mode 0600).",
            examples=[{"file": "/etc/dr/secrets/sis"}],
        ),
    ] = None


class Plan(Declaration):
    """One plan file: what must come back of one system, how soon and how fresh."""

    system: Annotated[
        Name,
        Field(
            description="The system's name, as commands use it: small letters, digits, `-` and `_`, at most 63.",
            examples=["sis"],
        ),
    ]
    title: Annotated[
        str,
        Field(
            description="What people call the system: the title in reports. Default: its name.",
            examples=["Student information system"],
        ),
    ] = ""
    owner: Annotated[
        Owner | None,
        Field(
            description="Who is responsible for the system. Default: nobody, which `dr validate` warns of.",
            examples=[{"role": "Data manager", "contact": "sis-owner@district.example"}],
        ),
    ] = None
    classification: Annotated[
        str,
        Field(
            description="The class of the system's data, in your own words. It is kept with the plan and changes "
            "nothing. Default: none.",
            examples=["student-records"],
        ),
    ] = ""
    priority: Annotated[
        Count,
        Field(
            ge=0,
            strict=True,
            description="Order among systems that are due at the same time: the lowest number comes first.",
            examples=[1],
        ),
    ] = 100
    depends_on: Annotated[
        tuple[Name, ...],
        Field(
            description="Systems that must be back before this one; each needs a plan. Default: none.",
            examples=[["directory"]],
        ),
    ] = ()
    objectives: Annotated[
        Objectives,
        Field(
            description="What a recovery must achieve: how soon, and how fresh.",
            examples=[{"rto": "2h", "rpo": "4h", "mtd": "8h"}],
        ),
    ]
    host: Annotated[
        SshHost | None,
        Field(
            description="The host that the sources are on, where they have no `host` of their own. Default: the backup "
            "host.",
            examples=[{"ssh": "backup@sis.district.example", "known_hosts": "/etc/dr/known_hosts"}],
        ),
    ] = None
    sources: Annotated[
        dict[Name, Source],
        Field(
            min_length=1,
            description="The parts of the system's data, each under a name of your choice. A recovery point is "
            "complete only with all of them.",
            examples=[{"uploads": {"files": {"paths": ["/srv/sis/uploads"]}}}],
        ),
    ]
    targets: Annotated[
        tuple[Name, ...],
        Field(
            min_length=1,
            description="Targets that each backup writes to, each with a repository of its own. The first is the "
            "primary.",
            examples=[["offsite", "disk"]],
        ),
    ]
    replicas: Annotated[
        tuple[Name, ...],
        Field(
            description="Targets that backups never write to: `dr replicate` copies the primary's repository there, "
            "which opens with the same passphrase. Default: none.",
            examples=[["cellar"]],
        ),
    ] = ()
    cadence: Annotated[
        Cadence,
        Field(
            description="When backups, verification and drills are due. Default: the default of each key.",
            examples=[{"backup": "every 4 hours", "timezone": "America/New_York"}],
        ),
    ] = Cadence.model_construct()
    retention: Annotated[
        Retention | None,
        Field(
            description="How many recovery points to keep of each age. Default: none, and where backups write nothing "
            "expires.",
            examples=[{"last": 6, "daily": 14, "weekly": 8, "monthly": 12, "yearly": 1}],
        ),
    ] = None
    proof: Annotated[
        ProofReading,
        Field(
            description="How much of what is stored one verification reads, and within how long all of it is read. "
            "Default: the default of each key.",
            examples=[{"whole_within": "30d", "budget": "50GiB", "minutes": 60}],
        ),
    ] = ProofReading.model_construct()
    drill: Annotated[
        Drill,
        Field(
            description="How recovery is rehearsed. Default: the loss of the whole system, with one manifest check.",
            examples=[{"scenario": "system-loss", "checks": ["manifest"]}],
        ),
    ] = Drill.model_construct()
    secrets: Annotated[
        Secrets,
        Field(
            description="Where the system's secrets are read from. Default: they are generated.",
            examples=[{"passphrase": {"file": "/etc/dr/secrets/sis"}}],
        ),
    ] = Secrets.model_construct()
    hooks: Annotated[
        AllHooks,
        Field(
            description="Your own commands around captures and restores. Default: none.",
            examples=[{"capture": {"before": ["app", "freeze"], "after": ["app", "thaw"]}}],
        ),
    ] = AllHooks.model_construct()

    def host_of(self, source: str) -> SshHost | None:
        """Return the host that a source lies on: its own, else the plan's; None for this host."""
        return self.sources[source].host or self.host

    @property
    def pattern_bases(self) -> dict[str, tuple[str, ...]]:
        """What relative patterns of files begin at, by source."""
        return {name: source.body.pattern_bases for name, source in self.sources.items()}

    @property
    def scenarios(self) -> tuple[str, ...]:
        """Every scenario that is drilled by a cadence: the drill's own first."""
        return (self.drill.scenario, *self.cadence.scenarios)

    @property
    def places(self) -> tuple[Name, ...]:
        """Every target that holds copies: the primary first, the replicas last."""
        return (*self.targets, *self.replicas)

    @property
    def keeps(self) -> Retention:
        """How many recovery points of each age are of use: as declared, else the default of each key."""
        return self.retention or Retention()

    @property
    def backup_cadence(self) -> str:
        """The declared cadence of backups, or one that keeps the RPO with room for one failure."""
        a_third = min(max(self.objectives.rpo // 3, 60), cadence.LONGEST)
        return self.cadence.backup or f"every {a_third} seconds"

    @property
    def verify_seconds(self) -> float | None:
        """The longest time between two verifications by the plan's cadence, in seconds; None where it names none."""
        text = self.cadence.verify
        return None if text in (None, "never") else cadence.parse(str(text), self.cadence.timezone).interval_seconds()
