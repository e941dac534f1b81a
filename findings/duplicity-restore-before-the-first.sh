#!/bin/sh
# duplicity 3.2.1: asked for the state of a day before its first backup, `restore` gives that of the first backup.
#
# Needs a C compiler, Python's headers and librsync (Debian: apt-get install gcc python3-dev librsync-dev).
# Usual: of a time that nothing is held of there is nothing to restore, and that is said. The manual has no word of it.
# Seen: `restore --time 2001-01-01` puts back what was captured long after, says nothing of it, and ends with 0; so does
# `list-current-files`. A time between two backups gives the older one, as it should.
# What hurts: who goes back to before an attack, on a repository whose older chains were removed since, gets what was
# captured after it, and has no hint of that.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install --no-deps duplicity==3.2.1 fasteners==0.20 2>/dev/null
cd "$place"
duplicity() { HOME="$place" venv/bin/duplicity --no-encryption --archive-dir "$place/archive" "$@"; }
duplicity --version
mkdir source
echo "as of the first backup" > source/sis
duplicity full source "file://$place/stored" >/dev/null
sleep 2
between=$(date +%s)
sleep 2
echo "as of the second backup" > source/sis
duplicity incremental source "file://$place/stored" >/dev/null
changed=
asked() { # a time, what is expected
  duplicity restore --time "$1" "file://$place/stored" "got-$1" >said 2>&1 && code=0 || code=$?
  echo "restore --time $1 ends with $code, and gives: $(cat "got-$1/sis")"
  [ "$code: $(cat "got-$1/sis")" = "0: $2" ] || changed=yes
}
asked now "as of the second backup"
asked "$between" "as of the first backup"
asked 2001-01-01 "as of the first backup"
cat said
duplicity list-current-files --time 2001-01-01 "file://$place/stored" >listed 2>&1 && code=0 || code=$?
echo "list-current-files --time 2001-01-01 ends with $code: $(tail -n 2 listed | head -n 1)"
[ "$code" = 0 ] && grep -q ' sis$' listed || changed=yes
! grep -qi "warn\|older\|before\|2001" said || changed=yes
[ -z "$changed" ] || { echo "this has changed" >&2; exit 1; }
