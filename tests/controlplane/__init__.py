"""The parts of a control plane for tests, beside those of `canarycore_planes.control_plane`.

plane       a real control plane with kinds           proxy       faults between a client and the API server
crds        the kinds of ../shared/crds               in_memory   an API server in memory, for tests of speed and scale
contract    claims that hold for both                 verdicts    gateways that accept every route
rights      accounts with the rights of a controller  endpoints   the endpoints of Services
"""
