"""canarycore_kubernetes: the ports of a Kubernetes cluster, and the controller.

`Client` speaks raw JSON with the API server, `Cluster` adds a cache per kind, and the ports use `Cluster`.
"""
