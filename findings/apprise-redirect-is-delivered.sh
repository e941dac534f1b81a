#!/bin/sh
# apprise 2.3.0: a notice to a webhook that has moved is told to be sent, and its text reaches nobody.
#
# Usual: `notify()` is true once a service took the message.
# Seen: apprise follows redirects. After a 301, 302 or 303 (http to https, a host that was renamed, a login page) the POST
# becomes a GET without the message; whatever page that gets answers 200, and that counts as success. Nothing is logged
# above debug. After a 307 the message goes along.
# What hurts: an alarm is held to be delivered for as long as the redirect stands. `redirect=no` in the address, or
# `AppriseAsset(http_redirects=False)`, makes it a failure.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install apprise==2.3.0 2>/dev/null
"$place/venv/bin/python" -W ignore - <<'CODE'
import logging, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
import apprise

class Hook(BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        heard.append((self.command, b"backup failed" in body))
        status = int(self.path[1:]) if self.path[1:].isdigit() else 200
        self.send_response(status)
        self.send_header("Location", "/login")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *_):
        return

class Loud(logging.Handler):
    def emit(self, record):
        warned.append(record.getMessage())

print("apprise", version("apprise"))
warned = []
logging.getLogger("apprise").addHandler(Loud(logging.WARNING))
server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen = {}
for status in (301, 302, 303, 307):
    for more in ("", "?redirect=no"):
        heard, warned[:] = [], []
        speaker = apprise.Apprise()
        speaker.add(f"json://127.0.0.1:{server.server_port}/{status}{more}")
        told = bool(speaker.notify(title="[dr]", body="backup failed"))
        arrived = heard[1:] == [("POST", True)]
        seen[status, more] = (told, arrived, bool(warned))
        print(f"{status}{more:13} told to be sent: {told!s:6} the message went along: {arrived!s:6} then heard:", heard[1:])
lost = {(status, ""): (True, False, False) for status in (301, 302, 303)}
refused = {(status, "?redirect=no"): (False, False, True) for status in (301, 302, 303, 307)}
raise SystemExit(0 if seen == lost | refused | {(307, ""): (True, True, False)} else "this has changed")
CODE
