"""The bounds of every input: one table for the parser, the codec, the definitions of a cluster and the docs.

Manifests, statuses and YAML files come from people and programs that may be careless or hostile. Each value that a
reader takes has a bound here, so the cost of one object has a bound too. Each bound is far above real objects, and its
reason says how far. A reader refuses an object beyond a bound and names the path, the size and the bound.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class Bound:
    """The greatest accepted size of one kind of input."""

    most: int
    """The greatest accepted size."""
    unit: str
    """The unit of the size."""
    of: str
    """The input with this bound."""
    reason: str
    """The reason why it is enough for every real input."""

    def __str__(self) -> str:
        return f"at most {self.size}"

    @property
    def size(self) -> str:
        """The greatest size with its unit."""
        return f"{self.most:,} {self.unit}".rstrip()


# whole inputs -------------------------------------------------------------------------------------------------------

FILE = Bound(
    3 * 1024 * 1024, "characters", "a YAML file or a text of JSON", "The API server reads no larger request: 3 MiB."
)
FILE_VALUES = Bound(
    100_000, "values", "a YAML file, aliases written out", "The largest definitions of custom resources have 30,000."
)
TEXTS = Bound(
    256 * 1024, "characters", "all texts of an object together", "The API server takes no longer annotations together."
)
VALUES = Bound(
    10_000, "values", "an object: its fields, items and texts", "A Canary with ten metrics and ten webhooks has 300."
)
DEPTH = Bound(64, "levels", "nested fields and lists", "The deepest field of a Canary is on level 10.")

# texts --------------------------------------------------------------------------------------------------------------

NAME = Bound(253, "characters", "a Kubernetes name", "Kubernetes takes no longer one.")
LABEL = Bound(63, "characters", "a label's value, and the name of a Service", "Kubernetes takes no longer one.")
KEY = Bound(512, "characters", "a key of a map", "The longest label's key has 317.")
TEXT = Bound(4096, "characters", "a line of text: a host, an address, a metric's name", "Proxies take no longer URL.")
QUERY = Bound(
    16 * 1024,
    "characters",
    "a query, and a value of a webhook's metadata",
    "The longest published queries have fewer than 4,000; a metadata value may be a short script.",
)
RENDERED_QUERY = Bound(
    64 * 1024, "characters", "a query with its variables filled in", "No provider takes a longer one in a request."
)
ANNOTATION = Bound(256 * 1024, "characters", "the value of an annotation", "The API server accepts no longer value.")
DURATION = Bound(64, "characters", "a duration such as 1m30s", "The longest that Go writes has 24.")
CONDITION = Bound(1024, "characters", "a condition of a metric", "The longest published ones have fewer than 200.")
CONDITION_PARTS = Bound(
    256, "parts", "a condition: its numbers, names and operators", "Ten comparisons joined together have 40."
)
CONDITION_DEPTH = Bound(16, "levels", "parentheses and signs in a condition", "Published ones have at most three.")

# lists and maps -----------------------------------------------------------------------------------------------------

CHECKS = Bound(
    100,
    "items",
    "metrics, webhooks, alerts and match entries, each",
    "Ten are many: a rollout asks all of them in each interval.",
)
ITEMS = Bound(
    256,
    "items",
    "every other list or map",
    "A Gateway API route has at most 64 matches, an Istio route rarely 50 hosts.",
)
METADATA = Bound(4096, "items", "labels and annotations of an object", "More do not fit into 256 KiB.")
WEIGHTS = Bound(100, "items", "stepWeights", "There are 100 weights.")
ROUTES = Bound(16, "items", "service.routeRefs", "Each is a write for each new weight.")

# numbers ------------------------------------------------------------------------------------------------------------

DIGITS = Bound(20, "digits", "a whole number", "The greatest number of 64 bits has 20.")
COUNT = Bound(2**31 - 1, "", "every count: replicas, seconds, failed checks", "Kubernetes keeps 32 bits.")
ITERATIONS = Bound(10_000_000, "iterations", "analysis.iterations", "At the shortest interval they take three years.")
RETRIES = Bound(100, "retries", "a webhook's retries", "Each failed attempt delays the rollout.")
WAIT = Bound(
    366 * 24 * 60 * 60, "seconds", "analysis.interval, a metric's interval, drain", "No rollout waits for a year."
)

HOOK_TIMEOUT = 3600.0
"""The most seconds for one attempt of a hook, whatever its timeout. A longer timeout is no error: `canary lint` warns.
Flagger's load tester allows its tasks as long by default."""

# stored data --------------------------------------------------------------------------------------------------------

STORED_ITEMS = Bound(
    10_000, "items", "a list or map of stored data, such as the outbox", "An outbox holds some dozens."
)
REVISIONS = Bound(
    20,
    "revisions",
    "the revisions that a status remembers, of each kind",
    "A Deployment keeps ten old revisions unless its owner asks for more.",
)

# answers ------------------------------------------------------------------------------------------------------------

PROBLEMS = Bound(
    100, "problems", "the problems in a message about one object or file", "A reader takes in no more at once."
)
UNKNOWN_FIELDS = Bound(10, "fields", "unknown fields of one section in a message", "A reader takes in no more at once.")
FINDINGS = Bound(20, "findings", "the findings of a lint rule about one object", "A reader takes in no more at once.")

ALL: tuple[Bound, ...] = (
    *(FILE, FILE_VALUES, TEXTS, VALUES, DEPTH),
    *(NAME, LABEL, KEY, TEXT, QUERY, RENDERED_QUERY, ANNOTATION, DURATION),
    *(CONDITION, CONDITION_PARTS, CONDITION_DEPTH),
    *(CHECKS, ITEMS, METADATA, WEIGHTS, ROUTES),
    *(DIGITS, COUNT, ITERATIONS, RETRIES, WAIT),
    *(STORED_ITEMS, REVISIONS, PROBLEMS, UNKNOWN_FIELDS, FINDINGS),
)
"""Every bound, in the order of the docs."""
