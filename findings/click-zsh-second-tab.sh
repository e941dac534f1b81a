#!/bin/sh
# click 8.5.1: completion in zsh works the first time that Tab is pressed, is lost the second time, and works from then on.
#
# Needs zsh (Debian: apt-get install zsh).
# Usual: a file `_NAME` in a directory of zsh's $fpath completes NAME each time.
# Seen: zsh reads that file once and keeps its text as the function `_NAME`. click's script asks whether the file is
# being loaded (`$zsh_eval_context[-1] == loadautofunc`), which is true in the first call alone; the second call of
# `_NAME` registers another function instead of completing, and gives no match.
# What hurts: in each new shell the second Tab does nothing, and whoever tries the completion once sees it work.
set -eu
command -v zsh >/dev/null || { echo "zsh is missing" >&2; exit 2; }
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install click==8.5.1 2>/dev/null
mkdir "$place/fpath"
cat > "$place/venv/bin/tool" <<TOOL
#!$place/venv/bin/python
import click


@click.group()
def tool():
    """A tool."""


@tool.command()
def status():
    """A command."""


tool(prog_name="tool")
TOOL
chmod +x "$place/venv/bin/tool"
_TOOL_COMPLETE=zsh_source "$place/venv/bin/tool" > "$place/fpath/_tool"
PATH="$place/venv/bin:$PATH" "$place/venv/bin/python" - "$place/fpath" <<'CODE'
import os, pty, re, subprocess, sys
from importlib.metadata import version

print("click", version("click"), "-", subprocess.run(["zsh", "--version"], capture_output=True, text=True).stdout.strip())
ours, theirs = pty.openpty()
env = {**os.environ, "TERM": "dumb"}
zsh = subprocess.Popen(["zsh", "-f", "-i"], env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
os.close(theirs)
typed = f"fpath=({sys.argv[1]} $fpath); autoload -Uz compinit; compinit -u -D\n"
typed += "holds () { printf 'it %s<%s>\\n' holds \"$*\"; }\n"
typed += "tool sta\t\x01holds \x05\n" * 4 + "exit\n"  # Tab; then the line is shown as it is
os.write(ours, typed.encode())
shown = ""
try:
    while block := os.read(ours, 4096):
        shown += block.decode(errors="replace")
except OSError:  # zsh has ended
    pass
zsh.wait()
lines = re.findall(r"it holds<([^>]*)>", shown)
print("typed four times: tool sta<Tab>; the line is then:", *lines, sep="\n  ")
seen = ["tool status", "tool sta", "tool status", "tool status"]
raise SystemExit(0 if lines == seen else "this has changed")
CODE
