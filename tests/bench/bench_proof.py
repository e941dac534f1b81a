"""Level-2 proof (every stored byte hashed, without the passphrase) against `restic check --read-data`, over S3.

First the keyless proof alone: every object listed, read and hashed against its name. Then the whole command
`dr verify --level 2`, which is a process of its own, and asks restic for the structure (level 1) and for what
the index names; that needs the passphrase, and restic's start costs a second or so.
Run: `python tests/bench/bench_proof.py`.
"""

from __future__ import annotations

from pathlib import Path

from dr.evidence.stored_object import HeldObjects
from dr.run.verification.comparison import ListingComparison
from dr.run.verification.inventory import listed
from dr.run.verification.memory import Expected
from dr.run.verification.object_hashes import hash_all
from dr.tools.s3 import S3Store
from dr.tools.secrets import S3Keys
from scripts.servers.s3 import S3Server
from tests.bench.measure import dr, interleaved, make_files, make_offsite, make_plan, restic, say, scratch


def main() -> None:
    """Measure."""
    with scratch() as home, S3Server(home / "s3") as server:
        server.client().create_bucket(Bucket="bench")
        env = make_offsite(home, server.endpoint, "bench", server.access_key, server.secret_key)
        make_files(home / "source", [8_000_000] * 100 + [1_000_000] * 200)
        make_plan(home, "files", f"{{files: {{paths: [{home}/source]}}}}", targets="[offsite]")
        dr(home, "backup", "files")
        phrase = next(Path(home / "state" / "secrets").iterdir())
        plain = env | {"RESTIC_PASSWORD_FILE": str(phrase), "RESTIC_PASSWORD": ""}
        place = f"s3:{server.endpoint}/bench/files"
        store = S3Store(
            endpoint=server.endpoint, bucket="bench", prefix="files",
            keys=S3Keys(server.access_key, server.secret_key),
        )  # fmt: skip

        def keyless() -> None:
            stored = listed(store)
            hash_all(store, stored)
            if ListingComparison(stored, HeldObjects(), 0).damage(Expected(), config_hash=""):
                raise SystemExit("an object is damaged")

        found = interleaved(
            5,
            keyless=keyless,
            ours=lambda: dr(home, "verify", "files", "--level", "2"),
            plain=lambda: restic(home, place, "check", "--read-data", env=plain),
        )
        say("keyless proof / restic check --read-data, 1 GB over S3", found["keyless"], found["plain"], "0.48")
        say("dr verify --level 2 / restic check --read-data, 1 GB over S3", found["ours"], found["plain"], "none")


if __name__ == "__main__":
    main()
