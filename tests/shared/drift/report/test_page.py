"""Drift as one page: what has drifted first, what was not judged as plainly, names as they are."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.async_api import async_playwright

from shared.drift.quality import QualityCheck, QualityFinding, QualityState
from shared.drift.report import page
from shared.drift.report.page import render, write_report
from shared.drift.showing import (
    Categories,
    Category,
    Distribution,
    DriftReport,
    FalseAlarmBudget,
    FunctionDrift,
    NewWords,
    OpenAlert,
    OutcomeBin,
    Period,
    Proportion,
    ShownChange,
    ShownConcept,
    ShownMetric,
    ShownQuality,
    Tally,
    Volume,
    VolumeHour,
    WordTally,
)
from shared.drift.verdicts import DriftState
from shared.evaluation.intervals import Interval
from shared.local.chromium import find_chromium, launch_arguments
from tests.shared.drift.shown import BASELINE, CURRENT, HOSTILE, NOW, metric, points, sweeps

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHIFTED = points(np.arange(100), np.arange(50, 150), "ms")


def report(*functions: FunctionDrift, **more: Any) -> DriftReport:
    return DriftReport("acme", NOW, functions, **more)


def quality(
    column: str | None,
    state: QualityState,
    value: float | None,
    check: QualityCheck = QualityCheck.MISSING,
    *,
    reason: str = "why",
    model: str = "mini@2.0.0",
) -> ShownQuality:
    interval = None if check is QualityCheck.CONSTANT else Interval(0.1, 0.3)
    return ShownQuality(model, QualityFinding(column, check, value, interval, 0.1, state, reason))


def hostile_report() -> DriftReport:
    """Every kind of picture and table, and a hostile name wherever a name can be."""
    named = {"function": HOSTILE, "name": HOSTILE, "model": HOSTILE}
    shapes = [
        replace(SHIFTED, unit=HOSTILE),
        Categories((Category(HOSTILE, 9, 1), Category("click", 1, 9))),
        Proportion(Tally(1, 10), Tally(5, 10)),
        Volume(
            9, 20.0, 15.0, 25.0, 4, (VolumeHour(NOW, 9, 20.0, 15, 25), VolumeHour(NOW, None, None))
        ),
        NewWords(WordTally(20, 90, 40), WordTally(9, 50, 30), 0.3, 0.1),
        None,
    ]
    metrics = [
        replace(
            metric(shape, history=sweeps(0.01, 0.2, None, 0.3), **named),
            baseline=Period(BASELINE.start, BASELINE.end, HOSTILE),
        )
        for shape in shapes
    ]
    unjudged = metric(SHIFTED, DriftState.INSUFFICIENT, reason=HOSTILE, **named)
    concept = ShownConcept(
        HOSTILE, HOSTILE, metric(**named).verdict,
        (OutcomeBin(HOSTILE, Tally(1, 9), Tally(0, 0)),), BASELINE, CURRENT, 0.1, 0.0,
    )  # fmt: skip
    check = quality(HOSTILE, QualityState.WARNING, 0.2, reason=HOSTILE, model=HOSTILE)
    return DriftReport(
        HOSTILE, NOW, [FunctionDrift(HOSTILE, [*metrics, unjudged], [concept], [check])],
        FalseAlarmBudget(1, 2),
        [
            OpenAlert(HOSTILE, HOSTILE, HOSTILE, HOSTILE, NOW, NOW, 2),
            OpenAlert("", "", "", HOSTILE, NOW, NOW, 1),
        ],
        [ShownChange(HOSTILE, HOSTILE, HOSTILE, HOSTILE, NOW, NOW, HOSTILE, HOSTILE)],
        [HOSTILE],
    )  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a real Chromium makes of the hostile report: light, dark, and in print."""
    target = tmp_path_factory.mktemp("drift") / "report.html"
    write_report(hostile_report(), target)

    async def look() -> dict[str, Any]:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=find_chromium().path, args=launch_arguments()
            )
            try:
                found: dict[str, Any] = {"events": []}
                browser_page = await browser.new_page(color_scheme="light")
                for kind in ("pageerror", "console", "request", "dialog"):
                    browser_page.on(
                        kind,
                        lambda event: found["events"].append(
                            getattr(event, "url", None) or getattr(event, "text", None) or event
                        ),
                    )
                await browser_page.goto(target.as_uri())
                found |= await browser_page.evaluate(
                    """() => ({
                        pwned: window.pwned ?? null,
                        alive: document.querySelectorAll(
                            'script, img, iframe, object, embed, form, base, link').length,
                        handlers: [...document.querySelectorAll('*')].flatMap(
                            e => e.getAttributeNames()).filter(n => n.startsWith('on')).length,
                        dangling: [...document.querySelectorAll('a')].filter(
                            a => !document.querySelector(a.getAttribute('href'))).length,
                        unnamed: [...document.querySelectorAll('svg:not([aria-hidden])')].filter(
                            s => s.getAttribute('aria-labelledby').split(' ').some(
                                id => !document.getElementById(id)?.textContent)).length,
                        pictures: document.querySelectorAll('svg:not([aria-hidden])').length,
                        text: document.body.innerText,
                        wide: document.documentElement.scrollWidth - innerWidth,
                    })"""
                )
                paper = "getComputedStyle(document.body).backgroundColor"
                found["light"] = await browser_page.evaluate(paper)
                await browser_page.emulate_media(color_scheme="dark")
                found["dark"] = await browser_page.evaluate(paper)
                await browser_page.emulate_media(media="print", color_scheme="dark")
                found["print"] = await browser_page.evaluate(paper)
                return found
            finally:
                await browser.close()

    return {**asyncio.run(look()), "source": target.read_text(), "file": target.as_uri()}


