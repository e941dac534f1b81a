"""`site.yaml`: what holds for the whole organisation, beside the plans. Optional.

Its `defaults` are keys of plans that plans need not repeat: `dr.plan.defaults` lends them. All else is about how the
host works: when, how fast, and who is told.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from dr.plan.base import ConfigPath, Count, Declaration, Name, PositiveDuration
from dr.plan.cadence import known_zone
from dr.plan.secret import SecretPlace
from dr.plan.units import parse_bytes
from dr.plan.window import Held, parse_window

#: What can change, and be told of; and the words that stand for several.
Kind = Literal["backup", "proof", "drill", "objective", "posture", "suspect", "silence", "recovered"]
Group = Literal["failed", "missed"]
GROUPS: dict[str, tuple[str, ...]] = {"failed": ("backup", "proof", "drill"), "missed": ("objective",)}
Severity = Literal["critical", "warning"]


def _window(text: str) -> str:
    parse_window(text)
    return text


Window = Annotated[str, AfterValidator(_window)]
Windows = Annotated[tuple[Window, ...], Field(min_length=1)]
Rate = Annotated[int, BeforeValidator(parse_bytes), Field(gt=0)]


class Limits(Declaration):
    """How much of this host, of its line and of other hosts the work may take."""

    systems: Annotated[
        Count | None,
        Field(ge=1, strict=True, description="Systems at work at once. Default: one for each processor.", examples=[4]),
    ] = None
    per_host: Annotated[
        Count | None,
        Field(
            ge=1,
            strict=True,
            description="Systems that one command backs up from one other host at once. Default: no limit.",
            examples=[1],
        ),
    ] = None
    upload: Annotated[
        Rate | None,
        Field(
            description="Bytes a second that each restic process, and beside it all that `dr` copies by itself, may "
            "send to targets, such as `5MB` or `512KiB`. Default: no limit.",
            examples=["5MB"],
        ),
    ] = None
    download: Annotated[
        Rate | None,
        Field(
            description="Bytes a second that each restic process, and beside it all that `dr` proves and copies by "
            "itself, may fetch from targets, such as `20MB`. Drills and recoveries are not slowed: they are timed. "
            "Default: no limit.",
            examples=["20MB"],
        ),
    ] = None
    restores: Annotated[
        Count | None,
        Field(
            ge=1,
            strict=True,
            description="Drills of one command that restore at once. One that does not fit beside the others on the "
            "disk, or into memory, waits for them anyway. Default: as many as `systems`.",
            examples=[2],
        ),
    ] = None
    restore_memory: Annotated[
        Rate | None,
        Field(
            description="Memory for all drills of one command that restore at once: 512 MiB for restic in each, or "
            "twice `memory`, and 1 GiB for each scratch server. Default: what is available when the first begins.",
            examples=["8GiB"],
        ),
    ] = None
    memory: Annotated[
        Rate | None,
        Field(
            description="Memory that each restic process tries to stay below (its `GOMEMLIMIT`), such as `512MiB`. "
            "Default: no limit.",
            examples=["512MiB"],
        ),
    ] = None


class Login(Declaration):
    """How to log in to a mail server."""

    user: Annotated[str, Field(description="Name to log in with.", examples=["dr@district.example"])]
    password: Annotated[
        SecretPlace,
        Field(description="Where the password is read from.", examples=[{"file": "/etc/dr/secrets/mail"}]),
    ]


class Mail(Declaration):
    """How a channel sends e-mail."""

    to: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="Who gets it: addresses of roles.",
            examples=[["it-on-call@district.example"]],
        ),
    ]
    sender: Annotated[
        str,
        Field(alias="from", description="The sender's address.", examples=["dr@district.example"]),
    ]
    server: Annotated[
        str | None,
        Field(
            description="Mail server, as HOST or HOST:PORT. Default: this host's own `sendmail`.",
            examples=["mail.district.example:587"],
        ),
    ] = None
    security: Annotated[
        Literal["starttls", "tls", "none"],
        Field(
            description="How the connection is protected. `none` only where the server is this host, or no password is "
            "sent."
        ),
    ] = "starttls"
    login: Annotated[
        Login | None,
        Field(
            description="How to log in to the server. Default: no login.",
            examples=[{"user": "dr", "password": {"file": "/etc/dr/secrets/mail"}}],
        ),
    ] = None
    ca_file: Annotated[
        ConfigPath | None,
        Field(
            description="Certificates of the authorities that the server's certificate is checked against, in PEM. "
            "Default: those that this host trusts.",
            examples=["/etc/dr/mail-ca.pem"],
        ),
    ] = None

    @field_validator("to", "sender")
    @classmethod
    def _addresses(cls, value: Any) -> Any:
        for each in value if isinstance(value, tuple) else (value,):
            local, _, domain = each.rpartition("@")
            if not local or not domain or any(x.isspace() or not x.isprintable() or x in ",;<>" for x in each):
                raise ValueError(f"{each!r} is not an e-mail address")
        return value

    @field_validator("server")
    @classmethod
    def _server(cls, value: str | None) -> str | None:
        host, colon, port = (value or "x").rpartition(":") if ":" in (value or "") else (value or "x", "", "")
        if not host or any(x.isspace() for x in host) or (colon and not (port.isdecimal() and 0 < int(port) < 65_536)):
            raise ValueError(f"{value!r} is not a mail server: write HOST or HOST:PORT")
        return value

    @model_validator(mode="after")
    def _login(self) -> Mail:
        if self.login and not self.server:
            raise ValueError("`login` is for a `server`: name one")
        if self.login and self.security == "none":
            raise ValueError("a password is not sent without protection: write `security: starttls` or `tls`")
        return self


class Command(Declaration):
    """A program of your own that takes a notice."""

    run: Annotated[
        tuple[str, ...],
        Field(
            min_length=1,
            description="Program with its arguments. It reads one JSON document on standard input, and takes the "
            "notice by ending with 0.",
            examples=[["/usr/local/bin/open-ticket", "--queue", "backup"]],
        ),
    ]
    timeout: Annotated[PositiveDuration, Field(description="How long it may take.", examples=["1m"])] = 30


class Recipient(Declaration):
    """Where a channel leads: give exactly one of the three."""

    mail: Annotated[
        Mail | None,
        Field(
            description="E-mail, by a mail server or this host's `sendmail`. Default: none; give exactly one of the "
            "three.",
            examples=[{"to": ["it-on-call@district.example"], "from": "dr@district.example"}],
        ),
    ] = None
    command: Annotated[
        Command | None,
        Field(
            description="A program of your own. Default: none; give exactly one of the three.",
            examples=[{"run": ["/usr/local/bin/open-ticket"]}],
        ),
    ] = None
    url: Annotated[
        SecretPlace | None,
        Field(
            description="Where an address of the apprise library is read from, for chats, pagers and webhooks; needs "
            "`pip install dr-orchestrator[notify]`. The address holds a secret, so it is not written here. Default: "
            "none; give exactly one of the three.",
            examples=[{"file": "/etc/dr/secrets/chat"}],
        ),
    ] = None

    @model_validator(mode="after")
    def _one(self) -> Recipient:
        if sum(x is not None for x in (self.mail, self.command, self.url)) != 1:
            raise ValueError("give exactly one of mail, command or url")
        return self


class Channel(Declaration):
    """One way to tell somebody, and what is told there. Absent matchers match everything."""

    name: Annotated[
        Name,
        Field(
            description="The channel's name, as `dr notify test` uses it: small letters, digits, `-` and `_`.",
            examples=["on-call"],
        ),
    ]
    to: Annotated[
        Recipient,
        Field(
            description="Where it leads.",
            examples=[{"mail": {"to": ["it-on-call@district.example"], "from": "dr@district.example"}}],
        ),
    ]
    on: Annotated[
        tuple[Kind | Group, ...],
        Field(
            min_length=1,
            description="What is told: `backup`, `proof`, `drill`, `objective`, `posture`, `suspect`, `silence`, and "
            "`recovered` for what is well again; `failed` stands for the first three, `missed` for `objective`. "
            "Default: all.",
            examples=[["failed", "missed", "suspect", "recovered"]],
        ),
    ] = ("backup", "proof", "drill", "objective", "posture", "suspect", "silence", "recovered")
    systems: Annotated[
        tuple[Name, ...] | None,
        Field(min_length=1, description="Of which systems. Default: of all.", examples=[["sis", "finance"]]),
    ] = None
    severities: Annotated[
        tuple[Severity, ...],
        Field(min_length=1, description="How grave it must be. Default: both.", examples=[["critical"]]),
    ] = ("critical", "warning")
    hours: Annotated[
        Windows | None,
        Field(
            description="Times of the day, as HH:MM-HH:MM, at which it is told; until the next one notices wait. They "
            "may go past midnight. Default: at once, at any time.",
            examples=[["07:00-18:00"]],
        ),
    ] = None
    digest: Annotated[
        str | None,
        Field(
            description="When a summary of all systems is sent too, written as a cadence. Default: never.",
            examples=["every monday at 07:00"],
        ),
    ] = None
    report: Annotated[
        str | None,
        Field(
            description="When the report for reviewers is sent too, written as a cadence; only by `mail`. Default: "
            "never.",
            examples=["cron 0 7 1 * *"],
        ),
    ] = None

    @field_validator("digest", "report")
    @classmethod
    def _sensible(cls, value: str | None) -> str | None:
        from dr.plan import cadence

        if value is not None and value != "never":
            cadence.parse(value)
        return value

    @model_validator(mode="after")
    def _mailed(self) -> Channel:
        if self.report and not self.to.mail:
            raise ValueError("the report is sent by mail: give this channel `to: {mail: …}`")
        return self

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that are told, each group resolved."""
        return frozenset(kind for word in self.on for kind in GROUPS.get(word, (word,)))


