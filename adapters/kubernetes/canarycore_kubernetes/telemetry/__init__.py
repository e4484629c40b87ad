"""Metrics, probes and logs of the controller."""
