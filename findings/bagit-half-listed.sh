#!/bin/sh
# bagit 1.9.0 (Library of Congress): a bag of version 1.0 counts as valid though one of its manifests lists half the files.
#
# Usual (RFC 8493, sections 2.1.3 and 3): in a bag of version 1.0 each payload manifest lists every payload file; only
# before 1.0 it was enough that one of them did.
# Seen: bagit reads "BagIt-Version: 1.0" and goes on to judge by the older rule, with no warning. bagit-utils 1.2.5 finds
# the same bag invalid.
# What hurts: two tools read one format differently. An archive that its maker has found valid is sent back by whoever
# checks it with the other; and one list, taken by itself as version 1.0 allows, tells of half the files.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install bagit==1.9.0 bagit-utils==1.2.5 2>/dev/null
cd "$place"
venv/bin/python -W ignore - <<'CODE'
import hashlib, logging
from importlib.metadata import version
from pathlib import Path
import bagit, bagit_utils

print("bagit", version("bagit"), "- bagit-utils", version("bagit-utils"))
warned = []
logging.getLogger("bagit").addHandler(type("Loud", (logging.Handler,), {"emit": lambda _, row: warned.append(row.msg)})())

def bag(name, declared, listed):
    """Write a bag by hand: MD5 lists both files, SHA-512 those that are named."""
    top = Path(name)
    (top / "data").mkdir(parents=True)
    (top / "data/grades").write_text("grades\n")
    (top / "data/photos").write_text("photos\n")
    (top / "bagit.txt").write_text(f"BagIt-Version: {declared}\nTag-File-Character-Encoding: UTF-8\n")
    (top / "bag-info.txt").write_text("Payload-Oxum: 14.2\n")

    def sums(kind, method, files):
        lines = (f"{hashlib.new(method, (top / file).read_bytes()).hexdigest()}  {file}\n" for file in files)
        (top / f"{kind}-{method}.txt").write_text("".join(lines))

    sums("manifest", "md5", ["data/grades", "data/photos"])
    sums("manifest", "sha512", listed)
    for method in ("md5", "sha512"):
        sums("tagmanifest", method, ["bagit.txt", "bag-info.txt", "manifest-md5.txt", "manifest-sha512.txt"])
    return top

def judged(top):
    warned.clear()
    report = bagit_utils.Bag(top).validate()
    print(f"{top}: bagit {bagit.Bag(str(top)).is_valid()}, bagit-utils {report.valid}", *(issue.message for issue in report.issues))
    return bagit.Bag(str(top)).is_valid(), bool(warned), report.valid

whole = judged(bag("whole", "1.0", ["data/grades", "data/photos"]))
half = judged(bag("half", "1.0", ["data/grades"]))
damaged = bag("damaged", "1.0", ["data/grades", "data/photos"])
(damaged / "data/photos").write_text("phot0s\n")
seen = (whole, half, judged(damaged)[::2])
raise SystemExit(0 if seen == ((True, False, True), (True, False, False), (False, False)) else "this has changed")
CODE
