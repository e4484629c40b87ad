"""Metric providers for canarycore.

source       what all of them have in common
template     queries written as Go templates
prometheus   instant queries to a Prometheus server, or anything that answers like one
"""
