"""The Kubernetes API: a client, caches of objects, leader election, and the checks before a write."""
