"""Plug-ins of Acme for canarycore."""