class Heartbeat(Declaration):
    """A service that misses this host when it falls silent, by the protocol of healthchecks.io."""

    url: Annotated[
        SecretPlace,
        Field(
            description="Where the ping address of a project is read from, such as `https://hc-ping.com/PING-KEY`. A "
            "check is made there for each system and verb on first use, with the name `dr-SYSTEM-VERB`.",
            examples=[{"file": "/etc/dr/secrets/heartbeat"}],
        ),
    ]


class Metrics(Declaration):
    """Where figures are left for Prometheus."""

    textfile: Annotated[
        ConfigPath,
        Field(
            description="File in the directory of node_exporter's textfile collector.",
            examples=["/var/lib/prometheus/node-exporter/dr.prom"],
        ),
    ]


class SitePlan(Declaration):
    """`site.yaml`: what holds for every system of this configuration directory."""

    organisation: Annotated[
        str,
        Field(
            description="Name of the organisation, for reports and notices. Default: none.",
            examples=["Example School District"],
        ),
    ] = ""
    defaults: Annotated[
        dict[str, Any],
        Field(
            description="Keys of plans, which each plan takes over where it does not write them itself: mappings are "
            "merged, lists and single values of the plan win. Any key but `system` and `title`. Default: none.",
            examples=[{"owner": {"role": "Data manager"}, "cadence": {"backup": "every 4 hours"}, "targets": ["disk"]}],
        ),
    ] = {}  # noqa: RUF012 - a default of pydantic, never shared
    windows: Annotated[
        dict[Held, Windows],
        Field(
            description="When work may be begun by itself, by verb (`backup`, `verify`, `drill`, `replicate`, "
            "`expire`, `prune`): times of the day as HH:MM-HH:MM, in the time zone of the plan's cadence, past "
            "midnight too. What is due outside them waits; a command typed for a system does not. Default: at any "
            "time.",
            examples=[{"verify": ["22:00-05:00"], "drill": ["01:00-05:00", "12:00-13:00"]}],
        ),
    ] = {}  # noqa: RUF012
    limits: Annotated[
        Limits,
        Field(
            description="How much of this host and its line the work may take. Default: no limits.",
            examples=[{"systems": 4, "upload": "5MB"}],
        ),
    ] = Limits.model_construct()
    notify: Annotated[
        tuple[Channel, ...],
        Field(
            description="Who is told when something goes wrong or is well again. Default: nobody.",
            examples=[
                [
                    {
                        "name": "on-call",
                        "to": {"mail": {"to": ["it-on-call@district.example"], "from": "dr@district.example"}},
                    }
                ]
            ],
        ),
    ] = ()
    heartbeat: Annotated[
        Heartbeat | None,
        Field(
            description="A service that misses this host when it falls silent. Default: none.",
            examples=[{"url": {"file": "/etc/dr/secrets/heartbeat"}}],
        ),
    ] = None
    metrics: Annotated[
        Metrics | None,
        Field(
            description="Where figures are left for Prometheus. Default: nowhere.",
            examples=[{"textfile": "/var/lib/prometheus/node-exporter/dr.prom"}],
        ),
    ] = None

    @property
    def timezone(self) -> str:
        """The time zone of the site: that of the cadence that it lends, else UTC."""
        lent = self.defaults.get("cadence")
        named = lent.get("timezone") if isinstance(lent, dict) else None
        return named if isinstance(named, str) and known_zone(named) else "UTC"

    @field_validator("notify")
    @classmethod
    def _named_once(cls, value: tuple[Channel, ...]) -> tuple[Channel, ...]:
        names = [channel.name for channel in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"two channels are named {twice!r}: give each a name of its own")
        return value
