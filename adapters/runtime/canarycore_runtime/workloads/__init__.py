"""Bases for workloads: things that are no pods, and the arithmetic of a split by numbers of pods."""
