"""A rehearsal of a manifest on a real data plane, which leaves nothing behind.

requirements    the parts that this machine lacks, and the build of programs
manifest        a manifest's objects as a bench takes them
plan            all that a rehearsal needs, as plain data
namespaces      namespaces of Linux that hold the whole bench, and end with it
stage           the process inside: it starts the bench, plays the rollout and writes its story
"""
