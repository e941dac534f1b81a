#!/bin/sh
# SeaweedFS 4.48: CopyObject hands the source's retention and legal hold on to the copy, though nobody asked for a lock.
#
# Usual (Amazon S3's CopyObject): locks are never copied; the copy has what the request or the bucket's default says.
# Seen: the copy has the source's mode, date and legal hold, also with MetadataDirective=REPLACE.
# What hurts: a replica made by copying stays locked as long as its source was, past the ceiling that its own plan sets,
# and a legal hold multiplies unseen. In compliance mode nobody can take that back.
set -eu
# shellcheck source=findings/seaweedfs.inc
. "$(dirname -- "$0")/seaweedfs.inc"
"$PYTHON" - <<'CODE'
from datetime import UTC, datetime, timedelta
from client import s3
s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
until = datetime.now(UTC) + timedelta(days=2)
s3.put_object(Bucket="locked", Key="source", Body=b"x", ObjectLockMode="GOVERNANCE",
              ObjectLockRetainUntilDate=until, ObjectLockLegalHoldStatus="ON")
source = {"Bucket": "locked", "Key": "source"}
s3.copy_object(Bucket="locked", Key="copied", CopySource=source)
s3.copy_object(Bucket="locked", Key="replaced", CopySource=source, MetadataDirective="REPLACE")
s3.put_object(Bucket="locked", Key="written", Body=b"x")
seen = {}
for key in ("source", "copied", "replaced", "written"):
    head = s3.head_object(Bucket="locked", Key=key)
    seen[key] = (head.get("ObjectLockMode"), head.get("ObjectLockLegalHoldStatus"))
    print(f"{key:9}", *seen[key])
locked = ("GOVERNANCE", "ON")
changed = seen != {"source": locked, "copied": locked, "replaced": locked, "written": (None, None)}
raise SystemExit("this has changed" if changed else 0)
CODE
