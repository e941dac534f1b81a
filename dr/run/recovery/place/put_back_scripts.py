"""What a shell on another host does to put files back there, in the folder that it has walked into.

Each may be begun, and broken off, anywhere. What one prints is a word for each file, in their order; 90 is the code of
what could not be made, 91 of what could not be hashed.
"""

from __future__ import annotations

MKDIR = 'mkdir -m 700 -- "./$1";'
UNPACK = """
umask 077; tar -x -p -f - --numeric-owner || exit 90;
for n in "$@"; do sync -- "$n" 2>/dev/null || { sync; break; }; done;
sha256sum -b -- "$@" || exit 91;
"""
#: Pairs of a name and what the link says.
LINK = 'while [ "$#" -ge 2 ]; do ln -sn -- "$2" "$1" || exit 90; shift 2; done;'
#: Fours: the new file, its name, the name for what is there, and a name for a copy of that on its way.
TAKE = """
while [ "$#" -ge 4 ]; do n=$1; b=$2; k=$3; o=$4; shift 4; s=new;
if [ -L "./$b" ] || [ -e "./$b" ]; then s=kept;
if [ -d "./$b" ]; then [ -L "./$b" ] || s=folder; fi;
if [ "$s" = kept ]; then ln -P -- "./$b" "./$k" 2>/dev/null || {
cp -a -- "./$b" "./$o" && { [ -L "./$o" ] || sync -- "./$o" 2>/dev/null || sync; } && mv -fT -- "./$o" "./$k"; }
|| s=failed; fi; fi;
case "$s" in new|kept) mv -fT -- "./$n" "./$b" || { [ "$s" = new ] || rm -f -- "./$k"; s=failed; };; esac;
echo "$s"; done;
sync -- . 2>/dev/null || sync;
"""
#: Pairs of a name and that of what a broken try kept of it: one and the same file is kept for nothing.
KEPT = """
while [ "$#" -ge 2 ]; do b=$1; k=$2; shift 2; s=none;
if [ -L "./$k" ]; then s=kept;
if [ -L "./$b" ]; then [ "$(readlink -- "./$k"; echo x)" = "$(readlink -- "./$b"; echo x)" ] && s=twice; fi;
elif [ -e "./$k" ]; then s=kept;
if [ "./$k" -ef "./$b" ]; then [ -L "./$b" ] || s=twice; fi; fi;
case "$s" in twice) rm -f -- "./$k"; s=none;; esac;
echo "$s"; done;
sync -- . 2>/dev/null || sync;
"""
#: Fours: a name, its owner, mode and time, each of which may be nothing.
DRESS = """
while [ "$#" -ge 4 ]; do n=$1; u=$2; m=$3; t=$4; shift 4; s=ok;
if [ -L "./$n" ]; then m=; fi;
[ -z "$u" ] || chown -h -- "$u" "./$n" || s=failed;
[ -z "$m" ] || chmod -- "$m" "./$n" || s=failed;
[ -z "$t" ] || touch -h -c -d "$t" -- "./$n" || s=failed;
echo "$s"; done;
"""
