"""An open-loop load generator for HTTP/1.1, HTTP/2 and gRPC.

    plan            a load: its target, rate, connections and duration
    engine          the schedule: it sends each request when it is due, and measures from that time
    http1, http2    the clients
    latencies       a histogram
    report          the result, as text
    command_lines   the command lines of hey, wrk and ghz, as plans

`python -m canarycore_loadtester.generator hey -z 1m -q 10 -c 2 http://podinfo:9898/` runs a command line.

A generator that waits for an answer before it sends the next request measures a slow server too rarely: it omits the
requests that users would have sent in the meantime (coordinated omission). This generator has a schedule. A request
that is due while all connections are busy waits, and the wait is a part of its latency.
"""
