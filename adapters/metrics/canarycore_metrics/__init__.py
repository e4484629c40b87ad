"""Metric providers for canarycore, one module each.

source            the base of all providers: a query over HTTP
answers           a strict reader of numbers in answers
template          queries as Go templates
prometheus        instant queries to a server with the API of Prometheus
datadog, dynatrace, graphite, influxdb, newrelic, splunk
cloudwatch, stackdriver   providers with credentials of clouds
cluster           the base of the next two: a Kubernetes API
externalmetrics   Kubernetes' external metrics
keptn             KeptnMetrics and analyses
"""
