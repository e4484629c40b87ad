"""The memory of a driver between cycles: it is small, and a store may keep it as JSON."""

from __future__ import annotations

import pytest

from canarycore import Ladder, Observation, Phase, Rollout, Status, TargetRef, Workload, cycle
from canarycore.codec import from_json, to_json
from canarycore.driver import Commit, CycleMemory, Observe, Observed, Publish
from canarycore.errors import WorldError
from canarycore.questions import HookAnswer, MetricAnswer, SourcesAnswer

ROLLOUT = Rollout(name="shop", target=TargetRef(name="shop"), ladder=Ladder(step=25, top=50), progress_deadline=1e6)
MEMORY = CycleMemory(
    answers={"m": MetricAnswer(value=99.5), "h": HookAnswer(passed=True), "s": SourcesAnswer()},
    published={"second", "first"},
    last_goal=(Phase.PROMOTING, "v2"),
)


@pytest.mark.parametrize("memory", [MEMORY, CycleMemory()])
def test_a_memory_returns_from_json_as_it_was(memory):
    assert from_json(to_json(memory), CycleMemory) == memory


def test_equal_memories_have_equal_json():
    reverse = CycleMemory(MEMORY.answers, {"first", "second"}, MEMORY.last_goal)
    assert to_json(reverse) == to_json(MEMORY)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"published": "ab"}', "$.published"),
        ('{"published": [1]}', r"$.published\[0\]"),
        ('{"answers": {"m": {"value": 1}}}', r"$.answers\['m'\]"),
        ('{"last_goal": ["Sleeping", "v1"]}', "$.last_goal"),
    ],
)
def test_a_bad_memory_is_refused_with_its_path(text, path):
    with pytest.raises(ValueError, match=path.replace("$.", r"\$\.")):
        from_json(text, CycleMemory)


class Loop:
    """A driver whose target is never ready, and by default has another revision in each cycle."""

    def __init__(self, *, publishes: bool, revises: bool = True) -> None:
        self.status = Status(phase=Phase.SUCCEEDED, since=0.0, applied="v0", promoted="v0")
        self.memory, self.now = CycleMemory(), 0.0
        self.publishes, self.revises = publishes, revises

    def run(self) -> None:
        self.now += ROLLOUT.interval
        requests = cycle(self.memory)
        request = next(requests)
        try:
            while True:
                if isinstance(request, Publish) and not self.publishes:
                    request = requests.throw(WorldError("the receiver takes no notices"))
                    continue
                reply = None
                if isinstance(request, Observe):
                    reply = Observed(ROLLOUT, self.status, self.observe())
                elif isinstance(request, Commit):
                    self.status = request.status
                request = requests.send(reply)
        except StopIteration:
            pass

    def observe(self) -> Observation:
        revision = f"v{self.now:g}" if self.revises else "v1"
        pods = {"desired": 1, "updated": 1, "total": 1}
        target = Workload(revision=revision, ready=0, **pods)
        primary = Workload(revision="v0", ready=1, **pods)
        return Observation(now=self.now, target=target, primary=primary)


def test_an_outbox_that_no_receiver_takes_stays_small():
    loop, sizes = Loop(publishes=False), []
    for _ in range(400):
        loop.run()
        sizes.append(len(to_json(loop.status)))
    assert 10 < len(loop.status.outbox) < 80
    assert sizes[-1] < 20_000


def test_a_wait_without_end_leaves_the_memory_small():
    """Each interval repeats its notice under another key."""
    loop, published, sizes = Loop(publishes=True, revises=False), set(), []
    loop.status = Status(phase=Phase.PROGRESSING, since=0.0, applied="v1", promoted="v0")
    for _ in range(1000):
        loop.run()
        published |= loop.memory.published
        sizes.append(len(loop.memory.published))
    assert len(published) > 900
    assert 50 < max(sizes) < 80
