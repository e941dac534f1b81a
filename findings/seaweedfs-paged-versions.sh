#!/bin/sh
# SeaweedFS 4.48: a paged ListObjectVersions leaves out whole folders whose names begin like another's.
#
# Usual (and what its own ListObjectsV2 does): a listing in pages of any size gives what one large page gives.
# Seen: beside a folder `sis/`, objects of `sis-2/` are missing from a listing in pages of 2 (`-` sorts before `/`).
# Nothing says so: the last page is not truncated. One page that holds everything is whole.
# What hurts: who copies, proves or rewinds by versions believes that a system has fewer objects than are stored.
set -eu
# shellcheck source=findings/seaweedfs.inc
. "$(dirname -- "$0")/seaweedfs.inc"
"$PYTHON" - <<'CODE'
from client import s3
s3.create_bucket(Bucket="copies")
s3.put_bucket_versioning(Bucket="copies", VersioningConfiguration={"Status": "Enabled"})
for folder in ("sis", "sis-2"):
    for number in range(3):
        s3.put_object(Bucket="copies", Key=f"{folder}/object-{number}", Body=b"x")

def listed(verb, rows, size):
    pages = s3.get_paginator(verb).paginate(Bucket="copies", PaginationConfig={"PageSize": size})
    return [row["Key"] for page in pages for row in page.get(rows, [])]

whole = listed("list_object_versions", "Versions", 1000)
paged = listed("list_object_versions", "Versions", 2)
plain = listed("list_objects_v2", "Contents", 2)
print("stored:                          ", len(whole), whole)
print("ListObjectsV2, pages of 2:       ", len(plain))
print("ListObjectVersions, pages of 2:  ", len(paged), "left out:", sorted(set(whole) - set(paged)))
changed = not (len(whole) == len(plain) == 6 and set(paged) < set(whole))
raise SystemExit("this has changed" if changed else 0)
CODE
