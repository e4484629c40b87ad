"""The command `canary`.

Its modules, in the order in which a reader needs them:

    main        the commands and their options; every command's own module is imported when it runs
    console     printing, exit codes, errors
    manifests   files and folders to rollouts
    lint        canary lint: what parses but cannot work
    simulate    canary simulate: what a policy would do, on simulated time
    rehearse    canary rehearse: what it does, with real requests on this machine
    commands    canary promote, abort, pause, resume, retry, skip-to, status: talk to a rehearsal that runs
"""
