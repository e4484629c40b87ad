"""The series that real proxies and Prometheus's discovery export: metric, labels and the forms of statuses.

Each text has a request that succeeded and one that failed, as a scrape of the proxy shows them. Names and labels are
those of Traefik 3, Skipper 0.2x, Envoy 1.3x, ingress-nginx 1.1x, APISIX 3, Istio 1.2x, linkerd2-proxy, OSM 1.2 and
podinfo 6. A label after `;` comes from the discovery or relabelling of Prometheus, not from the proxy.
"""

from __future__ import annotations

import re

ENVOY = """
envoy_cluster_upstream_rq{envoy_response_code="200",envoy_cluster_name="test_podinfo-canary_80"} 9
envoy_cluster_upstream_rq{envoy_response_code="503",envoy_cluster_name="test_podinfo-canary_80"} 1
envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="test_podinfo-canary_80",le="0.5"} 9
"""
PODS = ';kubernetes_namespace="test",kubernetes_pod_name="podinfo-5d8f7c9b4-x2x4z"'
ISTIO = """
istio_requests_total{reporter="destination",destination_workload="podinfo",destination_workload_namespace="test",\
response_code="200"} 9
istio_requests_total{reporter="destination",destination_workload="podinfo",destination_workload_namespace="test",\
response_code="503"} 1
istio_request_duration_milliseconds_bucket{reporter="destination",destination_workload="podinfo",\
destination_workload_namespace="test",response_code="200",le="0.5"} 9
"""
APP = f"""
http_request_duration_seconds_bucket{{method="GET",path="root",status="200"{PODS},le="0.005"}} 9
http_request_duration_seconds_count{{method="GET",path="root",status="200"{PODS}}} 9
http_request_duration_seconds_count{{method="GET",path="root",status="500"{PODS}}} 1
"""
NGINX = 'host="app.test",ingress="web",method="GET",namespace="test",path="/",service="podinfo-canary"'

TEXTS = {
    "apisix": """
apisix_http_status{code="200",route="test_web_rule-podinfo-canary_0",matched_uri="/*",matched_host="app.test",\
service="",consumer="",node="10.0.0.1"} 9
apisix_http_status{code="502",route="test_web_rule-podinfo-canary_0",matched_uri="/*",matched_host="app.test",\
service="",consumer="",node="10.0.0.1"} 1
apisix_http_latency_bucket{type="request",route="test_web_rule-podinfo-canary_0",service="",consumer="",\
node="10.0.0.1",le="1"} 9
""",
    "contour": ENVOY,
    "gloo": ENVOY,
    "knative": ENVOY,
    "istio": ISTIO,
    "kuma": ENVOY.replace("envoy_cluster_name=", ';service="podinfo-canary_test_svc_80",envoy_cluster_name='),
    "linkerd": """
response_total{direction="inbound",classification="success",status_code="200";namespace="test",deployment="podinfo"} 9
response_total{direction="inbound",classification="failure",status_code="500";namespace="test",deployment="podinfo"} 1
response_latency_ms_bucket{direction="inbound",status_code="200";namespace="test",deployment="podinfo",le="1"} 9
""",
    "nginx": f"""
nginx_ingress_controller_requests{{canary="test-podinfo-canary-80",{NGINX},status="200"}} 9
nginx_ingress_controller_requests{{canary="test-podinfo-canary-80",{NGINX},status="502"}} 1
nginx_ingress_controller_response_duration_seconds_sum{{canary="test-podinfo-canary-80",{NGINX},status="200"}} 0.1
nginx_ingress_controller_response_duration_seconds_count{{canary="test-podinfo-canary-80",{NGINX},status="200"}} 9
""",
    "osm": """
osm_request_total{destination_kind="Deployment",destination_name="podinfo",destination_namespace="test",\
response_code="200",source_name="web"} 9
osm_request_total{destination_kind="Deployment",destination_name="podinfo",destination_namespace="test",\
response_code="503",source_name="web"} 1
osm_request_duration_ms_bucket{destination_kind="Deployment",destination_name="podinfo",\
destination_namespace="test",source_name="web",le="0.5"} 9
""",
    "skipper": """
skipper_response_duration_seconds_bucket{code="200",method="GET",route="kube_test__web_canary__a__b__c",le="+Inf"} 9
skipper_response_duration_seconds_bucket{code="502",method="GET",route="kube_test__web_canary__a__b__c",le="+Inf"} 1
skipper_serve_route_duration_seconds_sum{code="200",method="GET",route="kube_test__web_canary__a__b__c"} 0.1
skipper_serve_route_duration_seconds_count{code="200",method="GET",route="kube_test__web_canary__a__b__c"} 9
""",
    "traefik": """
traefik_service_request_duration_seconds_bucket{code="200",method="GET",protocol="http",\
service="test-podinfo-canary-80@kubernetescrd",le="+Inf"} 9
traefik_service_request_duration_seconds_bucket{code="502",method="GET",protocol="http",\
service="test-podinfo-canary-80@kubernetescrd",le="+Inf"} 1
""",
    **dict.fromkeys(("appmesh", "appmesh:v1beta1", "appmesh:v1beta2"), ENVOY.replace("{", f"{{{PODS[1:]},")),
    **dict.fromkeys(("alb", "gatewayapi:v1", "gatewayapi:v1beta1", "kubernetes", "replicas"), APP),
    **dict.fromkeys(("smi:v1alpha1", "smi:v1alpha2", "smi:v1alpha3"), ISTIO),
}
"""The text of each provider's metrics."""

FAILURES = re.compile(r"5[0-9]{2}|failure")
"""Pattern of the status of a failed request."""


def series_of(provider: str) -> list[tuple[str, dict[str, str]]]:
    """Return the series of a provider: metric and labels."""
    lines = TEXTS[provider].strip().splitlines()
    parts = (line.replace(";", ",").partition("{") for line in lines)
    return [(metric, dict(re.findall(r'(\w+)="([^"]*)"', rest))) for metric, _, rest in parts]
