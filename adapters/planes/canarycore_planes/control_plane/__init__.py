"""A Kubernetes control plane of processes on loopback, in a temporary folder.

binaries    where the programs come from          kubelet     pods that get ready, as rules say
plane       starts and stops them                 audit       the requests to the API server, by user
api         a client of the API server
"""
