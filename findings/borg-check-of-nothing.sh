#!/bin/sh
# borgbackup 1.4.5: `check` of archives that are not there finds no problems, and ends with 0.
#
# Needs a C compiler, Python's headers and libraries (Debian: apt-get install gcc python3-dev pkg-config libssl-dev
# libacl1-dev liblz4-dev libzstd-dev libxxhash-dev).
# Usual: a check that was asked for what is not there ends with a warning's exit code, as `extract` and `export-tar` do
# for a path that matches nothing (1; with BORG_EXIT_CODES=modern 101).
# Seen: `check --archives-only --glob-archives NAME*` of a name that no archive has logs a line, goes on with "Archive
# consistency check complete, no problems found", and ends with 0, also with the modern codes. No archive is looked at.
# What hurts: after a rename of the host or of the archives the nightly check is green, and looks at nothing.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install borgbackup==1.4.5 2>/dev/null
cd "$place"
export BORG_BASE_DIR="$place" BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
borg() { venv/bin/borg "$@"; }
borg --version
mkdir source out
echo grades > source/sis
borg init --encryption none repository
borg create repository::sis-2026-11-29 source
changed=
for codes in legacy modern; do
  export BORG_EXIT_CODES=$codes
  borg check --verbose --archives-only --glob-archives 'sis*' repository >whole 2>&1 && whole=0 || whole=$?
  borg check --verbose --archives-only --glob-archives 'sys*' repository >said 2>&1 && code=0 || code=$?
  (cd out && ../venv/bin/borg extract ../repository::sis-2026-11-29 source/sys >/dev/null 2>&1) && extract=0 || extract=$?
  echo "$codes codes: check of what is there $whole, of a name that is not $code; extract of a path that is not $extract"
  case "$codes $whole $code $extract" in "legacy 0 0 1" | "modern 0 0 101") ;; *) changed=yes ;; esac
done
cat said
grep -q "does not match any archives" said && grep -q "Archive consistency check complete, no problems found" said || changed=yes
grep -q "Analyzing archive sis-2026-11-29" whole && ! grep -q "Analyzing archive" said || changed=yes
[ -z "$changed" ] || { echo "this has changed" >&2; exit 1; }
