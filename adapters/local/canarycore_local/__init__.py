"""canarycore on one machine: a real Envoy routes real requests between real processes.

`canarycore_local.rehearsal` puts the pieces together; each of them is a module of its own:

    versions   what is rolled out: a command or the built-in service, with faults
    service    the built-in service
    warden     the parent of every process, so that none is lost and none is left behind
    envoy      the data plane: bootstrap, endpoints, admin interface
    router     the port Router: rungs as Envoy routes
    workload   the port Workload: target and primary as processes
    metrics    the port MetricSource: success rate and P99 from Envoy's own counters
    traffic    the open-loop generator
    loadtest   requests straight to the canary, for policies that send it no others
    hooks      the port Hook, answered on this machine
    store      the port StatusStore, in SQLite
"""
