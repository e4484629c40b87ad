"""Bases for workloads that are no pods."""
