"""Commands that start, show and control a rehearsal on this machine."""
