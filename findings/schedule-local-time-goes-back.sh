#!/bin/sh
# schedule 1.2.2: when local time goes back in autumn, a job that is due every few minutes does not run for an hour.
#
# Usual: "every 10 minutes" is a length of time, and a change of the clocks on the wall does not touch it.
# Seen: the next run is kept as a local time without a zone. At 02:00 the clocks go back to 01:00, and nothing is pending
# until they have caught up. Set back by days, a wrong clock that is put right stops every job for days.
# What hurts: a resident backup service that looks alive and does nothing; in spring one run comes too early instead.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip -q --disable-pip-version-check install schedule==1.2.2 time-machine==2.19.0 2>/dev/null
TZ=America/New_York "$place/venv/bin/python" - <<'CODE'
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
import schedule, time_machine

print("schedule", version("schedule"))
begin = datetime(2026, 11, 1, 4, 30, tzinfo=UTC)  # 00:30 in New York; at 06:00 UTC the clocks go from 02:00 to 01:00
ran = []
with time_machine.travel(begin.timestamp(), tick=False) as clock:
    now = begin
    scheduler = schedule.Scheduler()
    scheduler.every(10).minutes.do(lambda: ran.append(now))
    for minute in range(1, 241):
        now = begin + timedelta(minutes=minute)
        clock.move_to(now.timestamp())
        scheduler.run_pending()
gaps = [after - before for before, after in zip(ran, ran[1:])]
worst = max(gaps)
print("usual gap", min(gaps), "- longest gap", worst, "from", f"{ran[gaps.index(worst)]:%H:%M} UTC")
raise SystemExit(0 if min(gaps) == timedelta(minutes=10) and worst == timedelta(minutes=70) else "this has changed")
CODE
