"""What others put into a repository: the marks of folders that a console makes, and what a file browser or a NAS writes.

restic passes over all of it, and so does every verdict.
"""

from __future__ import annotations

from typing import Any

from scripts.servers.s3 import S3Server
from tests.conftest import Site
from tests.e2e.bucket import make_attacked

FOLDERS = (
    "",
    "share/",
    "share/snapshots/",
    "share/data/",
    "share/index/",
    "share/keys/",
    "share/locks/",
    "share/data/ab/",
)
LEFT = ("data/00/Thumbs.db", "data/@eaDir/x", "index/desktop.ini", "keys/desktop.ini", "snapshots/desktop.ini")
PASSED_OVER = ("locks/desktop.ini", "@eaDir/y", "lost+found/z", "snapshots/.DS_Store", "README.txt")


def proof_on(site: Site, target: str) -> Any:
    """Prove all; hold that each point is usable on a target; return the proof there."""
    site.dr("backup", "share")
    proofs = site.dr("verify", "share", "--json").document["proofs"]
    points = site.dr("points", "share", "--json").document["points"]
    copies = [copy for point in points for copy in point["copies"] if copy["target"] == target]
    assert len(copies) == len(points) > 0 and not any(copy["damaged"] for copy in copies)
    assert (
        f"from {target}"
        in site.dr("recover", "share", "--to", str(site.root / "back"), "--target", target, "--yes").out
    )
    return next(proof for proof in proofs if proof["target"] == target)


def test_the_marks_of_folders_in_a_bucket_are_no_objects(site: Site, s3: S3Server) -> None:
    made = make_attacked(site, s3)
    for folder in FOLDERS:
        made.client.put_object(Bucket=made.bucket, Key=f"pre/{folder}", Body=b"")
    proof = proof_on(site, "offsite")
    assert (proof["outcome"], proof["level_reached"], proof["damage"]) == ("ok", 3, [])


def test_files_that_others_leave_in_a_repository_are_named_and_harm_no_point(files_site: Site) -> None:
    files_site.dr("backup", "share")
    for target in ("disk", "vault"):
        for name in (*LEFT, *PASSED_OVER):
            path = files_site.root / target / "share" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"of a file browser")
    proof = proof_on(files_site, "vault")
    assert (proof["outcome"], proof["level_reached"]) == ("ok", 3)
    assert {damage["object"]: damage["problem"] for damage in proof["damage"]} == dict.fromkeys(LEFT, "unreferenced")
    plan = files_site.root / "config" / "plans" / "share.yaml"
    files_site.target("third", f"target: third\nlocal: {{path: {files_site.root}/third}}\n")
    plan.write_text(plan.read_text() + "replicas: [third]\n")
    files_site.dr("replicate", "share")
    proof = files_site.dr("verify", "share", "--json").document["proofs"][-1]
    assert (proof["target"], proof["outcome"], proof["level_reached"], proof["damage"]) == ("third", "ok", 3, [])
