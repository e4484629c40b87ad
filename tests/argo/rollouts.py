"""Rollouts and templates of Argo, in the shapes that its users write."""

from __future__ import annotations

TEMPLATE = {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "shop", "image": "shop:1"}]}}
SELECTOR = {"matchLabels": {"app": "shop"}}
ISTIO = {"istio": {"virtualService": {"name": "shop"}}}


def rollout(strategy, **spec):
    """Return a Rollout `shop` with this strategy."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "shop", "namespace": "test"},
        "spec": {
            "replicas": 3,
            "selector": SELECTOR,
            "template": TEMPLATE,
            "progressDeadlineAbort": True,
            "strategy": strategy,
            **spec,
        },
    }


def canary(*steps, routing=None, **fields):
    """Return a Rollout by steps behind an Ingress of NGINX."""
    routing = {"nginx": {"stableIngress": "shop"}} if routing is None else routing
    services = {"stableService": "shop", "canaryService": "shop-preview"}
    return rollout({"canary": {**services, "trafficRouting": routing, "steps": list(steps), **fields}})


def blue_green(**fields):
    return rollout({"blueGreen": {"activeService": "shop", "previewService": "shop-preview", **fields}})


def template(*metrics, kind="AnalysisTemplate", name="quality", **spec):
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"metrics": list(metrics), **spec},
    }


def metric(name="success-rate", **fields):
    """Return a metric of Prometheus; a value of None removes a field."""
    body = {
        "name": name,
        "interval": "1m",
        "successCondition": "result[0] >= 0.95",
        "provider": {"prometheus": {"address": "http://prometheus:9090", "query": "sum(rate({{args.series}}[1m]))"}},
        **fields,
    }
    return {field: value for field, value in body.items() if value is not None}


def use(*names, **fields):
    """Return the field `analysis` that refers to templates."""
    arguments = [{"name": "series", "value": "requests"}]
    return {"templates": [{"templateName": name} for name in names or ("quality",)], "args": arguments, **fields}


SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "shop"},
    "spec": {"selector": {"app": "shop"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
}

PAUSE, SHORT = {"pause": {}}, {"pause": {"duration": "10m"}}
EXAMPLES = {
    "weights and pauses": [canary({"setWeight": 20}, PAUSE, {"setWeight": 40}, SHORT, {"setWeight": 80}, SHORT)],
    "sizes of the canary": [
        canary(
            *({"setCanaryScale": {"replicas": 2}}, {"setWeight": 20}, PAUSE),
            *({"setCanaryScale": {"weight": 50}}, {"setWeight": 40}, SHORT, {"setWeight": 45}),
            *({"setCanaryScale": {"matchTrafficWeight": True}}, {"setWeight": 80}),
        )
    ],
    "weights alone": [canary({"setWeight": 25}, {"setWeight": 75})],
    "seconds without a unit": [canary({"setWeight": 25}, {"pause": {"duration": 30}})],
    "an analysis of a step": [
        canary({"setWeight": 25}, {"setWeight": 50}, {"analysis": use()}),
        template(metric(count=3)),
    ],
    "an analysis in the background": [
        canary({"setWeight": 10}, SHORT, {"setWeight": 50}, SHORT, analysis=use(startingStep=2)),
        template(metric()),
    ],
    "a template of the cluster": [
        canary(
            {"setWeight": 25}, {"analysis": {**use(), "templates": [{"templateName": "quality", "clusterScope": True}]}}
        ),
        template(metric(), kind="ClusterAnalysisTemplate"),
    ],
    "templates of templates": [
        canary({"setWeight": 25}, {"analysis": use("outer")}),
        template(name="outer", templates=[{"templateName": "quality"}]),
        template(metric(failureLimit=2, inconclusiveLimit=1)),
    ],
    "blue/green": [blue_green(autoPromotionEnabled=True)],
    "blue/green after a while": [blue_green(autoPromotionSeconds=60)],
    "blue/green with an analysis before": [blue_green(prePromotionAnalysis=use()), template(metric())],
    "istio": [
        canary({"setWeight": 5}, SHORT, routing={"istio": {"virtualService": {"name": "shop", "routes": ["primary"]}}}),
        {
            "apiVersion": "networking.istio.io/v1beta1",
            "kind": "VirtualService",
            "metadata": {"name": "shop"},
            "spec": {"hosts": ["shop.example.com"], "gateways": ["public"], "http": []},
        },
    ],
    "apisix": [canary({"setWeight": 5}, routing={"apisix": {"route": {"name": "shop", "rules": ["all"]}}})],
    "a rollback window": [
        rollout({"blueGreen": {"activeService": "shop", "previewService": "next"}}, rollbackWindow={"revisions": 3})
    ],
    "a mirror first": [
        canary(
            {"setMirrorRoute": {"name": "mirror", "percentage": 35, "match": [{"path": {"prefix": "/"}}]}},
            {"setWeight": 20},
            routing={"istio": {"virtualService": {"name": "shop"}}},
        )
    ],
    "a Deployment elsewhere": [
        rollout(
            {
                "canary": {
                    "steps": [{"setWeight": 20}],
                    "trafficRouting": {"traefik": {"weightedTraefikServiceName": "shop"}},
                }
            },
            template=None,
            selector=None,
            replicas=None,
            workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
        ),
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "shop"},
            "spec": {"selector": SELECTOR, "template": TEMPLATE},
        },
    ],
}
"""Documents that convert without an error, and pass the linter without one."""