def test_hostile_names_do_not_come_to_life(opened: dict[str, Any]) -> None:
    assert (opened["pwned"], opened["alive"], opened["handlers"]) == (None, 0, 0)
    assert opened["events"] == [opened["file"]]
    assert "<script>window.pwned=1</script>" in opened["text"]
    assert "{{ 7*7 }}" in opened["text"]
    assert "\x1b" not in opened["source"]
    assert "\u202e" not in opened["source"]


def test_every_link_leads_somewhere_and_every_picture_has_its_words(opened: dict[str, Any]) -> None:
    assert opened["pictures"] == 11, "two of each distribution, and what earlier sweeps said"
    assert (opened["dangling"], opened["unnamed"]) == (0, 0)


def test_long_names_do_not_make_the_page_wider_than_the_window(opened: dict[str, Any]) -> None:
    assert opened["wide"] <= 0


def test_it_is_dark_where_the_reader_wants_it_dark_but_not_on_paper(opened: dict[str, Any]) -> None:
    assert opened["light"] == "rgb(255, 255, 255)"
    assert opened["dark"] == "rgb(17, 17, 19)"
    assert opened["print"] == "rgb(255, 255, 255)"


def test_the_policy_lets_nothing_run_and_nothing_be_loaded() -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', render(report()))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script" not in policy
    assert "unsafe" not in policy
    assert "http" not in re.sub("http-equiv", "", render(hostile_report()))


def test_the_same_report_gives_the_same_bytes() -> None:
    assert render(hostile_report()) == render(hostile_report())


def test_new_words_are_told_in_figures() -> None:
    words = NewWords(WordTally(2_000, 12_345, 3_120), WordTally(300, 2_001, 900), 0.123, 0.041)
    text = render(report(FunctionDrift("search", [metric(words)])))
    assert "12.3\N{NO-BREAK SPACE}% of words are new, 4.1\N{NO-BREAK SPACE}% expected" in text
    for figure in ("2,000", "12,345", "3,120", "300", "2,001", "900"):
        assert f'<td class="number">{figure}</td>' in text


def test_sizes_of_values_that_were_drawn_say_so() -> None:
    whole = metric(SHIFTED, function="", name="basket", model="")
    drawn = replace(whole, verdict=replace(whole.verdict, n_baseline=100_000, n_current=40_000))
    told = "; n 100,000 and 40,000 values, at most 100,000 drawn."
    assert told in render(report(FunctionDrift("", [drawn])))
    assert "drawn." not in render(report(FunctionDrift("", [whole])))


def test_what_has_drifted_stands_before_what_has_not() -> None:
    states = [DriftState.STABLE, DriftState.NO_DATA, DriftState.WARNING, DriftState.DRIFT]
    text = render(
        report(
            FunctionDrift("calm", [metric(SHIFTED, DriftState.STABLE, name="quiet")]),
            FunctionDrift(
                "moved", [metric(SHIFTED, state, name=f"is {state.value}") for state in states]
            ),
        )
    )
    assert text.index("Needs a look") < text.index("Not judged") < text.index("<h2 id=")
    assert text.index(">moved<") < text.index(">calm<")
    table = text[text.index("<tbody>") :]
    order = [table.index(f">is {state.value}<") for state in reversed(states)]
    assert order[0] < order[1] < order[2] < order[3]
    assert text.count(" open>") == 2


