"""The result of a load as text, in the sections that readers of hey know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from canarycore.text import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from canarycore_loadtester.generator.engine import LoadResult
    from canarycore_loadtester.generator.latencies import Latencies
    from canarycore_loadtester.generator.plan import LoadPlan

QUANTILES = (0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 0.999)


def render(plan: LoadPlan, result: LoadResult) -> str:
    """Return the report of a load."""
    return "\n".join([*_summary(plan, result), *_latencies(result.latencies), *_outcomes(result)]) + "\n"


def _summary(plan: LoadPlan, result: LoadResult) -> Iterator[str]:
    schedule = "none: each answer is followed by the next request" if plan.rate is None else f"{plan.rate:g} requests/s"
    latencies = result.latencies
    yield "Summary:"
    yield f"  Schedule:\t{schedule}"
    yield f"  Protocol:\t{plan.protocol.value}, at most {plan.connections} requests in flight"
    yield f"  Total:\t{result.seconds:.4f} secs"
    yield f"  Slowest:\t{latencies.most:.4f} secs"
    yield f"  Fastest:\t{latencies.least if latencies.count else 0.0:.4f} secs"
    yield f"  Average:\t{latencies.mean:.4f} secs"
    yield f"  Requests/sec:\t{result.rate:.4f}"
    yield f"  Total data:\t{result.size} bytes"
    yield f"  Sent late by:\t{result.lateness.quantile(0.99):.4f} secs (99%)"
    if result.unsent:
        yield f"  Never sent:\t{result.unsent} requests waited for a free connection until the end"


def _latencies(latencies: Latencies) -> Iterator[str]:
    if latencies.count:
        yield ""
        yield "Latency distribution, from the time at which a request was due:"
        yield from (f"  {100 * fraction:.4g}% in {latencies.quantile(fraction):.4f} secs" for fraction in QUANTILES)


def _outcomes(result: LoadResult) -> Iterator[str]:
    counts = sorted(result.outcomes.items())
    for title, wants_status in (("Status code distribution:", True), ("Error distribution:", False)):
        section = [(name, count) for name, count in counts if _is_status(name) is wants_status]
        if section:
            yield ""
            yield title
            yield from (f"  [{escape_controls(name, 120)}]\t{count} responses" for name, count in section)


def _is_status(name: str) -> bool:
    return name.isdigit() or name.startswith("grpc ")
