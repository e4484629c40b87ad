"""canarycore on one machine: a real Envoy routes real requests between real processes.

`canarycore_local.rehearsal` combines the parts:

    processes/versions     the versions to roll out: a command or the built-in service, with faults
    processes/service      the built-in service
    processes/warden       the parent of all processes, which stops every one of them in the end
    processes/supervisor   the client of the warden
    envoy/proxy            the data plane: bootstrap, endpoints, admin interface
    envoy/router           the port Router: rungs as Envoy routes
    envoy/metrics          the port MetricSource: success rate and P99 from Envoy's counters
    requests/generator     the open-loop traffic generator
    requests/loadtest      requests straight to the canary, for policies that send it no other requests
    requests/matching      an example request for a match condition
    workload               the port Workload: target and primary as processes
    hooks                  the port Hook, answered on this machine
    store                  the port StatusStore, in SQLite
    state_folder           the private folder of a rehearsal
"""