def test_what_needs_a_look_is_by_severity_and_size_with_its_alert_and_its_change() -> None:
    def moved(name: str, state: DriftState, size: float) -> ShownMetric:
        shown = metric(SHIFTED, state, name=name)
        return replace(shown, verdict=replace(shown.verdict, effect_size=size))

    metrics = [
        moved("warned", DriftState.WARNING, 0.9),
        moved("less", DriftState.DRIFT, 0.2),
        moved("more", DriftState.DRIFT, 0.4),
        metric(None, DriftState.NO_DATA, name="gone", reason="it is empty"),
    ]
    subject = ("search", "mini@2.0.0")
    alerts = [
        OpenAlert(*subject, "more", "more drifts", NOON, NOW, 4),
        OpenAlert(*subject, "gone", "gone drifts", NOON, NOW, 1),
    ]
    began = NOON - timedelta(hours=1)
    changes = [ShownChange(*subject, "more", "adwin", began, NOON, "2 s", "3 s")]
    text = render(report(FunctionDrift("search", metrics), alerts=alerts, changes=changes))
    section = text[text.index("Needs a look") : text.index("Not judged")]
    order = [section.index(f">{name}<") for name in ("more", "less", "warned")]
    assert order == sorted(order)
    more = section[order[0] : order[1]]
    assert "Alert open since 2026-11-21 12:00 UTC, seen 4 times." in more
    assert "Level changed about 2026-11-21 11:00 UTC, 2 s to 3 s, seen by adwin at" in more
    assert "gone drifts" in section[section.index("Alerts that are open, of what is not") :]
    assert "more drifts" not in section


def test_what_was_not_judged_is_said_once_for_each_reason() -> None:
    empty = [metric(None, DriftState.NO_DATA, name=name, reason="it is empty") for name in "ab"]
    text = render(report(FunctionDrift("search", empty)))
    section = text[text.index("Not judged") : text.index("<h2 id=")]
    assert section.count("it is empty") == 1
    assert section.count('<a class="name"') == 2
    assert "Nothing was found in what was judged." in text
    assert "Everything that was looked at could be judged" not in text


def test_metrics_that_were_never_sent_are_only_counted() -> None:
    sent = metric(SHIFTED, DriftState.STABLE, name="sent")
    empty = metric(None, DriftState.NO_DATA, name="never", reason="it is empty")
    never = replace(empty, verdict=replace(empty.verdict, n_baseline=0, n_current=0))
    text = render(report(FunctionDrift("search", [sent, never, never])))
    assert "never<" not in text
    assert text.count("2 more metrics have no data in either window.") == 2
    assert "Everything that was looked at could be judged" not in text


def test_nothing_looked_at_is_not_no_drift() -> None:
    text = render(report())
    assert "Nothing was looked at." in text
    assert "Nothing was found" not in text


def test_the_false_alarm_budget_is_shown_with_what_was_raised() -> None:
    text = render(report(budget=FalseAlarmBudget(1, 2)))
    assert "Budget: 1 expected false alarm a week. Raised in the last 7 days: 2 alarms." in text


def test_a_picture_of_a_million_distinct_values_stays_small() -> None:
    values = np.arange(0, 10**6, dtype=np.float64)
    ones = np.ones(values.size, dtype=np.int64)
    shown = Distribution(values, ones, np.roll(ones, 1) * 3, "ms")
    assert len(render(report(FunctionDrift("search", [metric(shown)])))) < 40_000


def test_more_metrics_than_can_be_drawn_are_still_in_the_tables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page, "DRAWN", 1)
    metrics = [
        metric(SHIFTED, DriftState.STABLE, name="quiet"),
        metric(SHIFTED, DriftState.DRIFT, name="loud"),
    ]
    text = render(report(FunctionDrift("search", metrics)))
    assert "1 metrics are only in the tables: this file draws 1" in text
    assert text.count("<details") == 1
    assert text.index("loud") < text.index("quiet")


def test_checks_that_found_nothing_are_counted_and_the_others_told() -> None:
    checks = [
        quality("a", QualityState.GOOD, 0.0),
        quality(None, QualityState.WARNING, 0.2, QualityCheck.LATE),
        quality("b", QualityState.BROKEN, 1, QualityCheck.CONSTANT),
        quality("c", QualityState.NO_DATA, None, reason="no event has this field"),
    ]
    text = render(report(FunctionDrift("search", [], quality=checks)))
    assert '1 check found nothing: <span class="name">a missing (mini@2.0.0)</span>' in text
    assert "20 % (10.0 to 30.0 %)" in text
    assert '<td class="number">1</td>' in text
    assert text.index(">broken<") < text.index(">suspicious<") < text.index(">no data<")
    not_judged = text[text.index("Not judged") : text.index("<h2 id=")]
    assert "no event has this field" in not_judged
    assert "slight drift</span>" not in text


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "drift.html"
    target.write_text("the last one")
    broken = report(FunctionDrift("search", [metric(Proportion(Tally(3, 2), Tally(0, 1)))]))
    with pytest.raises(ValueError, match="3 successes of 2"):
        write_report(broken, target)
    assert target.read_text() == "the last one"
    assert [path.name for path in tmp_path.iterdir()] == ["drift.html"]
