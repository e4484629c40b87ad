"""Webhooks for canarycore: `canarycore_hooks.webhook` calls them."""
