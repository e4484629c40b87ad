"""A real control plane for tests: etcd, kube-apiserver and kube-controller-manager on loopback, in a temporary folder.

binaries    where the programs come from          kubelet     pods that get ready, as rules say
plane       starts and stops them                 audit       who asked the API server for what, and how often
api         reads and writes objects, for tests   proxy       faults between a client and the API server
crds        the kinds of ../shared/crds           fake        an API server in memory, for tests of speed and scale
contract    claims that hold for both             objects     what it keeps
verdicts    gateways that accept every route
"""
