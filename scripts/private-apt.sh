# A private apt on Debian's archive, without root and without a change to the machine: its state, cache and sources
# are private directories, and it verifies the archive's signature with the machine's Debian keyring.
# Sourced by the scripts that bring a program from Debian into .tools/, which have set `here`.
#
#   DR_DEBIAN_MIRROR   the mirror to use, where the machine's own sources name none (Ubuntu)
#   DR_KEYRING, DR_APT_SOURCES, DR_TOOLS   other places than the usual, for the tests

fail() { echo "${0##*/}: $1" >&2; exit 1; }
keyring=${DR_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
sources=${DR_APT_SOURCES:-/etc/apt}
tools=${DR_TOOLS:-$here/.tools}

# The mirror that the machine's own Debian sources name. A source counts as Debian's own by its suite and
# its component `main`: third parties too have addresses that end in /debian. Both forms are read: one
# line a source (*.list), and deb822 (*.sources).
debian_mirror() {
  set -- "$sources/sources.list" "$sources"/sources.list.d/*.list "$sources"/sources.list.d/*.sources
  for file; do
    [ -r "$file" ] && { cat "$file"; echo; }
  done | awk '
    function take(uris, suites, parts,   i, n, each) {
      if (found || (" " parts " ") !~ / main /) return
      n = split(suites, each, " ")
      for (i = 1; i <= n; i++)
        if (each[i] ~ /^(bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)$/) {
          split(uris, each, " "); found = each[1]; return
        }
    }
    function flush() { if (types ~ /(^| )deb( |$)/ && enabled != "no") take(uris, suites, parts); types = uris = suites = parts = enabled = "" }
    /^[ \t]*#/ { next }
    /^deb[ \t]/ { line = $0; sub(/^deb[ \t]+/, "", line); sub(/^\[[^]]*\][ \t]*/, "", line)
                  n = split(line, word, /[ \t]+/); rest = ""
                  for (i = 3; i <= n; i++) rest = rest " " word[i]
                  take(word[1], word[2], rest); next }
    /^[ \t]*$/ { flush(); next }
    { name = tolower($1); value = $0; sub(/^[^:]*:[ \t]*/, "", value); gsub(/[ \t]+/, " ", value) }
    name == "types:" { types = value }
    name == "uris:" { uris = value }
    name == "suites:" { suites = value }
    name == "components:" { parts = value }
    name == "enabled:" { enabled = tolower(value) }
    END { flush(); if (found) print found }'
}

# Open the archive of a suite ($1), in a directory `work` that ends with us. Elsewhere than on Debian, what to do ($2).
open_archive() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    fail "this is not Debian or Ubuntu: $2"
  fi
  [ -r "$keyring" ] || fail "Debian's keyring is not there: as root, apt-get install debian-archive-keyring, then run this again"
  mirror=${DR_DEBIAN_MIRROR:-$(debian_mirror)}
  [ -n "$mirror" ] || fail "this machine's sources name no Debian mirror: name one in DR_DEBIAN_MIRROR, then run this again"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/unpacked" "$tools"
  echo "deb [signed-by=$keyring] $mirror $1 main" > "$work/sources.list"
  apt_privately apt-get update >>"$work/log" 2>&1 || give_up "Debian's archive at $mirror cannot be read, or its signature is not good"
}

# As root apt would read as the user _apt, who may not enter our private directory.
apt_privately() {
  apt_program=$1
  shift
  "$apt_program" -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::State="$work/state" -o Dir::State::status=/dev/null -o Dir::Cache="$work/cache" \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=3 \
    -o APT::Update::Error-Mode=any "$@" </dev/null
}

# Download packages into `work`, and unpack them there below `unpacked`.
bring() {
  (cd "$work" && apt_privately apt-get download "$@" >>"$work/log" 2>&1) || give_up "$* cannot be downloaded from $mirror"
  for package in "$work"/*.deb; do
    dpkg -x "$package" "$work/unpacked"
  done
}
give_up() { tail -n 3 "$work/log" >&2; fail "$1"; }
