"""Views to HTML. Each function is pure, and returns a whole document.

The page works without its script: links and forms do everything. The script only refreshes the elements with
`data-live`, and asks before a command. `root` is the relative address of the list, so the page may live at any path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from canarycore import CommandKind, Verdict
from canarycore.results import format_time
from canarycore_runtime.page.chart import describe_weights, draw_sparkline, draw_weights
from canarycore_runtime.page.markup import Markup, element
from canarycore_runtime.page.views import StateFilter, Tone, select_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from canarycore.results import AnalysisResult, CheckResult, RolloutEnd
    from canarycore_runtime.page.markup import Child
    from canarycore_runtime.page.views import RolloutDetails, RolloutRow, Visitor, WeightPoint

ROWS_PER_PAGE = 50
"""Rollouts on one page of the list."""

SHOWN_EVENTS = 50
"""Events on the page of a rollout."""

SHOWN_WEIGHTS = 20
"""Weights in the table below a chart."""

LONGEST_QUERY = 100
"""Most characters of a search."""

_FILTERS = {
    StateFilter.ALL: "All",
    StateFilter.BAD: "Failed or in trouble",
    StateFilter.BUSY: "Under way",
    StateFilter.GOOD: "Promoted",
}
_MARKS = {Tone.GOOD: "✓", Tone.BUSY: "●", Tone.BAD: "✗"}
_VERDICTS = {Verdict.PASS: Tone.GOOD, Verdict.FAIL: Tone.BAD, Verdict.ERROR: Tone.BAD}
_BUTTONS = {
    CommandKind.PROMOTE: "Promote",
    CommandKind.ABORT: "Abort",
    CommandKind.PAUSE: "Pause",
    CommandKind.RESUME: "Resume",
    CommandKind.APPROVE: "Approve",
    CommandKind.RETRY: "Retry",
}
PAGE_COMMANDS = tuple(_BUTTONS)
"""The commands that the page offers."""

_IRREVERSIBLE = {
    CommandKind.PROMOTE: "Promote the new version now?",
    CommandKind.ABORT: "Roll the new version back now?",
}


def render_list(
    rows: Sequence[RolloutRow],
    visitor: Visitor,
    *,
    title: str = "Canaries",
    text: str = "",
    state: StateFilter = StateFilter.ALL,
    page: int = 1,
) -> str:
    """Return the list of rollouts: one page of those that match a search."""
    chosen = select_rows(rows, text, state)
    pages = max(1, -(-len(chosen) // ROWS_PER_PAGE))
    page = min(max(1, page), pages)
    shown = chosen[(page - 1) * ROWS_PER_PAGE : page * ROWS_PER_PAGE]
    body = (
        element("h1", title),
        _search(text, state),
        element("p", _count(rows, chosen), id="count", role="status", data_live=True),
        element("ul", map(_item, shown), id="rollouts", class_="rollouts", data_live=True),
        _pager(page, pages, text, state),
    )
    return _document(title, body, visitor, root="./")


def render_rollout(details: RolloutDetails, visitor: Visitor, *, error: str = "") -> str:
    """Return the page of a rollout. `error` is why a command of the viewer was refused, or empty."""
    row = details.row
    body = (
        element("nav", element("a", "All Canaries", href="../../"), aria_label="Back"),
        element("h1", row.key),
        element("p", error, class_="error", role="alert") if error else None,
        element("div", _state(row), id="state", role="status", data_live=True),
        element("div", _commands(details, visitor), id="commands", data_live=True),
        _section("weights", "Weight over time", _weights(row.weights, details.until)),
        _section("analysis", "Last analysis", _analysis(details.analyses)),
        _section("earlier", "Earlier analyses", _earlier(details.analyses[1:])),
        _section("end", "Last rollout", _end(details.end)),
        _section("facts", "Rollout", _facts(details.facts)),
        _section("conditions", "Conditions", _conditions(details)),
        _section("events", "Events", _events(details)),
    )
    return _document(row.key, body, visitor, root="../../")


def render_sign_in(visitor: Visitor, *, prompt: str, help_text: str, error: str = "") -> str:
    """Return the page with the form to sign in."""
    body = (
        element("h1", "Sign in"),
        element("p", error, class_="error", role="alert", id="error") if error else None,
        element("p", help_text, id="help"),
        element(
            "form",
            _token(visitor),
            element("label", prompt, for_="secret"),
            element(
                "input",
                id="secret",
                name="secret",
                type="password",
                required=True,
                autocomplete="off",
                aria_describedby="help",
            ),
            element("button", "Sign in", class_="primary"),
            method="post",
            action="sign-in",
            class_="sign-in",
            id="sign-in",
        ),
    )
    return _document("Sign in", body, visitor, root="./")


def render_error(status: int, message: str, *, root: str = "./") -> str:
    """Return the page of an error."""
    body = (element("h1", f"Error {status}"), element("p", message, class_="error", role="alert"))
    return _document(f"Error {status}", body, None, root=root)


# the frame ----------------------------------------------------------------------------------------------------------


def _document(title: str, body: Child, visitor: Visitor | None, *, root: str) -> str:
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title} · canarycore"),
        element("link", rel="icon", href=f"{root}icon.svg", type="image/svg+xml"),
        element("link", rel="stylesheet", href=f"{root}style.css"),
        element("script", src=f"{root}script.js", defer=True),
    )
    header = element(
        "header",
        element("a", "Skip to content", href="#main", class_="skip"),
        element("a", "canarycore", href=root, class_="brand"),
        None if visitor is None else _account(visitor, root),
    )
    stale = element("p", "The server does not answer: this page may be out of date.", id="stale", role="alert")
    main = element("main", stale, body, id="main", tabindex="-1")
    return f"<!doctype html>\n{element('html', head, element('body', header, main), lang='en')}\n"


def _account(visitor: Visitor, root: str) -> Markup:
    if not visitor.name:
        return element("span", "Read-only. ", element("a", "Sign in", href=f"{root}sign-in"), class_="account")
    button = element("button", "Sign out", class_="link")
    form = element("form", _token(visitor), button, method="post", action=f"{root}sign-out")
    return element("span", element("span", visitor.name), form, class_="account")


def _token(visitor: Visitor) -> Markup:
    return element("input", type="hidden", name="token", value=visitor.form_token)


def _section(name: str, title: str, content: Child) -> Markup | None:
    """Return a section; its element stays in the page without content too, so that the script can fill it."""
    heading = element("h2", title) if content else None
    return element("section", heading, content, id=name, aria_label=title, data_live=True)


# the list -----------------------------------------------------------------------------------------------------------


def _search(text: str, state: StateFilter) -> Markup:
    options = (
        element("option", label, value=choice.value, selected=choice is state) for choice, label in _FILTERS.items()
    )
    return element(
        "form",
        element(
            "span",
            element("label", "Name", for_="q"),
            element("input", id="q", name="q", type="search", value=text, maxlength=LONGEST_QUERY),
            class_="field",
        ),
        element(
            "span",
            element("label", "State", for_="show"),
            element("select", options, id="show", name="state"),
            class_="field",
        ),
        element("button", "Show"),
        method="get",
        role="search",
        class_="search",
    )


def _count(rows: Sequence[RolloutRow], chosen: Sequence[RolloutRow]) -> str:
    bad = sum(row.tone is Tone.BAD for row in rows)
    busy = sum(row.tone is Tone.BUSY for row in rows)
    whole = f"{len(rows):,} Canaries: {bad:,} failed or in trouble, {busy:,} under way"
    return whole if len(chosen) == len(rows) else f"{len(chosen):,} shown of {whole}"


def _item(row: RolloutRow) -> Markup:
    name = "-".join(map(quote, row.key.split("/")))
    note = row.trouble or row.cause
    return element(
        "li",
        element("a", row.key, href=f"canary/{quote(row.key)}", id=f"to-{name}", class_="name"),
        _chip(row.tone, row.phase),
        _bar(row.weight),
        element("span", draw_sparkline(row.weights), class_="spark"),
        element("span", row.state, class_="words"),
        element("p", note, class_="note") if note else None,
        class_=row.tone.value,
    )


def _chip(tone: Tone, text: str) -> Markup:
    mark = element("span", _MARKS[tone], aria_hidden="true")
    return element("span", mark, f" {text}", class_=f"chip {tone.value}")


def _bar(weight: int) -> Markup:
    """Return a bar with the weight; its length is an attribute, because the policy of the page allows no styles."""
    bar = element(
        "svg",
        element("rect", width=100, height=8, class_="track"),
        element("rect", width=weight, height=8, class_="fill"),
        viewBox="0 0 100 8",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    return element("span", bar, f"{weight}%", class_="weight")


def _pager(page: int, pages: int, text: str, state: StateFilter) -> Markup | None:
    if pages == 1:
        return None

    def link(label: str, number: int, name: str) -> Markup:
        query = urlencode({"q": text, "state": state.value, "page": number})
        return element("a", label, href=f"./?{query}", rel=name, id=f"page-{name}")

    return element(
        "nav",
        link("Previous", page - 1, "prev") if page > 1 else None,
        element("span", f"Page {page} of {pages}"),
        link("Next", page + 1, "next") if page < pages else None,
        aria_label="Pages",
        class_="pager",
    )


# one rollout --------------------------------------------------------------------------------------------------------


def _state(row: RolloutRow) -> Iterator[Markup]:
    yield element("p", _chip(row.tone, row.phase), " ", _bar(row.weight), class_="headline")
    yield element("p", row.state)
    if row.trouble:
        yield element("p", element("strong", "Trouble: "), row.trouble, class_="note bad")
    if row.cause:
        yield element("p", element("strong", "Reason: "), row.cause, class_="note")


def _commands(details: RolloutDetails, visitor: Visitor) -> Iterator[Markup]:
    if details.pending:
        yield element("p", f"The command {details.pending} waits for the controller.", class_="note")
    if not details.commands:
        return
    if not visitor.name:
        yield element("p", "Sign in to send commands.", class_="quiet")
    elif not visitor.may_command:
        yield element("p", f"{visitor.name} may not send commands to this Canary.", class_="quiet")
    else:
        buttons = (
            element(
                "button",
                _BUTTONS[kind],
                name="command",
                value=kind.value,
                id=f"do-{kind.value}",
                data_confirm=_IRREVERSIBLE.get(kind),
            )
            for kind in details.commands
        )
        address = f"{quote(details.row.key.partition('/')[2])}/command"
        form = element("form", _token(visitor), buttons, method="post", action=address, class_="commands")
        yield element("div", form, role="group", aria_label="Commands")


def _weights(points: Sequence[WeightPoint], until: float) -> Child:
    if not points:
        return None
    rows = (
        element("tr", element("td", format_time(point.at)), element("td", f"{point.weight}%"))
        for point in reversed(points[-SHOWN_WEIGHTS:])
    )
    return (
        draw_weights(points, until),
        element(
            "details",
            element("summary", "Weights as a table", id="weights-summary"),
            _table(describe_weights(()), ("From", "Weight"), rows),
            id="weights-table",
        ),
    )


def _analysis(analyses: Sequence[AnalysisResult]) -> Child:
    if not analyses:
        return None
    latest = analyses[0]
    place = f"iteration {latest.iteration}" if latest.iteration else f"weight {latest.weight}%"
    hook = f"hook {latest.hook} failed: {latest.answer}" if latest.hook else ""
    more = f"{latest.omitted} more checks are not kept." if latest.omitted else ""
    columns = ("Check", "Verdict", "Value", "Expected", "Requests", "Note")
    return (
        element("p", f"{format_time(latest.at)}, revision {latest.revision}, at {place}"),
        element("p", hook, class_="note bad") if hook else None,
        _table("Checks of the last analysis", columns, map(_check, latest.checks)) if latest.checks else None,
        element("p", more, class_="quiet") if more else None,
    )


def _check(check: CheckResult) -> Markup:
    tone = _VERDICTS.get(check.verdict, Tone.BUSY)
    return element(
        "tr",
        element("th", check.name, scope="row"),
        element("td", _chip(tone, check.verdict.value)),
        element("td", "none" if check.value is None else f"{check.value:g}"),
        element("td", check.range or "any"),
        element("td", "unknown" if check.samples is None else f"{check.samples:,}"),
        element("td", check.error),
    )


def _earlier(analyses: Sequence[AnalysisResult]) -> Child:
    return element("ol", (element("li", str(analysis)) for analysis in analyses), class_="lines") if analyses else None


def _end(end: RolloutEnd | None) -> Child:
    if end is None:
        return None
    last = None if end.analysis is None else element("p", str(end.analysis), class_="quiet")
    return element("p", str(end)), last


def _facts(facts: Iterable[tuple[str, str]]) -> Child:
    return element("dl", ((element("dt", name), element("dd", value)) for name, value in facts))


def _conditions(details: RolloutDetails) -> Child:
    rows = [
        element(
            "tr",
            element("th", condition.type, scope="row"),
            element("td", condition.status),
            element("td", condition.reason),
            element("td", condition.message),
        )
        for condition in details.conditions
    ]
    return _table("Conditions", ("Type", "Status", "Reason", "Message"), rows) if rows else None


def _events(details: RolloutDetails) -> Child:
    if not details.events:
        return element("p", details.events_note, class_="quiet") if details.events_note else None
    items = (
        element(
            "li",
            element("time", event.at, datetime=event.at),
            element("span", "Warning", class_="chip bad") if event.is_warning else None,
            f" {event.text}",
            f" ({event.count} times)" if event.count > 1 else None,
        )
        for event in details.events[:SHOWN_EVENTS]
    )
    return element("ol", items, class_="lines")


def _table(caption: str, columns: Iterable[str], rows: Iterable[Markup]) -> Markup:
    """Return a table that scrolls by itself on a narrow screen; the keyboard reaches it."""
    head = element("thead", element("tr", (element("th", column, scope="col") for column in columns)))
    table = element("table", element("caption", caption), head, element("tbody", rows))
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)
