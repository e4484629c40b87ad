"""The hosts that a Canary may name: a forbidden one is a problem of the manifest."""

import pytest

from canarycore.manifest import parse
from canarycore_kubernetes.resources.hosts import find_forbidden_hosts
from canarycore_runtime.http import AllowedHosts

OWN = "http://prometheus:9090"


def canary(*urls, **spec):
    webhooks = [{"name": f"hook-{place}", "type": "rollout", "url": url} for place, url in enumerate(urls)]
    return parse(
        {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {"name": "podinfo", "namespace": "test"},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo"},
                "service": {"port": 80},
                "analysis": {"interval": "10s", "threshold": 3, "stepWeight": 20, "webhooks": webhooks},
                **spec,
            },
        }
    )


def problems(manifest, hosts="*.example.com,tests.ops:8080"):
    return list(find_forbidden_hosts(manifest, AllowedHosts.parse(hosts), OWN))


def test_without_a_list_every_host_may_be_named():
    assert problems(canary("http://anywhere", metricsServer="http://anywhere"), hosts="") == []


def test_a_hook_at_a_forbidden_host_is_a_problem_with_path_and_remedy():
    (problem,) = problems(canary("http://hooks.example.com/a", "http://user:secret@169.254.169.254/secret"))
    assert problem.path == "spec.analysis.webhooks[1].url"
    assert "webhook hook-1" in problem.found
    assert "--allowed-hosts" in problem.expected
    assert "169.254.169.254" in problem.remedy
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    "url", ["http://tests.ops/", "http://tests.ops:80/", "http://example.com/", "http://a.examplexcom"]
)
def test_a_host_of_a_similar_name_is_not_allowed(url):
    assert len(problems(canary(url))) == 1


@pytest.mark.parametrize("url", ["http://tests.ops:8080/", "https://a.b.EXAMPLE.com./", "http://x.example.com:1/"])
def test_an_entry_allows_its_host(url):
    assert problems(canary(url)) == []


def test_a_metrics_server_at_another_host_is_a_problem():
    (problem,) = problems(canary(metricsServer="http://elsewhere"))
    assert problem.path == "spec.metricsServer"


def test_a_canary_may_name_the_controllers_own_metrics_server():
    assert problems(canary(metricsServer=OWN)) == []
