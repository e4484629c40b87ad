"""A complete controller around the core. Replace its variables with your cluster and its number with your clock."""

from canarycore import Check, CheckKind, Ladder, Observation, Phase, Rollout, Routes, Status, TargetRef, Workload, cycle
from canarycore.driver import Apply, Commit, CycleMemory, CycleResult, Fetch, Observe, Observed, Publish, Request
from canarycore.effects import Initialise, Promote, ScaleDown, ScaleUp, SetRoutes
from canarycore.notices import Channel
from canarycore.questions import MetricAnswer, MetricQuestion, SourcesAnswer

POLICY = Rollout(
    name="podinfo",
    target=TargetRef(name="podinfo"),
    ladder=Ladder(step=20, top=60),
    checks=(Check(name="request-success-rate", kind=CheckKind.SUCCESS_RATE, minimum=99.0),),
)


class Controller:
    """A controller of one rollout; it carries out the requests of `cycle`."""

    now, status, routes, memory = 0.0, Status(), Routes(), CycleMemory()
    target, primary, replicas = "v1", "", 2  # the revision of each side; the target's replicas

    def run_cycle(self) -> CycleResult:
        requests, reply = cycle(self.memory), None
        while True:
            try:
                reply = self.fulfil(requests.send(reply))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a generator's result

    def fulfil(self, request: Request) -> object:
        match request:
            case Observe():
                target, primary = observe(self.target, self.replicas), observe(self.primary, 2)
                observation = Observation(now=self.now, target=target, primary=primary, routes=self.routes)
                return Observed(POLICY, self.status, observation)
            case Fetch(questions):  # query your Prometheus, call your webhooks
                good, online = MetricAnswer(value=99.9), SourcesAnswer()
                return {each.key: good if isinstance(each, MetricQuestion) else online for each in questions}
            case Commit(status):  # to your store, under a lock; raise Conflict if another process was first
                self.status = status
            case Apply(SetRoutes(routes)):
                self.routes = routes
            case Apply(Initialise(revision) | Promote(revision)):
                self.primary = revision
            case Apply(ScaleUp() | ScaleDown() as effect):
                self.replicas = 2 if isinstance(effect, ScaleUp) else 0
            case Publish(notice) if notice.channel is Channel.EVENT:
                print(f"{self.now:4.0f}s  {notice.phase.value:<12}  {notice.text}")
        return None


def observe(revision: str, count: int) -> Workload | None:
    pods = Workload(revision=revision, desired=count, updated=count, ready=count, total=count)
    return pods if revision else None


if __name__ == "__main__":
    controller = Controller()
    while controller.status.phase is not Phase.SUCCEEDED:
        controller.now = controller.run_cycle().wake or controller.now
        if controller.status.phase is Phase.INITIALIZED and controller.status.is_settled:
            controller.target = "v2"  # a deployment
