"""Metric providers for canarycore, one module each.

source            what all of them have in common: a query over HTTP
answers           numbers in answers, read strictly
template          queries written as Go templates
prometheus        instant queries to a Prometheus server, or anything that answers like one
datadog, dynatrace, graphite, influxdb, newrelic, splunk
cloudwatch, stackdriver   in need of more: credentials of clouds
cluster           what the next two have in common: a Kubernetes API
externalmetrics   Kubernetes' external metrics
keptn             KeptnMetrics and analyses
"""
