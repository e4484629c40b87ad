"""canarycore_kubernetes: the ports over a Kubernetes API server, and the controller that is made of them.

`Client` speaks raw JSON with the API server, `Cluster` adds a cache per kind, and the ports stand on `Cluster`.
"""
