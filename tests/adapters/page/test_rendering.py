"""Views to HTML: the content, the escaping, and the bounds of the list."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from attrs import evolve

from canarycore import CommandKind, Verdict
from canarycore.results import RolloutEnd
from canarycore_runtime.page.chart import draw_sparkline, draw_weights
from canarycore_runtime.page.markup import Markup, element
from canarycore_runtime.page.rendering import (
    ROWS_PER_PAGE,
    render_error,
    render_list,
    render_rollout,
    render_sign_in,
)
from canarycore_runtime.page.views import (
    ConditionView,
    EventView,
    StateFilter,
    Tone,
    Visitor,
    WeightPoint,
    find_commands,
    make_broken_row,
    make_details,
    make_row,
)
from tests.adapters.page.samples import (
    CONDITIONS,
    EVENTS,
    FAILED,
    HOSTILE,
    NOW,
    PAUSED,
    PROGRESSING,
    SUCCEEDED,
    WEIGHTS,
    analysis,
    rollout,
)

VISITOR = Visitor(form_token="t0ken")
VIEWER = Visitor(form_token="t0ken", name="jane", may_command=True)
VOID = {"meta", "link", "input"}


class Page(HTMLParser):
    """A parsed page: its elements with attributes, its text, and whether its elements nest."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.texts, self.is_nested = [], [], [], True
        self.feed(text)
        self.close()
        self.is_nested = self.is_nested and not self.open
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.is_nested = self.is_nested and bool(self.open) and self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def row(status=PROGRESSING, name="podinfo", **more):
    return make_row(rollout(name), status, weights=WEIGHTS, **more)


def details(status=PROGRESSING, **more):
    texts = {"conditions": CONDITIONS, "events": EVENTS, "analyses": (analysis(),)} | more
    return make_details(rollout(), status, row(status), now=NOW, **texts)


def test_the_list_shows_the_phase_the_weight_and_the_failed_check_of_each_rollout():
    page = Page(render_list([row(), row(SUCCEEDED, "cart"), row(FAILED, "pay")], VISITOR))
    for text in ("shop/podinfo", "Progressing", "20%", "request-success-rate 97.25: fail (expected at least 99",
                 "shop/cart", "Succeeded", "Failed (FailedChecks)", "Rolling back"):  # fmt: skip
        assert text in page.text
    assert {"href": "canary/shop/podinfo", "id": "to-shop-podinfo", "class": "name"} in page.all("a")


def test_the_list_begins_with_what_failed():
    text = render_list([row(SUCCEEDED, "a"), row(PROGRESSING, "b"), row(FAILED, "c")], VISITOR)
    assert text.index("shop/c") < text.index("shop/b") < text.index("shop/a")


def test_the_page_of_a_rollout_shows_checks_with_value_and_range_reason_conditions_and_events():
    page = Page(render_rollout(details(FAILED), VISITOR))
    for text in ("fail 97.25 at least 99 1,042", "pass 120 at most 500 1,042", "Last rollout", "Rolling back",
                 "Ready Unknown Progressing", "Halt podinfo.shop", "(2 times)", "Weight over time"):  # fmt: skip
        assert text in page.text, page.text


def test_each_chart_says_its_weights_in_words():
    text = draw_weights(WEIGHTS, NOW)
    assert "Requests to the new version: 0% from 2026-09-21T" in Page(text).text
    assert 'role="img"' in text


@pytest.mark.parametrize(
    "points", [(), WEIGHTS[:1], WEIGHTS, (WeightPoint(5.0, 10), WeightPoint(5.0, 20)), (WeightPoint(0.0, 100),)]
)
def test_a_chart_stays_within_its_box(points):
    chart, line = draw_weights(points, NOW if points else 0.0), draw_sparkline(points)
    for drawn, width, height in ((chart, 640, 200), (line, 120, 24)):
        corners = Page(drawn).all("polyline")[0]["points"]
        for corner in corners.split():
            x, y = map(float, corner.split(","))
            assert 0 <= x <= width
            assert 0 <= y <= height


@pytest.mark.parametrize("visitor", [VISITOR, VIEWER, Visitor(form_token="t", name=HOSTILE)])
def test_hostile_texts_stay_texts(visitor):
    end = RolloutEnd(NOW, FAILED.phase, FAILED.reason, HOSTILE, HOSTILE, analysis(HOSTILE, error=HOSTILE))
    status = FAILED.but(end=end, applied=HOSTILE, promoted=HOSTILE)
    shown = evolve(
        make_details(
            rollout(),
            status,
            row(status, trouble=HOSTILE),
            now=NOW,
            facts=((HOSTILE, HOSTILE),),
            analyses=(analysis(HOSTILE, error=HOSTILE),) * 2,
            conditions=(ConditionView(type=HOSTILE, status=HOSTILE, reason=HOSTILE, message=HOSTILE),),
            events=(EventView(at=HOSTILE, text=HOSTILE, is_warning=True),),
            pending=HOSTILE,
        ),
        events_note=HOSTILE,
    )
    pages = [
        render_rollout(shown, visitor, error=HOSTILE),
        render_list([row(status, trouble=HOSTILE), make_broken_row(f"shop/{HOSTILE}", HOSTILE, HOSTILE)], visitor,
                    title=HOSTILE, text=HOSTILE),
        render_list([], visitor, text=HOSTILE),
        render_sign_in(visitor, prompt=HOSTILE, help_text=HOSTILE, error=HOSTILE),
        render_error(500, HOSTILE),
    ]  # fmt: skip
    for text in pages:
        page = Page(text)
        assert page.is_nested
        assert [script["src"].lstrip("./") for script in page.all("script")] == ["script.js"]
        assert not page.all("img")
        assert not any(
            name.startswith("on") or name == "style" for _, attributes in page.elements for name in attributes
        )
        assert "\u202e" not in text
        assert "\x1b" not in text


