"""For tests, rehearsals and proofs: a simulated cluster with faults, the invariants, and Hypothesis strategies.

    from canarycore.testing import Deploy, World

`canarycore.testing.World` is a cluster to run the driver against; `canarycore.World` is one observation of a cluster.
Strategies are in `canarycore.testing.strategies` and need `pip install canarycore[testing]`.
"""

from canarycore.testing._actions import (
    Action,
    Answer,
    Delete,
    Deploy,
    Edit,
    Measure,
    Order,
    Recreate,
    RemoveTarget,
    RouteByHand,
    ScalePrimary,
    ScaleTarget,
    SetPace,
    SetScaler,
    SourcesAre,
)
from canarycore.testing._metrics import Asked, Binomial, ByRevision, Constant, Metrics, Scripted, healthy, scripted, sick
from canarycore.testing._state import (
    AT_ONCE,
    NEVER,
    Fault,
    FaultKind,
    Pace,
    Pods,
    Scaler,
    State,
    after,
    apply,
    crash_loop,
    next_change,
    observe,
    stuck,
)
from canarycore.testing.world import BusyLoop, NeverHappened, Record, World, Write
