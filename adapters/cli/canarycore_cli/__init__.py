"""The command `canary`.

Its modules, in the order in which a reader needs them:

    main        the commands and their options; each command imports its module when it runs
    kubectl     the plug-in of kubectl, which runs the same commands
    console     output, exit codes, errors
    manifests   files and folders to rollouts
    lint        canary lint: print the problems of manifests
    simulate    canary simulate: run a policy on simulated time
    verify      canary verify: run a policy with faults at every step
    rehearsal   canary rehearse: run a policy with real requests on this machine, and the commands for it
    cluster     the commands on a cluster: install, get, describe, controller, and commands to a Canary
"""