@pytest.mark.parametrize("status", [PROGRESSING, PAUSED, SUCCEEDED, FAILED])
def test_a_page_loads_only_its_own_files_and_has_no_style_of_its_own(status):
    page = Page(render_rollout(details(status), VIEWER))
    loaded = [attributes.get("src") or attributes.get("href") for tag, attributes in page.elements
              if tag in {"script", "link", "img", "iframe", "use", "image"}]  # fmt: skip
    assert loaded == ["../../icon.svg", "../../style.css", "../../script.js"]
    assert not page.all("style")
    assert "http" not in render_rollout(details(status), VIEWER).replace("http://www.w3.org", "")


def test_ids_are_unique_and_controls_have_names():
    for text in (render_rollout(details(), VIEWER), render_list([row(), row(FAILED, "pay")], VISITOR)):
        page = Page(text)
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        labels = {attributes["for"] for attributes in page.all("label")}
        for tag in ("input", "select"):
            for attributes in page.all(tag):
                assert attributes.get("type") == "hidden" or attributes["id"] in labels


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (PROGRESSING, {CommandKind.PROMOTE, CommandKind.ABORT, CommandKind.PAUSE}),
        (PAUSED, {CommandKind.PROMOTE, CommandKind.ABORT, CommandKind.RESUME}),
        (FAILED, {CommandKind.PROMOTE, CommandKind.RETRY}),
        (SUCCEEDED, set()),
    ],
)
def test_a_viewer_gets_the_commands_of_the_phase(status, expected):
    assert set(find_commands(status)) == expected
    buttons = {button.get("value") for button in Page(render_rollout(details(status), VIEWER)).all("button")} - {None}
    assert buttons == {kind.value for kind in expected}


@pytest.mark.parametrize("visitor", [VISITOR, Visitor(form_token="t", name="bob")])
def test_others_get_no_command(visitor):
    page = Page(render_rollout(details(), visitor))
    assert not [button for button in page.all("button") if "value" in button]


def test_every_form_that_changes_something_is_a_post_with_the_token():
    page = Page(render_rollout(details(), VIEWER))
    assert [form["method"] for form in page.all("form")] == ["post", "post"]
    assert [field["value"] for field in page.all("input") if field["name"] == "token"] == ["t0ken", "t0ken"]


def test_a_thousand_rollouts_come_in_pages_of_bounded_size():
    rows = [row(FAILED if number % 100 == 0 else SUCCEEDED, f"app-{number:04}") for number in range(1000)]
    begun = time.process_time()
    text = render_list(rows, VISITOR)
    assert time.process_time() - begun < 0.5
    assert len(text) < 200_000
    page = Page(text)
    assert len([link for link in page.all("a") if link.get("class") == "name"]) == ROWS_PER_PAGE
    assert "1,000 Canaries: 10 failed or in trouble, 0 under way" in page.text
    assert "Page 1 of 20" in page.text
    last = Page(render_list(rows, VISITOR, page=999))
    assert "shop/app-0999" in last.text


def test_a_search_finds_names_and_states():
    rows = [row(FAILED if number % 100 == 0 else SUCCEEDED, f"app-{number:04}") for number in range(1000)]
    assert "1 shown of 1,000 Canaries" in Page(render_list(rows, VISITOR, text="APP-0042")).text
    assert "10 shown of 1,000 Canaries" in Page(render_list(rows, VISITOR, state=StateFilter.BAD)).text
    assert "0 shown of" in Page(render_list(rows, VISITOR, text="nothing")).text


def test_a_long_text_is_cut():
    assert len(element("p", "x" * 10**6)) < 5000


def test_markup_is_not_escaped_twice():
    assert element("p", element("b", "a & b"), Markup("<i></i>")) == "<p><b>a &amp; b</b><i></i></p>"


def test_a_value_without_data_and_an_unknown_number_of_requests_are_not_zero():
    check = evolve(analysis().checks[0], value=None, samples=None, verdict=Verdict.NO_DATA, minimum=None)
    page = Page(render_rollout(details(analyses=(evolve(analysis(), checks=(check,)),)), VISITOR))
    assert "no data none any unknown" in page.text


def test_the_tone_of_trouble_is_bad():
    assert row(SUCCEEDED, trouble="no such target").tone is Tone.BAD
