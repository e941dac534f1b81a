"""The rights that S3's requests need, by the names that policies have for them; what is said where one is missing."""

from __future__ import annotations

import re

from dr.errors import RefusedError

#: Request -> the action that a policy allows or denies, where that is not the request's own name.
_ACTIONS = {
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "HeadObject": "GetObject",
    "StatObject": "GetObject",
    "RemoveObject": "DeleteObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
}
#: Actions that have a name of their own where a request names a version.
_OF_VERSIONS = {"GetObject": "GetObjectVersion", "DeleteObject": "DeleteObjectVersion"}
_HINTS = {
    "GetObject": " (and s3:ListBucket: without that, services say the same of an object that is not there)",
    "DeleteObject": ", at least on locks/*: restic removes its own passing locks by it",
}
#: What restic calls the requests of its store, by the right that each needs.
_OF_RESTIC = {
    "List": "ListBucket",
    "Stat": "GetObject",
    "Load": "GetObject",
    "Save": "PutObject",
    "Remove": "DeleteObject",
}
#: How restic tells of a request that was denied: by its own name for it, or with that of its client's function.
_BY_RESTIC = re.compile(
    r"\b(?:List|Stat|Load|Save|Remove)(?=\([^)]*\) failed:[^)]{0,80}access denied|: access denied)"
    r"|(?<=client\.)\w+(?=\W+access denied)|(?<=access denied. client\.)\w+",
    re.IGNORECASE,
)
_FOREIGN = "; a bucket that belongs to somebody else answers alike"


def action_of(request: str, *, of_version: bool = False) -> str:
    """Return the action (`s3:GetObject`) that a request needs."""
    action = _ACTIONS.get(request, request)
    return f"s3:{_OF_VERSIONS.get(action, action) if of_version else action}"


def denied(action: str, where: str, cause: str) -> RefusedError:
    """Return what is said of keys that are good, and may not do one thing."""
    hint = f"allow these keys {action}{_HINTS.get(action.removeprefix('s3:'), '')} in their policy or the bucket's"
    return RefusedError(f"the target denies these keys {action}", where, cause, hint=hint + _FOREIGN)


def denied_to_restic(heard: str) -> str:
    """Return the action that restic was denied, by what it said; nothing where it does not say that."""
    found = _BY_RESTIC.search(heard)
    return action_of(_OF_RESTIC.get(found[0], found[0])) if found else ""
