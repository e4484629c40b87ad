"""Every answer of a provider ends as a MetricAnswer: no exception, no invented value, no long pause."""

import json
import time

import pytest

from canarycore_metrics.answers import AnswerError, number, number_in_text, parse_json
from canarycore_metrics.prometheus import PrometheusSource
from canarycore_metrics.source import HttpSource, SourceError
from canarycore_runtime.testing.contracts import Reply
from tests.adapters.metrics.test_prometheus import ROLLOUT, question
from tests.adapters.metrics.test_providers import PROVIDERS
from tests.adapters.runtime.raw_http_server import answer as raw_answer
from tests.adapters.runtime.raw_http_server import raw_server

DEEP = 100_000
ODD_NUMBERS = {
    "true": "true",
    "false": "false",
    "a long integer": "1" * 400,
    "an integer of 5000 digits": "1" * 5000,
    "a text": '"much"',
    "a list": "[1]",
    "a mapping": '{"1": 1}',
    "digits with an underscore": '"1_0"',
    "other digits": '"\u0661\u0662"',
    "blanks": '" 1 "',
    "a deep list": "[" * 500 + "]" * 500,
}
every = pytest.mark.parametrize("provider", PROVIDERS, ids=str)


def answered(provider, number):
    """The provider's answer with `number`, whether its format has numbers or texts there."""
    return provider.answer.replace('"$"', number).replace("$", number)


@every
@pytest.mark.parametrize("name", ODD_NUMBERS)
async def test_something_else_than_a_number_is_never_a_value(server, provider, name):
    server.answer = (200, answered(provider, ODD_NUMBERS[name]))
    async with provider.at(server.address) as source:
        answer = await source.value(provider.query)
    assert answer.value in {None, float("inf")}  # the latter of a text with very many digits: no value to judge by
    assert len(answer.error) < 1500


@every
async def test_a_number_beyond_all_numbers_is_infinite_or_an_error(server, provider):
    server.answer = (200, answered(provider, "1e400"))
    async with provider.at(server.address) as source:
        answer = await source.value(provider.query)
    assert answer.error or answer.value == float("inf")


BODIES = {
    "nothing": "",
    "a null character": "\x00",
    "deep lists": "[" * DEEP,
    "deep mappings": '{"a":' * DEEP,
    "a long text": '"' + "x" * 900_000 + '"',
    "a long field": "_value\n" + "x" * 200_000,
    "an open quote": '_value\n"' + "x" * 200_000,
    "many fields": "a" + ",_value" * 100_000 + "\n" + "x," * 200_000,
    "many lines": "\n" * 500_000,
    "many events": "event: data\ndata: 1\n\n" * 40_000,
    "an event that is deep": f"event: data\ndata: {'[' * DEEP}\n\n",
    "an error that is long": json.dumps({"error": "x" * 900_000}),
    "escape sequences": "\x1b[31m\u202eevil\r\n",
    "one long line": "x" * 1_000_000,
    "many lists": json.dumps([[]] * 200_000),
    "text that is no unicode": "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
}


@every
@pytest.mark.parametrize("name", BODIES)
async def test_any_body_is_an_answer_whose_text_is_short(server, provider, name):
    server.answer = (200, BODIES[name])
    async with provider.at(server.address, timeout=60.0) as source:
        began = time.process_time()
        answer, online = await source.value(provider.query), await source.online(None)
        spent = time.process_time() - began
    assert answer.value is None
    for text in (answer.error, online):
        assert len(text) < 1500
        assert text.isprintable()
    assert spent < 20.0  # both processes together, on a busy machine


JSON_TYPES = (None, True, 0, 1.5, "", "text", [], {}, [[]], [{}], {"": None})


def mutated(document, step=0):
    """The document with each of its parts in turn replaced by each type, or left out."""
    yield from JSON_TYPES
    if isinstance(document, dict):
        for key, value in document.items():
            yield {name: part for name, part in document.items() if name != key}
            yield from ({**document, key: other} for other in mutated(value))
    if isinstance(document, list):
        for place, value in enumerate(document):
            yield from ([*document[:place], other, *document[place + 1 :]] for other in mutated(value))


