"""What a bucket says of its own settings, as `Posture` holds it; nothing where the service has no such thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dr.tools.store import Access

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def versioning(client: S3Client, bucket: str) -> bool | None:
    """Return whether versioning is on; None when the service does not say."""
    answer = _ask(client, bucket, "get_bucket_versioning")
    return None if answer is None else answer.get("Status") == "Enabled"


def object_lock(client: S3Client, bucket: str) -> str | None:
    """Return the default of Object Lock in words, such as "compliance 30 days"; None where it is off or not told."""
    answer = _ask(client, bucket, "get_object_lock_configuration")
    found = (answer or {}).get("ObjectLockConfiguration", {})
    if found.get("ObjectLockEnabled") != "Enabled":
        return None
    rule = found.get("Rule", {}).get("DefaultRetention", {})
    if not rule:
        return "on, without a default"
    period = f"{rule['Days']} days" if "Days" in rule else f"{rule.get('Years', '?')} years"
    return f"{str(rule.get('Mode', '')).lower()} {period}"


def public_access(client: S3Client, bucket: str) -> Access:
    """Return whether the bucket's ACL or policy lets the public in."""
    acl = _ask(client, bucket, "get_bucket_acl")
    grants = (acl or {}).get("Grants", ())
    if any("AllUsers" in grant.get("Grantee", {}).get("URI", "") for grant in grants):
        return "open"
    status = _ask(client, bucket, "get_bucket_policy_status")
    if status is not None and status.get("PolicyStatus", {}).get("IsPublic"):
        return "open"
    return "closed" if acl is not None else "unknown"


def _ask(client: S3Client, bucket: str, question: str) -> dict[str, Any] | None:
    """Return the service's answer; None when it has no such thing or may not say."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer: dict[str, Any] = getattr(client, question)(Bucket=bucket)
    except (ClientError, BotoCoreError):
        return None
    return answer
