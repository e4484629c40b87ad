"""Targets and their primary copies: the port WorkloadPort."""
