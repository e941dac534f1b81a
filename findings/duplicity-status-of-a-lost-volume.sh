#!/bin/sh
# duplicity 3.2.1: `collection-status` finds no incomplete backup set where a volume of the middle is gone.
#
# Needs a C compiler, Python's headers and librsync (Debian: apt-get install gcc python3-dev librsync-dev).
# Usual: a set is incomplete where a volume is missing that its manifest lists, or that its neighbours' numbers tell of.
# Seen: of a set of volumes 1, 2 and 3 whose second is gone, it says "2" for their number, "No orphaned or incomplete
# backup sets found", and ends with 0. The manifest that lists three lies beside them. `restore` then fails at that volume.
# What hurts: the verb whose name says status is what monitors ask each night; only `verify`, which reads everything, or
# the restore itself tells that a set can no longer be restored.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install --no-deps duplicity==3.2.1 fasteners==0.20 2>/dev/null
cd "$place"
duplicity() { HOME="$place" venv/bin/duplicity --no-encryption --archive-dir "$place/archive" "$@"; }
duplicity --version
mkdir source
head -c 2500000 /dev/urandom > source/photos
duplicity full --volsize 1 source "file://$place/stored" >/dev/null
changed=
expect() { # what is so, how many volumes it should tell of, what it says, the exit code of a restore
  duplicity collection-status "file://$place/stored" >said 2>&1 && status=0 || status=$?
  number=$(sed -n 's/^Total number of contained volumes: //p' said)
  duplicity restore "file://$place/stored" "got-$2" >/dev/null 2>&1 && restore=0 || restore=$?
  echo "$1: collection-status ends with $status, counts $number volumes: $(grep -i "incomplete" said)"
  echo "  restore ends with $restore"
  [ "$status $number $restore" = "0 $2 $3" ] || changed=yes
  grep -q "^No orphaned or incomplete backup sets found" said || changed=yes
}
expect "whole" 3 0
rm stored/*.vol2.difftar.gz
expect "volume 2 is gone" 2 1
grep "^Volume" stored/*.manifest
[ "$(grep -c "^Volume" stored/*.manifest)" = 3 ] || changed=yes
[ -z "$changed" ] || { echo "this has changed" >&2; exit 1; }
