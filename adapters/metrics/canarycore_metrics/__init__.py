"""Metric providers for canarycore.

prometheus   instant queries to a Prometheus server, or anything that answers like one
template     queries written as Go templates
"""