@pytest.mark.parametrize("provider", [one for one in PROVIDERS if one.answer.startswith(("{", "["))], ids=str)
async def test_a_part_of_another_type_is_an_answer(server, provider):
    document = json.loads(provider.body(Reply.GOOD))
    async with provider.at(server.address) as source:
        for other in mutated(document):
            server.answer = (200, json.dumps(other))
            answer = await source.value(provider.query)
            assert not answer.error.startswith(f"{provider} failed with"), (other, answer)
            assert answer.value is None or isinstance(answer.value, float)


@pytest.mark.parametrize("charset", ["no-such", "idna", "punycode", "utf-7"])
async def test_any_charset_is_an_answer(charset):
    body = b'{"data": {"resultType": "scalar", "result": [1, "99.5"]}}'
    write = raw_answer(body, f"Content-Type: application/json; charset={charset}")
    async with raw_server(write) as server, PrometheusSource(server.address) as source:
        assert (await source.value("up")).value == 99.5


@pytest.mark.parametrize("host", ["a" * 64, "a..b", f"{'a' * 63}.{'b' * 64}.example"])
async def test_a_host_that_cannot_be_is_an_answer(host):
    async with PrometheusSource(f"http://{host}") as source:
        assert (await source.value("up")).error.startswith("request failed: ")
        assert "request failed: " in await source.online(None)


# errors of a provider's own code --------------------------------------------------------------------------------------


class Faulty(HttpSource):
    """A provider whose code has a fault."""

    name = "faulty"
    home = "http://faulty"

    def __init__(self, fault):
        super().__init__()
        self.fault = fault

    async def measure(self, query, window):
        return self._fail()

    async def probe(self):
        self._fail()

    def _fail(self):
        if isinstance(self.fault, BaseException):
            raise self.fault
        return self.fault


@pytest.mark.parametrize("fault", [RuntimeError("s3cret"), RecursionError(), MemoryError(), KeyError("s3cret")])
async def test_an_exception_of_a_provider_s_code_is_an_answer(fault):
    source = Faulty(fault)
    told = f"faulty failed with {type(fault).__name__}"
    assert (await source.query(ROLLOUT, question())).error == told
    assert await source.online(ROLLOUT) == told


@pytest.mark.parametrize("value", [True, "99.5", [99.5]])
async def test_a_value_of_another_type_is_an_error(value):
    answer = await Faulty(value).query(ROLLOUT, question())
    assert answer.value is None
    assert answer.error


async def test_unavailable_query_variables_are_an_answer_with_an_error():
    def broken_variables(rollout):
        raise SourceError("gone")

    async with PrometheusSource("http://127.0.0.1:9", query_variables=broken_variables) as source:
        assert (await source.query(ROLLOUT, question())).error == "gone"


# numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "+", ".", "1e", "e1", "1_0", " 1", "1\n", "0x1", "true", "\u0661", "1" * 401, "infinit"]
)
def test_a_text_that_spells_no_number_is_refused(text):
    with pytest.raises(ValueError, match="expected a number"):
        number_in_text(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("-1.5e3", -1500), (".5", 0.5), ("5.", 5), ("+Inf", float("inf")), ("-Infinity", float("-inf"))],
)
def test_a_text_that_spells_a_number_is_one(text, value):
    assert number_in_text(text) == value


@pytest.mark.parametrize("value", [True, False, "1", [], {}, 10**400])
def test_a_value_that_is_no_number_is_refused(value):
    with pytest.raises(ValueError, match="expected a number"):
        number(value)


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP, "1" * 5000, "{", "", "\x00", "[1,]"])
def test_a_text_that_is_no_document_is_refused_in_one_way(text):
    with pytest.raises(AnswerError):
        parse_json(text)


def test_a_document_of_too_many_values_is_refused_and_of_many_it_is_not():
    assert len(parse_json(json.dumps([1.5] * 90_000))) == 90_000
    with pytest.raises(AnswerError, match="more than 100,000 values"):
        parse_json(json.dumps([1.5] * 110_000))
