"""The bucket behind an S3 target, opened with the keys that an act needs."""

from __future__ import annotations

from dr.plan.target import Credentials, S3Place
from dr.run.workspace.toolbox import open_store, read_keys
from dr.tools.s3_bucket import S3Bucket


def open_bucket(place: S3Place, credentials: Credentials | None = None) -> S3Bucket:
    """Return the bucket at the target's prefix, with other keys than the target's when they are named.

    Raises `RefusedError` when the keys are not there.
    """
    keys = read_keys(credentials or place.credentials)
    return S3Bucket.of(open_store(place, keys))


def open_locks(place: S3Place) -> S3Bucket:
    """Return the bucket with the keys that may lengthen locks: those declared for it, else the target's."""
    return open_bucket(place, place.immutability.credentials)
