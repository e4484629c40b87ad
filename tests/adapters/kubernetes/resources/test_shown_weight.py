"""`status.canaryWeight` shows where the requests go, in a failover too."""

from __future__ import annotations

from types import SimpleNamespace

from canarycore import Routes, Rung, Status
from canarycore_kubernetes.resources.status_codec import read_status, write_status
from canarycore_kubernetes.resources.store import CanaryStore
from canarycore_kubernetes.routing.router import MeshRouter
from tests.core.scenarios import policy

ROLLOUT = policy()
KEY = f"{ROLLOUT.namespace}/{ROLLOUT.name}"


def canary(shown, weight, *, is_flagger_status=False):
    status = Status(since=1.0, rung=Rung(weight=weight))
    return SimpleNamespace(shown_weight=shown, status=status, is_flagger_status=is_flagger_status, rollout=ROLLOUT)


def shown(stored, diverted, weight=None):
    """Return the weight that a commit writes."""
    store = CanaryStore(None, None, None, diverted=diverted)
    return store._shown_weight(KEY, stored, stored.status if weight is None else Status(rung=Rung(weight=weight)))


def router_of(stored):
    return MeshRouter(None, SimpleNamespace(require=lambda _: stored))


def test_a_rung_shows_its_weight():
    router = router_of(canary(20, 20))
    router._record_weight(ROLLOUT, Routes(weight=20))
    assert shown(canary(20, 20), router.diverted) == 20
    assert shown(canary(20, 20), router.diverted, weight=40) == 40


def test_a_failover_shows_the_weight_of_its_routes():
    router = router_of(canary(20, 20))
    router._record_weight(ROLLOUT, Routes(weight=100))
    assert shown(canary(20, 20), router.diverted) == 100
    router._record_weight(ROLLOUT, Routes(weight=0))
    assert shown(canary(100, 20), router.diverted) == 0
    router._record_weight(ROLLOUT, Routes(weight=20))
    assert shown(canary(0, 20), router.diverted) == 20


def test_a_new_process_keeps_the_weight_until_it_has_seen_the_routes():
    assert shown(canary(100, 20), router_of(canary(100, 20)).diverted) == 100


def test_an_adopted_status_shows_its_rung():
    """Flagger stores weight 0 in Promoting after a gate."""
    assert shown(canary(0, 50, is_flagger_status=True), router_of(canary(0, 50)).diverted) == 50


def test_the_rung_survives_a_status_that_shows_another_weight():
    status = Status(since=1.0, rung=Rung(weight=20), applied="v2", promoted="v1")
    stored = {name: value for name, value in write_status(ROLLOUT, status, weight=100).items() if value is not None}
    assert stored["canaryWeight"] == 100
    assert read_status(ROLLOUT, stored) == (status, False)
