"""The page: one file, whole and well-formed, safe with any text, readable by everybody."""

from __future__ import annotations

import html as entities
import itertools
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import pytest

from dr.report import html, words
from dr.report.figures import Report
from tests.report.district import (
    HEBREW,
    HOSTILE,
    REPORTS,
    aborted_drill,
    ago,
    backup,
    check,
    drill,
    failed_drill,
    plan,
    proof,
    report,
    row,
    undone_drill,
)

VOID = {"meta", "br", "hr", "img", "input", "link"}
CSS = resources.files("dr.report").joinpath("templates/report.css").read_text("utf-8")


class Page(HTMLParser):
    """A page read strictly: what is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source, self.open, self.faults = text, [], []
        self.tags: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, name: str) -> Iterator[dict[str, str | None]]:
        return (attrs for tag, attrs, _ in self.tags if tag == name)


def page_of(made: Report) -> Page:
    return Page(html.render(made))


@pytest.fixture(scope="module", params=REPORTS)
def page(request: pytest.FixtureRequest) -> Page:
    return page_of(REPORTS[request.param]())


def test_every_page_is_well_formed(page: Page) -> None:
    assert page.source.startswith("<!doctype html>") and page.faults == []
    assert Page("<p><b>negative</p></b>").faults, "the reader sees what is wrong"


def test_a_page_needs_nothing_from_elsewhere_and_runs_nothing(page: Page) -> None:
    tags = {tag for tag, _, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "a", "form", "base", "use", "image"}
    names = {name for _, attrs, _ in page.tags for name in attrs}
    assert not names & {"src", "href", "srcset", "action", "xlink:href"} and not [
        n for n in names if n.startswith("on")
    ]
    assert not re.search(r"url\(|@import|@font-face", CSS)


def test_headings_go_down_one_step_at_a_time_and_there_is_one_title(page: Page) -> None:
    levels = [int(tag[1]) for tag, _, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_landmarks_names_and_language_are_there(page: Page) -> None:
    assert [len(list(page.all(name))) for name in ("header", "main", "footer")] == [1, 1, 1]
    assert next(page.all("html"))["lang"] == "en"
    ids = [attrs["id"] for _, attrs, _ in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    wanted = [attrs["aria-labelledby"] for _, attrs, _ in page.tags if "aria-labelledby" in attrs]
    assert wanted and set(wanted) <= set(ids)


def test_tables_have_captions_and_scopes(page: Page) -> None:
    tables = len(list(page.all("table")))
    assert tables and len(list(page.all("caption"))) == tables
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))


def test_pictures_have_words_or_are_hidden(page: Page) -> None:
    for tag, attrs, _ in page.tags:
        if tag == "svg" or attrs.get("role") == "img":
            assert attrs.get("aria-hidden") == "true" or (attrs.get("role") == "img" and attrs.get("aria-label")), attrs
    for attrs in page.all("div"):
        if attrs.get("class") in ("wide",):
            assert attrs["tabindex"] == "0" and attrs["aria-label"], "what scrolls can be reached by keys"


def test_colour_is_never_alone(page: Page) -> None:
    badges = re.findall(r'<span class="badge \w+">(.*?)</span>', page.source, re.DOTALL)
    assert badges and all("<svg" in badge and re.sub(r"<svg.*</svg>", "", badge).strip() for badge in badges)


def test_what_must_be_in_every_report_is_there(page: Page) -> None:
    for limit in words.LIMITS:
        assert limit in page.text
    for short, _, text in words.DEFINITIONS:
        assert short in page.text and text in page.text
    for said in (
        "NIST SP 800-34r1",
        "dr audit",
        "What this does not show",
        "The ladder of proof",
        "Signature",
        "Decision",
    ):
        assert said in page.text
    for role, _ in words.SIGN_OFF:
        assert role in page.text


@pytest.mark.parametrize("word", ["complian", "guarante", "immutab", "certif", "irrefutab", "erased"])
def test_no_report_claims_what_software_cannot(page: Page, word: str) -> None:
    assert word not in page.text.lower()


# -- contents ----------------------------------------------------------------------------------------


def test_the_verdict_comes_first() -> None:
    text = page_of(report(drill())).text
    assert (
        text.index("Objectives met in this drill")
        < text.index("Back in service after")
        < text.index("What this does not")
    )


def test_the_drill_is_told_whole() -> None:
    fact = drill()
    made = report(fact)
    text = page_of(made).text.replace("\u00a0", " ")
    for said in (
        "14 min 18 s", "2 h", "8 h", "1 h 24 min", "1 h 28 min", "declare", "10 min 11 s", "41,208 equal", ">= 4000", "4217",
        fact.run_id, "from the copy on offsite", "18.4 GB of 18.4 GB protected (100 %)", "2 of 2 sources restored",
        fact.plan_digest, made.drills[0].digest, made.material.head[1], "restic 0.18.0", "4 cores", "sandbox made",
        "destroyed afterwards", "Data manager", "student-records", "service proven", "not mandatory",
    ):  # fmt: skip
        assert str(said) in text, said


def test_a_failed_drill_has_no_time_anywhere_on_the_page() -> None:
    text = page_of(report(failed_drill())).text.replace("\u00a0", " ")
    assert "not achieved" in text and "14 min 18 s" not in text
    assert "14 min 18 s" in page_of(report(drill())).text.replace("\u00a0", " "), "negative control"


def test_text_from_outside_is_never_markup() -> None:
    names = plan(title=HOSTILE, owner={"role": HOSTILE}, classification=HOSTILE)
    fact = undone_drill(
        error=HOSTILE, machine=HOSTILE, target=HOSTILE, plan_digest=HOSTILE, versions={HOSTILE: HOSTILE}
    )
    fact2 = drill(
        at=ago(days=1), scenario=HOSTILE, sandbox=HOSTILE, checks=(check(HOSTILE, HOSTILE, HOSTILE, HOSTILE),)
    )
    made = report(
        fact2, fact, plans=[names], title=HOSTILE, audit=HOSTILE, rows=[row(names)], versions={HOSTILE: HOSTILE},
        backups=[backup(outcome="failed", error=HOSTILE)], proofs=[proof(target=HOSTILE, error=HOSTILE)],
    )  # fmt: skip
    seen = page_of(made)
    assert seen.faults == [] and "<script" not in seen.source and "alert('x')" not in seen.source
    assert seen.text.count("<script>alert('x')</script>") > 10, "told, as text"
    assert entities.escape(HOSTILE, quote=False).split("&#")[0][:20] in seen.source


def test_text_from_right_to_left_does_not_turn_its_neighbours() -> None:
    source = page_of(
        report(drill(), undone_drill("b"), plans=[plan(title=HEBREW), plan("b", HEBREW), plan("c", HEBREW)])
    ).source
    escaped = entities.escape(HEBREW).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    assert escaped in source
    alone = [source[m.start() - 5 : m.start()] for m in re.finditer(re.escape(escaped), source)]
    inside_title = source.index("<title>")
    assert all(before == "<bdi>" or before.endswith("\u2068") for before in alone), (alone, inside_title)


def test_text_that_no_file_can_hold_is_replaced() -> None:
    text = html.render(report(drill(), plans=[plan(title="a\ud800b\x00c")]))
    assert text.encode("utf-8") and "a?b\ufffdc" in text


def test_a_number_stays_with_its_unit() -> None:
    source = html.render(report(drill()))
    assert "14\u00a0min 18\u00a0s" in source and "14 min" not in re.sub(
        r"<style>.*?</style>", "", source, flags=re.DOTALL
    )


@pytest.mark.parametrize(
    "made",
    [
        report(), report(plans=[]), report(aborted_drill()), report(undone_drill(phases={})),
        report(drill(phases={}, checks=(), events=(), versions={}, plan_digest="", machine="", protected_bytes=0)),
        report(drill(), plans=[]), report(drill(phases=dict.fromkeys(("declare", "restore"), 0.0))),
        report(drill(at=ago(days=1)), drill(at=ago(days=1))), report(drill("gone"), since=ago(days=3)),
        report(backups=[backup("gone")], proofs=[proof("gone", target="", outcome="aborted")]),
    ],
    ids=["nothing", "no plan", "interrupted", "no phase", "bare", "plan gone", "no time", "same moment", "system gone", "others"],
)  # fmt: skip
def test_a_report_of_little_is_a_whole_page_too(made: Report) -> None:
    seen = page_of(made)
    assert seen.faults == [] and "None" not in seen.text and "nan" not in seen.source
    assert "What this does not show" in seen.text


# -- colours -----------------------------------------------------------------------------------------


def palettes() -> list[dict[str, str]]:
    """The colours of light, dark and paper."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-fA-F]{6})", block)) for block in blocks]
    assert len(found) == 3
    return found


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


TEXTS: list[tuple[str, tuple[str, ...]]] = [
    ("ink", ("bg", "paper", "good-bg", "bad-bg", "odd-bg", "accent-bg")),
    ("soft", ("bg", "paper", "accent-bg")),
    ("accent", ("bg", "paper")),
    *((tone, ("bg", "paper", f"{tone}-bg")) for tone in ("good", "bad", "odd")),
]


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark", "paper"])
def test_every_text_has_enough_contrast(palette: dict[str, Any]) -> None:
    for text, grounds in TEXTS:
        for ground in grounds:
            assert contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
    assert contrast("#777777", "#ffffff") < 4.5, "negative control"
