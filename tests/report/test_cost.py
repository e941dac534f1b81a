"""What a report tells of targets: what was observed and counted, at the prices declared, and what is to come, apart."""

from __future__ import annotations

from datetime import timedelta

from dr.evidence.monthly_traffic import MonthlyTraffic
from dr.evidence.posture import Requests
from dr.evidence.size import Observation
from dr.plan.target import Target
from dr.report import html, text
from dr.report.figures import build
from dr.report.forecast import History, forecast
from dr.report.forecast_told import forecast_document, forecast_lines
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

#: Where nothing can be counted, or only bytes can, and the provider charges both.
PRICED = {
    name: Target.model_validate(
        {"target": name, **place, "prices": {"currency": "EUR", "storage": 1, "requests": {"read": 10}, "egress": 0.5}}
    )
    for name, place in (
        ("disk", {"local": {"path": "/srv/copies"}}),
        ("away", {"rclone": {"remote": "far:x", "config": "/etc/dr/rclone.conf"}}),
        ("offsite", {"s3": {"bucket": "vault"}}),
    )
}


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


def test_what_nobody_counted_is_no_figure_in_any_form() -> None:
    """Of a disk nothing, of rclone no requests, of the bucket nothing in the time of the report."""
    traffic = [moved("away", "2026-11"), moved("offsite", "2026-09")]
    seen = [Observation(NOW, 10**9)]
    forecasts = [
        forecast(
            target,
            [History(system="sis", seen=seen, traffic=[each for each in traffic if each.target == name])],
            now=NOW,
        )
        for name, target in PRICED.items()
    ]
    report = build(
        material(forecasts=forecasts, traffic=traffic, targets=PRICED, since=NOW - timedelta(days=3)),
    )
    disk, away, offsite = report.costs
    assert (disk.asked, disk.moved, disk.paid) == ("not counted",) * 3
    assert (away.asked, away.moved) == ("not counted", "0 B sent, 4.0 GB read"), "restic reported nothing"
    assert away.paid == "2.00 EUR, without requests"
    assert (offsite.asked, offsite.moved, offsite.paid) == ("none on record",) * 3
    assert "0 B sent, 0 B read" not in text.render(report) + html.render(report)
    told = [each["moved"] for each in document(report)["costs"]]
    keys = ("requests", "sent_bytes", "received_bytes", "restic_sent_bytes", "price")
    assert told[0] == {"counts": "nothing", **dict.fromkeys(keys)} and told[2] == {**told[0], "counts": "requests"}
    assert (told[1]["requests"], told[1]["sent_bytes"], told[1]["restic_sent_bytes"]) == (None, 0, None)
    prices = [forecast_document(each)["estimate"] for each in forecasts]
    assert [each["price_per_month"]["requests"] is None for each in prices] == [True, True, False]
    assert prices[0]["price_per_month"]["egress"] is None and prices[0]["per_month"] is None
    lines = "\n".join(forecast_lines(forecasts[0]))
    assert "price: 1.00 EUR a month now, without requests and egress, of which not enough was counted" in lines
    assert "note: traffic is not counted: this is a directory" in lines
