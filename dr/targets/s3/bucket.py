"""The bucket behind an S3 target, opened with the keys that an act needs; and what restic is told of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dr.sources.secret import variable
from dr.tools.meter import Meter
from dr.tools.network import Way
from dr.tools.s3 import S3Store
from dr.tools.s3_bucket import S3Bucket
from dr.tools.secrets import S3Keys, read_aws_file
from dr.tools.state_dir import StateDir

if TYPE_CHECKING:
    from dr.plan.target_kind import Credentials
    from dr.plan.target_s3 import S3Place


def open_bucket(place: S3Place, credentials: Credentials | None = None, *, meter: Meter | None = None) -> S3Bucket:
    """Return the bucket at the target's prefix, with other keys than the target's when they are named.

    Raises `RefusedError` when the keys are not there.
    """
    keys = read_keys(credentials or place.credentials)
    return S3Bucket.of(open_store(place, keys, meter=meter))


def open_locks(place: S3Place, *, meter: Meter | None = None) -> S3Bucket:
    """Return the bucket with the keys that may lengthen locks: those declared for it, else the target's."""
    return open_bucket(place, place.immutability.credentials, meter=meter)


def open_store(place: S3Place, keys: S3Keys, *, seen: bool = False, meter: Meter | None = None) -> S3Store:
    """Return a bucket as the target says that it is reached; `seen` by the record. Nothing is asked yet.

    What passes is counted by `meter`.
    """
    way = Way(place.addressing, place.ca_file)
    store = S3Store(
        endpoint=place.endpoint,
        bucket=place.bucket,
        prefix=place.prefix,
        region=place.region,
        keys=keys,
        way=way,
        meter=meter,
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


def restic_options(place: S3Place) -> tuple[str, ...]:
    """Return restic's options for the place."""
    lookup = {"path": "path", "virtual": "dns"}.get(place.addressing or "")
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


def as_carried(state: StateDir | None, target: str, place: S3Place) -> tuple[S3Place, S3Keys]:
    """Return the place and its keys as they are here: on the machine that a kit was opened on, with what it brought.

    Raises `RefusedError` where there are no keys.
    """
    if state is None:
        return place, read_keys(place.credentials)
    authorities, keys = state.carried_authorities(target), state.carried_keys(target)
    place = place.model_copy(update={"ca_file": authorities}) if authorities.is_file() else place
    return place, read_aws_file(keys, "default") if keys.is_file() else read_keys(place.credentials)
