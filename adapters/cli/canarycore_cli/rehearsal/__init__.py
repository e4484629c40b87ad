"""Commands that start, show and steer a rehearsal on this machine."""
