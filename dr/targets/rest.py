"""The target kind `rest`: restic's REST server, for restic and for us by the same protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dr.errors import DamageError, DrError, RefusedError
from dr.evidence.posture import Attempt, Finding, Probe
from dr.sources.secret import read_secret
from dr.targets.driver import ByHand, Opened, TargetDriver
from dr.targets.findings import clock, refusal_of, tls
from dr.tools.rest import RestService
from dr.tools.rest_store import RestStore

if TYPE_CHECKING:
    from dr.plan.target_plain import RestPlace

_CANARY = b"A canary: tried by the backup credentials to see what they could destroy. Nothing needs it.\n"
_ID = hashlib.sha256(_CANARY).hexdigest()
_APPEND_ONLY = "start the server with --append-only, and prune with another one that is not"


class RestDriver(TargetDriver):
    """A REST server, and a path on it."""

    can_probe = True

    @property
    def _declared(self) -> RestPlace:
        return cast("RestPlace", self.target.declared)

    def open(self, *, seen: bool = False) -> Opened:
        """See `TargetDriver`."""
        declared, password, ca_file = self._declared, self._password(), self._ca_file
        service = RestService(declared.url, user=declared.user, password=password, ca_file=ca_file, meter=self.meter)
        env = {
            "RESTIC_REST_USERNAME": declared.user,
            "RESTIC_REST_PASSWORD": password,
            "RESTIC_CACERT": str(ca_file or ""),
        }
        env = {name: value for name, value in env.items() if value}
        return Opened(store=RestStore(service, kept=self._names_kept), location=f"rest:{declared.url}", env=env)

    @property
    def _names_kept(self) -> Path | None:
        """The file of what names of our own were read from the server, by its address."""
        if not self._state:
            return None
        return self._state.names(hashlib.sha256(self._declared.url.encode()).hexdigest()[:16])

    def _password(self) -> str:
        carried = self._state.carried_keys(self.name) if self._state else None
        if carried and carried.is_file():
            try:
                return carried.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise RefusedError(f"the password file {carried} cannot be read", hint="see its rights") from error
        declared = self._declared.password
        return read_secret(declared, f"{self.name}: rest.password") if declared else ""

    @property
    def _ca_file(self) -> Path | None:
        carried = self._state.carried_authorities(self.name) if self._state else None
        return carried if carried and carried.is_file() else self._declared.ca_file

    def look(self, now: datetime, below: str) -> Iterator[Finding]:
        """See `TargetDriver`."""
        service = cast("RestStore", self.open().store).service
        service.reachable()
        yield tls(self._declared.url)
        yield clock(service.clock, now)
        if service.is_open():
            hint = "start the server with an .htpasswd file, and name `user` and `password` here"
            observed = "the server asks for no login: who reaches it may read what is there"
            yield Finding(what="access", severity="high", observed=observed, hint=hint)
        else:
            yield Finding(what="access", severity="ok", observed="refused without a login")
        hint = "keep another copy in a bucket with Object Lock, or on a disk that is taken offline"
        observed = "none that the server could tell of: see the probe for what this login may delete"
        yield Finding(what="locks", severity="low", observed=observed, hint=hint)

    def carry(self, env: Mapping[str, str], left_out: list[str]) -> dict[str, bytes]:
        """See `TargetDriver`. The password goes along."""
        password, file = env.get("RESTIC_REST_PASSWORD", ""), env.get("RESTIC_CACERT")
        contents = {f"keys/{self.name}": f"{password}\n".encode()} if password else {}
        try:
            contents |= {f"authorities/{self.name}": Path(file).read_bytes()} if file else {}
        except OSError as error:
            left_out.append(f"the ca_file of {self.name}: {error.strerror}")
        return contents

    def by_hand(self) -> ByHand:
        """See `TargetDriver`."""
        declared, exports = self._declared, []
        if declared.user:
            exports += [f"RESTIC_REST_USERNAME={declared.user}"]
            exports += [f'RESTIC_REST_PASSWORD="$(cat keys/{self.name})"']
        exports += [f"RESTIC_CACERT=authorities/{self.name}"] if declared.ca_file else []
        return ByHand(location=f"rest:{declared.url}", exports=tuple(exports))

    def probe(self, now: datetime) -> Probe | None:
        """See `TargetDriver`. Tried on one object, which bears its hash as all others do."""
        service = cast("RestStore", self.open().store).service
        service.make("_probe")
        if not _stands(service):
            service.ask("POST", f"_probe/data/{_ID}", "writing a canary", body=_CANARY, size=len(_CANARY))
        return Probe(tried=now, attempts=tuple(_attempts(service)))


def _attempts(service: RestService) -> Iterator[Attempt]:
    what, path, other = "overwrite an object", f"_probe/data/{_ID}", _CANARY[::-1]
    refused = refusal_of(lambda: service.ask("POST", path, "overwriting a canary", body=other, size=len(other)))
    if _stands(service):
        yield Attempt(what=what, outcome="refused", severity="ok", observed=_how(refused))
    else:
        observed = "the old bytes are gone: who has this login replaces every object"
        hint = "start the server without --no-verify-upload, and with --append-only"
        yield Attempt(what=what, outcome="allowed", severity="high", observed=observed, hint=hint)
    what, refused = (
        "delete an object",
        refusal_of(lambda: service.ask("DELETE", path, "deleting a canary", missing=True)),
    )
    if _stands(service):
        yield Attempt(what=what, outcome="refused", severity="ok", observed=_how(refused))
    else:
        observed = "the canary is gone: who has this login can delete every copy"
        yield Attempt(what=what, outcome="allowed", severity="high", observed=observed, hint=_APPEND_ONLY)


def _stands(service: RestService) -> bool:
    """Whether the canary can still be read, and is what it was."""
    try:
        return service.ask("GET", f"_probe/data/{_ID}", "reading a canary").body == _CANARY
    except DamageError:
        return False


def _how(refused: DrError | None) -> str:
    return "refused" if refused else "the server took the request, and the object stayed"
