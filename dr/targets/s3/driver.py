"""The target kind `s3`, put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from dr.errors import DrError
from dr.evidence.posture import Finding, Probe
from dr.targets.driver import ByHand, Opened, TargetDriver
from dr.targets.making import BucketPlan
from dr.targets.s3.bucket import (
    as_carried,
    open_locks,
    open_store,
    read_keys,
    restic_env,
    restic_location,
    restic_options,
)
from dr.tools.erase import Eraser, S3Eraser, StoreEraser
from dr.tools.s3 import S3Store
from dr.tools.s3_versions import S3Versions
from dr.tools.store import ObjectStore

if TYPE_CHECKING:
    from dr.plan.target_kind import Credentials
    from dr.plan.target_s3 import S3Place
    from dr.tools.s3_bucket import S3Bucket


class S3Driver(TargetDriver):
    """A bucket, with versions and locks where it has them."""

    can_probe = True

    @property
    def _declared(self) -> S3Place:
        return cast("S3Place", self.target.declared)

    def open(self, *, seen: bool = False) -> Opened:
        """See `TargetDriver`."""
        place, keys = as_carried(self._state, self.name, self._declared)
        store = open_store(place, keys, seen=seen, meter=self.meter)
        env, options = restic_env(place, keys), restic_options(place)
        return Opened(store=store, location=restic_location(place), env=env, options=options)

    def names(self, store: ObjectStore, folder: str) -> frozenset[str] | None:
        """See `TargetDriver`."""
        return store.names(folder) if isinstance(store, S3Store) else None

    def deleting(self) -> Opened:
        """See `TargetDriver`. Keys that back up are to delete nothing: others are named for it."""
        place = self._declared
        if place.delete_credentials is None:
            raise DrError(
                f"{self.name} names no keys that may delete",
                hint="name them in the target's file under `delete_credentials`, other ones than the backup keys",
            )
        opened, keys = self.open(), read_keys(place.delete_credentials)
        return replace(opened, store=open_store(place, keys, meter=self.meter), env=restic_env(place, keys))

    def look(self, now: datetime, below: str) -> Iterator[Finding]:
        """See `TargetDriver`."""
        from dr.targets.s3 import posture

        return posture.look_at_bucket(self._declared, now, below)

    def carry(self, env: Mapping[str, str], left_out: list[str]) -> dict[str, bytes]:
        """See `TargetDriver`. The key pair goes along in AWS's format."""
        contents, file = {f"keys/{self.name}": _aws(env)}, env.get("RESTIC_CACERT")
        try:
            contents |= {f"authorities/{self.name}": Path(file).read_bytes()} if file else {}
        except OSError as error:
            left_out.append(f"the ca_file of {self.name}: {error.strerror}")
        return contents

    def by_hand(self) -> ByHand:
        """See `TargetDriver`."""
        place = self._declared
        exports = (
            f"AWS_SHARED_CREDENTIALS_FILE=keys/{self.name}",
            f"AWS_DEFAULT_REGION={place.region}",
            f"RESTIC_CACERT={f'authorities/{self.name}' if place.ca_file else ''}",
        )
        return ByHand(location=restic_location(place), exports=exports, options=restic_options(place))

    def eraser(self, store: ObjectStore) -> Eraser:
        """See `TargetDriver`."""
        return S3Eraser(store) if isinstance(store, S3Store) else StoreEraser(store)

    def probe(self, now: datetime) -> Probe | None:
        """See `TargetDriver`."""
        from dr.targets.s3 import probe

        return probe.probe(self._declared, now=now)

    def versions(self, store: ObjectStore) -> S3Versions | None:
        """See `TargetDriver`."""
        return S3Versions.of(store) if isinstance(store, S3Store) else None

    def locks(self) -> S3Bucket | None:
        """See `TargetDriver`."""
        return open_locks(self._declared, meter=self.meter)

    def object_lock(self, store: ObjectStore) -> str:
        """See `TargetDriver`. Keys that back up often may not ask: then those for locks do; else nobody was told."""
        place = self._declared
        try:
            asked = [cast("S3Store", store)]
            asked += [open_locks(place, meter=self.meter)] if place.immutability.credentials else []
            said = next(filter(None, (each.preflight().object_lock for each in asked)), None)
            return said or ("off" if any(each.lockless for each in asked) else "not told")
        except DrError:
            return ""

    def lock_on_top(self, store: ObjectStore, name: str) -> tuple[datetime | None, bool]:
        """See `TargetDriver`."""
        return store.lock_on_top(name) if isinstance(store, S3Store) else (None, False)

    def plan_bucket(self, *, credentials: Credentials | None, principal: str | None) -> BucketPlan:
        """See `TargetDriver`."""
        from dr.targets.s3 import provision

        return provision.plan_bucket(self._declared, credentials=credentials, principal=principal)


def _aws(env: Mapping[str, str]) -> bytes:
    pairs = {
        "aws_access_key_id": env["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": env["AWS_SECRET_ACCESS_KEY"],
        "aws_session_token": env.get("AWS_SESSION_TOKEN", ""),
    }
    return "\n".join(["[default]", *(f"{key} = {value}" for key, value in pairs.items() if value), ""]).encode()
