"""A load tester for canaries, with the endpoints of Flagger's.

server        the endpoints
payload       the body of a request
gates         the gates, and the file that keeps them
tasks         the types of tasks
allowed       the programs that tasks may run
programs      one program, with bounded output and time
delegates     tasks that nGrinder and Concord carry out
runner        the tasks that run and wait
telemetry     metrics
options       the options of the server
generator     the load generator
"""
