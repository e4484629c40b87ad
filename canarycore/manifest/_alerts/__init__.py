"""Annotations about alerts: subscriptions of Canaries, and texts and links of AlertProviders."""
