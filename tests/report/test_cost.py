"""What a report tells of targets: what was observed and counted, at the prices declared, and what is to come, apart."""

from __future__ import annotations

from datetime import timedelta

from dr.evidence.monthly_traffic import MonthlyTraffic
from dr.evidence.posture import Requests
from dr.plan.target import Target
from dr.report import html, text
from dr.report.figures import build
from dr.report.forecast import History, forecast
from dr.report.growth import Observation
from dr.report.json import document
from tests.report.district import NOW, material

TARGETS = {
    "offsite": Target.model_validate(
        {
            "target": "offsite", "s3": {"bucket": "vault"}, "capacity": "200GB",
            "prices": {"currency": "EUR", "storage": 0.02, "requests": {"read": 10}, "egress": 0.5},
        }
    ),
    "away": Target.model_validate({"target": "away", "rclone": {"remote": "far:x", "config": "/etc/dr/rclone.conf"}}),
    "disk": Target.model_validate({"target": "disk", "local": {"path": "/srv/copies"}}),
}  # fmt: skip


def moved(target: str, month: str) -> MonthlyTraffic:
    asked = Requests(read=2000) if target == "offsite" else Requests()
    return MonthlyTraffic(
        system="sis", target=target, month=month, begun=NOW - timedelta(days=80), seen=NOW, requests=asked,
        received_bytes=4 * 10**9,
    )  # fmt: skip


def test_a_report_tells_apart_what_was_counted_and_what_is_expected() -> None:
    seen = [Observation(NOW - timedelta(days=number), (100 - number) * 10**9) for number in range(60, -1, -1)]
    traffic = [moved(target, month) for target in ("offsite", "away") for month in ("2026-09", "2026-11")]
    forecasts = [
        forecast(
            target,
            [
                History(
                    system="sis",
                    seen=seen if name == "offsite" else [],
                    traffic=[row for row in traffic if row.target == name],
                )
            ],
            now=NOW,
        )
        for name, target in TARGETS.items()
    ]
    given = {"forecasts": forecasts, "traffic": traffic, "targets": TARGETS}
    report = build(material(**given, since=NOW - timedelta(days=30)))
    offsite, away = report.costs
    assert (offsite.asked, offsite.paid) == ("2\u202f000 read", "22.00 EUR"), "of this month alone"
    assert (away.asked, away.paid) == ("not counted", "no prices declared"), "rclone asks, and nobody knows how often"
    assert any(line.startswith("ESTIMATE capacity of 200 GB: reached in 3.3 months") for line in offsite.estimates)
    for whole in (text.render(report), html.render(report)):
        assert "ESTIMATE capacity of 200" in whole and "no verdict rests on it" in whole
    told = document(report)["costs"]
    assert [each["target"] for each in told] == ["offsite", "away"], "of the disk nothing is known"
    assert told[0]["moved"]["price"] == {"amount": 22.0, "currency": "EUR"} and told[1]["moved"]["price"] is None
    assert not build(material()).costs and "What targets hold" not in text.render(build(material()))
