"""Metrics servers and chats that Canaries name: the ports MetricSource and Notifier."""
