"""The users of a rehearsal: real requests at a steady rate."""
