"""Canaries and the resources that they refer to: Rollouts, statuses, events, templates."""
