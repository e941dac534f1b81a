"""A stream over SSH, and files by SFTP, against the plain `ssh` program piping the same bytes.

First the bytes are thrown away on both sides, then hashed on both (by the same library, since `sha256sum` is
slower). The plain program is measured as people use it, and with the cipher that we ask for (AES-GCM), so that
what our own reading costs is seen apart from ciphers.
Run: `python tests/bench/bench_ssh.py [MEGABYTES]`.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from pathlib import Path

from dr.plan.source_kinds import FilesSource
from dr.sources.remote_files import RemoteFiles
from dr.tools.ssh import Login, SshHost
from scripts.servers.sshd import Sshd
from tests.bench.measure import interleaved, make_files, say, scratch


def main() -> None:
    """Measure."""
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    with scratch() as home, Sshd(home / "sshd") as server:
        data, rng = home / "data", random.Random(1)
        with data.open("wb") as file:
            for _ in range(size):
                file.write(rng.randbytes(1_000_000))
        make_files(home / "many", [20_000] * 2000)
        known, key = server.known_hosts, server.key
        host = SshHost(Login(host=server.host, user=server.user, port=server.port, known_hosts=known, key=key))
        plain = ["ssh", "-F", "none", "-i", str(key), "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes"]
        plain += ["-p", str(server.port), f"{server.user}@{server.host}"]
        gcm = [*plain[:1], "-c", "aes128-gcm@openssh.com", *plain[1:]]
        expected = _sha256_of(data)

        def thrown_away(ssh: list[str]) -> None:
            subprocess.run([*ssh, f"cat {data}"], stdout=subprocess.DEVNULL, check=True)

        def hashed(ssh: list[str]) -> None:
            with subprocess.Popen([*ssh, f"cat {data}"], stdout=subprocess.PIPE) as source:
                assert source.stdout
                _same(hashlib.file_digest(source.stdout, "sha256").hexdigest(), expected)

        def fetched(source: Path) -> float:
            work = home / "work"
            subprocess.run(["rm", "-rf", str(work)], check=True)
            work.mkdir()
            began = time.monotonic()
            RemoteFiles("docs", FilesSource(paths=(str(source),)), host).capture(work, None)
            return time.monotonic() - began

        def untarred() -> float:
            out = home / "untarred"
            subprocess.run(["rm", "-rf", str(out)], check=True)
            out.mkdir()
            began = time.monotonic()
            with subprocess.Popen([*plain, f"tar -C {home} -cf - many"], stdout=subprocess.PIPE) as source:
                subprocess.run(["tar", "-C", str(out), "-xf", "-"], stdin=source.stdout, check=True)
            return time.monotonic() - began

        found = interleaved(
            5,
            ours=lambda: _read(host, data),
            ours_hashed=lambda: _same(_read(host, data, hashed=True), expected),
            plain=lambda: thrown_away(plain),
            gcm=lambda: thrown_away(gcm),
            plain_hashed=lambda: hashed(plain),
            gcm_hashed=lambda: hashed(gcm),
            files=lambda: fetched(data),
            many=lambda: fetched(home / "many"),
            tar=untarred,
        )
        say(f"SSH stream / ssh, {size} MB", found["ours"], found["plain"], "1.3")
        say(f"SSH stream / ssh with AES-GCM, {size} MB", found["ours"], found["gcm"], "none")
        say(f"SSH stream hashed / ssh hashed, {size} MB", found["ours_hashed"], found["plain_hashed"], "1.3")
        say("the same, ssh with AES-GCM", found["ours_hashed"], found["gcm_hashed"], "none")
        say("one file by SFTP, written and hashed / ssh hashed", found["files"], found["plain_hashed"], "none")
        say("2,000 files of 20 kB by SFTP / ssh tar | tar", found["many"], found["tar"], "none")
        host.close()


def _read(host: SshHost, data: Path, *, hashed: bool = False) -> str:
    digest = hashlib.sha256()
    with host.start(["cat", str(data)]) as process:
        while block := process.read():
            if hashed:
                digest.update(block)
        if process.finish().code:
            raise SystemExit("the stream failed")
    return digest.hexdigest()


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _same(found: str, expected: str) -> None:
    if found != expected:
        raise SystemExit("other bytes came than were sent")


if __name__ == "__main__":
    main()
