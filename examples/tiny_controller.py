"""The core in a controller of one's own. The cluster is a few variables and the clock is simulated: put yours there."""

import canarycore as cc

POLICY = cc.Rollout(
    name="podinfo",
    target=cc.TargetRef(name="podinfo"),
    ladder=cc.Ladder(step=20, top=60),
    checks=(cc.Check(name="request-success-rate", kind=cc.CheckKind.SUCCESS_RATE, minimum=99.0),),
)


class Controller:
    """Carries out what `cc.cycle` requests."""

    now, status, routes, memory = 0.0, cc.Status(), cc.Routes(), cc.Memory()
    target, primary, replicas = "v1", "", 2  # the revision that each side carries; the target's replicas

    def turn(self) -> cc.Rest:
        requests, reply = cc.cycle(self.memory), None
        while True:
            try:
                reply = self.fulfil(requests.send(reply))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # a generator's result

    def fulfil(self, request: cc.Request) -> object:
        match request:
            case cc.Observe():
                target, primary = workload(self.target, self.replicas), workload(self.primary, 2)
                world = cc.World(now=self.now, target=target, primary=primary, routes=self.routes)
                return cc.Seen(POLICY, self.status, world)
            case cc.Fetch(questions):  # ask your Prometheus, call your webhooks
                good, online = cc.MetricAnswer(value=99.9), cc.SourcesAnswer()
                return {asked.key: good if isinstance(asked, cc.MetricQuestion) else online for asked in questions}
            case cc.Commit(status):  # to your store, under a lock; raise Conflict when somebody else was first
                self.status = status
            case cc.Apply(cc.SetRoutes(routes)):
                self.routes = routes
            case cc.Apply(cc.Initialise(revision) | cc.Promote(revision)):
                self.primary = revision
            case cc.Apply(cc.ScaleUp() | cc.ScaleDown() as effect):
                self.replicas = 2 if isinstance(effect, cc.ScaleUp) else 0
            case cc.Publish(notice) if notice.channel is cc.Channel.EVENT:
                print(f"{self.now:4.0f}s  {notice.phase.value:<12}  {notice.text}")
        return None


def workload(carries: str, count: int) -> cc.Workload | None:
    pods = cc.Workload(revision=carries, desired=count, updated=count, ready=count, total=count)
    return pods if carries else None


if __name__ == "__main__":
    controller = Controller()
    while controller.status.phase is not cc.Phase.SUCCEEDED:
        controller.now = controller.turn().wake or controller.now
        if controller.status.phase is cc.Phase.INITIALIZED and controller.status.settled:
            controller.target = "v2"  # somebody deploys
