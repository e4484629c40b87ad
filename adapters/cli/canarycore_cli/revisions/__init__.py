"""The revisions of a target on a cluster."""
