#!/bin/sh
# obstore 0.12.1: the mark of a folder in a bucket is listed under the name of an object that is not there.
#
# Usual: what a listing names can be asked for. Consoles and file browsers mark a folder by an empty object whose key
# ends with a slash; boto3 lists it by that key, and finds it by that key.
# Seen: obstore lists the mark of `snapshots/` as `snapshots`, without the slash, beside what lies in the folder. Asked
# for by that name it is not found, and with the slash neither: obstore takes the slash away before it asks.
# What hurts: who lists a folder to know what it holds counts one object too many, of a name that nothing has; it looks
# like an object that is lost.
set -eu
# shellcheck source=findings/seaweedfs.inc
. "$(dirname -- "$0")/seaweedfs.inc"
"$PYTHON" -m pip -q --disable-pip-version-check install obstore==0.12.1 2>/dev/null
"$PYTHON" - <<'CODE'
import os
from importlib.metadata import version
from client import s3
import obstore
from obstore.store import S3Store

print("obstore", version("obstore"))
s3.create_bucket(Bucket="copies")
s3.put_object(Bucket="copies", Key="snapshots/", Body=b"")
s3.put_object(Bucket="copies", Key="snapshots/one", Body=b"x")
store = S3Store("copies", endpoint="http://127.0.0.1:" + os.environ["S3_PORT"], region="us-east-1",
                access_key_id="finding", secret_access_key="finding-secret", client_options={"allow_http": True})

def found(key):
    try:
        store.head(key)
        return True
    except FileNotFoundError:
        return False

plain = sorted(row["Key"] for row in s3.list_objects_v2(Bucket="copies", Prefix="snapshots/")["Contents"])
listed = sorted(row["path"] for page in store.list("snapshots/") for row in page)
print("boto3 lists:            ", plain)
print("boto3 finds snapshots/: ", s3.head_object(Bucket="copies", Key="snapshots/")["ContentLength"] == 0)
print("obstore lists:          ", listed)
print("obstore finds snapshots:", found("snapshots"), "and snapshots/:", found("snapshots/"))
changed = (plain, listed) != (["snapshots/", "snapshots/one"], ["snapshots", "snapshots/one"])
changed = changed or found("snapshots") or found("snapshots/")
raise SystemExit("this has changed" if changed else 0)
CODE
