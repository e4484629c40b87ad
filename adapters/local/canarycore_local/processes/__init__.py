"""The versions of a rehearsal: real processes, the warden that owns them, and the built-in service."""
