#!/bin/sh
# rfc8785 0.1.4: it writes canonical texts that it refuses once they are read back, among them those of the RFC's own table.
#
# Usual: to make a canonical text canonical again changes nothing; so a signature or a digest is checked by whoever has only
# the text. RFC 8785 treats every number as a double, and lists 295147905179352830000 in appendix B.
# Seen: a float of 2**53 or more that is whole is written without a point, up to 1e+21. Python's json reads that as an
# integer, and rfc8785 refuses integers of that size (IntegerDomainError), while the same number as a float passes.
# What hurts: a record with one such number, say bytes that a mean made a float, is sealed today, and can never be checked
# again by the library that sealed it, short of `json.loads(text, parse_int=float)`.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install rfc8785==0.1.4 2>/dev/null
"$place/venv/bin/python" - <<'CODE'
import json, struct
from importlib.metadata import version
import rfc8785

print("rfc8785", version("rfc8785"))
table = {  # of appendix B: the bits of a double, and its canonical text
    "4340000000000000": "9007199254740992",
    "4430000000000000": "295147905179352830000",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef50": "1e+21",
    "41b3de4355555553": "333333333.3333332",
}
seen = {}
for bits, text in table.items():
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    written = rfc8785.dumps(number).decode()
    try:
        again = rfc8785.dumps(json.loads(written)).decode()
    except rfc8785.IntegerDomainError as error:
        again = type(error).__name__
    as_float = rfc8785.dumps(json.loads(written, parse_int=float)).decode()
    seen[text] = (written, again, as_float)
    print(f"written {written:22} read back and written again: {again:20} with parse_int=float: {as_float}")
refused = ("9007199254740992", "295147905179352830000", "999999999999999700000")
expected = {text: (text, "IntegerDomainError" if text in refused else text, text) for text in table.values()}
raise SystemExit(0 if seen == expected else "this has changed")
CODE
