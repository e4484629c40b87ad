"""The data plane of a rehearsal: a real Envoy, its routes and its counters."""
