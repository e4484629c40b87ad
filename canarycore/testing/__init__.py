"""Tools for the tests of projects that use canarycore.

`canarycore.testing.strategies` has Hypothesis strategies for rollouts, statuses, observations and schedules, and
`canarycore.testing.stateful` a state machine that runs any life of a rollout. Both need
`pip install 'canarycore[testing]'`. The simulated cluster itself is in `canarycore.simulation`.
"""
