"""The processes of a rehearsal: the versions, the warden that owns them, and the built-in service."""
