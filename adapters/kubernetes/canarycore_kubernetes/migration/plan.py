"""The plan of a migration: the equivalent installation, the Canaries, the steps and the way back.

plan = await plan_migration(client)          from the Deployment of Flagger on a cluster
plan = make_plan(read_values(values, name))  from a file, without a cluster
"""

from __future__ import annotations

import shlex
from contextlib import aclosing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from attrs import asdict, frozen

from canarycore import Phase
from canarycore.errors import Refused
from canarycore.foreign import get_items, get_text
from canarycore.phases import IDLE
from canarycore_kubernetes.api.client import NotFound
from canarycore_kubernetes.api.kinds import CANARY, DEPLOYMENT
from canarycore_kubernetes.deploy.objects import NAME
from canarycore_kubernetes.migration.equivalent import EquivalentInstallation, find_equivalent
from canarycore_kubernetes.migration.settings import FlaggerSettings, is_flagger, read_deployment
from canarycore_runtime.mesh import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from canarycore_kubernetes.api.client import Client
    from canarycore_runtime.mesh import Json

SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")

IMAGE = f"registry.example.com/{NAME}:0.1.0"
"""The place of the image in commands: no registry has one."""

VALUES_FILE = f"{NAME}-values.yaml"
"""The file in commands that has the values of the chart."""

HAND_BACK_WARNING = (
    "Flagger does not know our names of revisions, so it analyses the target's revision of each Canary again. In Failed"
    " this is the rejected one, which then gets requests of users: return those targets first."
)
"""The warning before Flagger starts again."""


@frozen(kw_only=True)
class MigrationStep:
    """One step of a migration."""

    text: str
    """The purpose, as a sentence."""
    command: str
    """The command."""


@frozen(kw_only=True)
class MigrationPlan:
    """The plan of a migration."""

    settings: FlaggerSettings
    """The settings of the installed Flagger."""
    equivalent: EquivalentInstallation
    """The equivalent installation."""
    phases: Mapping[str, str]
    """The phase of each Canary of the cluster by its key; empty without a cluster."""
    steps: tuple[MigrationStep, ...]
    """The steps of the takeover."""
    way_back: tuple[MigrationStep, ...]
    """The steps of the hand-back."""

    @property
    def under_way(self) -> tuple[str, ...]:
        """The Canaries with a rollout under way."""
        return tuple(key for key, phase in self.phases.items() if phase not in _IDLE)

    def to_json(self) -> Json:
        """Return the plan as plain data, without secret values."""
        equivalent = self.equivalent
        return {
            "source": self.settings.source,
            "values": equivalent.values,
            "install": list(equivalent.install),
            "chart_only": list(equivalent.chart_only),
            "secrets": dict(equivalent.secrets),
            "differences": [asdict(each) for each in equivalent.differences],
            "refusals": [asdict(each) for each in equivalent.refusals],
            "canaries": dict(self.phases),
            "under_way": list(self.under_way),
            "steps": [asdict(step) for step in self.steps],
            "way_back": [asdict(step) for step in self.way_back],
            "warning": HAND_BACK_WARNING,
        }


_IDLE = {phase.value for phase in IDLE}


async def plan_migration(client: Client, *, namespace: str = "") -> MigrationPlan:
    """Return the plan for the Flagger of a cluster. It writes nothing.

    Args:
        client: The API server, with rights to list Deployments and Canaries.
        namespace: The namespace of Flagger; empty to search all.

    Raise Refused where no Deployment runs Flagger, or several do.
    """
    async with aclosing(client.list(DEPLOYMENT, namespace)) as pages:
        deployments = [body async for page in pages for body in page["items"] if is_flagger(body)]
    where = f"the namespace {namespace}" if namespace else "any namespace"
    if not deployments:
        raise Refused(
            f"found no Deployment of Flagger in {where}, expected one with the image flagger: give its Deployment as a"
            " file, or the values of its chart by --values"
        )
    if len(deployments) > 1:
        names = ", ".join(sorted(_full_name(body) for body in deployments))
        raise Refused(f"found several Deployments of Flagger ({names}), expected one: select it by --namespace")
    (body,) = deployments
    account = get_text(body, "spec", "template", "spec", "serviceAccountName") or "default"
    home = body["metadata"]["namespace"]
    settings = read_deployment(body, await client.get(SERVICE_ACCOUNT, home, account))
    watched = str(settings.values.get("namespace", ""))
    return make_plan(settings, await _list_canaries(client, watched))


async def _list_canaries(client: Client, namespace: str) -> list[Json]:
    """Return all Canaries; none if the cluster does not know them."""
    try:
        async with aclosing(client.list(CANARY, namespace)) as pages:
            return [body async for page in pages for body in page["items"]]
    except NotFound:
        return []


def make_plan(settings: FlaggerSettings, canaries: Iterable[Json] = ()) -> MigrationPlan:
    """Return the plan for these settings of Flagger. canaries: those of the cluster."""
    canaries = tuple(canaries)
    equivalent = find_equivalent(settings, [get_text(body, "spec", "provider") for body in canaries])
    return MigrationPlan(
        settings=settings,
        equivalent=equivalent,
        phases={_full_name(body): get_text(body, "status", "phase") or Phase.INITIALIZING.value for body in canaries},
        steps=tuple(_steps(settings, equivalent)),
        way_back=tuple(_steps_back(settings)),
    )


def find_deployment(documents: Iterable[Any]) -> Json | None:
    """Return the first Deployment of Flagger among the documents of a file; None if there is none."""
    bodies = [body for document in documents for body in (document, *get_items(document, "items"))]
    return next((body for body in bodies if body.get("kind") == DEPLOYMENT.kind and is_flagger(body)), None)


def _steps(settings: FlaggerSettings, equivalent: EquivalentInstallation) -> Iterator[MigrationStep]:
    scope = f"-n {shlex.quote(str(settings.values['namespace']))}" if settings.values.get("namespace") else "-A"
    home = settings.namespace or NAME
    observe = shlex.join(["canary", "install", "--observe", "--image", IMAGE, *_observer_arguments(equivalent)])
    yield MigrationStep(text="Check the Canaries and the cluster.", command=f"canary lint --cluster {scope}")
    yield MigrationStep(text="Observe beside Flagger for some rollouts; nothing is written.", command=observe)
    yield MigrationStep(text="Wait until no rollout is under way.", command=f"canary get {scope}")
    yield MigrationStep(text="Stop Flagger. Requests keep their routes.", command=_scale(settings, 0))
    if equivalent.chart_only or settings.is_chart or settings.release:
        yield MigrationStep(
            text=f"Install the controller. {VALUES_FILE} has the values above.",
            command=_helm_command(home, equivalent),
        )
    else:
        install = shlex.join(["canary", "install", "--image", IMAGE, *equivalent.install])
        yield MigrationStep(text="Install the controller.", command=install)
    yield MigrationStep(text="Look at the Canaries: each has its phase from before.", command=f"canary get {scope}")


def _observer_arguments(equivalent: EquivalentInstallation) -> list[str]:
    """Return the arguments of the observer: the place, the providers, the scope and the metrics server."""
    options = ("--namespace", "--provider", "--watched", "--metrics-server")
    arguments = equivalent.install
    return [part for option, value in pairwise(arguments) if option in options for part in (option, value)]


def _helm_command(home: str, equivalent: EquivalentInstallation) -> str:
    repository, _, tag = IMAGE.rpartition(":")
    secrets = [
        f'--set "{path}=${variable}"'
        for path, variable in equivalent.secrets.items()
        if path[0] != "-" and "env." not in path
    ]
    image = f"--set image.repository={repository} --set image.tag={tag}"
    command = (
        f"helm install {NAME} deploy/helm/{NAME} -n {shlex.quote(home)} --create-namespace -f {VALUES_FILE} {image}"
    )
    return " ".join([command, *secrets])


def _steps_back(settings: FlaggerSettings) -> Iterator[MigrationStep]:
    home = settings.namespace or NAME
    yield MigrationStep(text="Wait until no rollout is under way.", command="canary get -A")
    yield MigrationStep(
        text="Return the target of each Failed Canary to its promoted revision.", command="canary migrate --back"
    )
    yield MigrationStep(
        text="Stop this controller.", command=f"kubectl -n {shlex.quote(home)} scale deployment/{NAME} --replicas=0"
    )
    yield MigrationStep(
        text="Start Flagger. It analyses each target once.", command=_scale(settings, _replicas(settings))
    )


def _scale(settings: FlaggerSettings, replicas: int) -> str:
    home = shlex.quote(settings.namespace or "flagger-system")
    return f"kubectl -n {home} scale deployment/{shlex.quote(settings.name)} --replicas={replicas}"


def _replicas(settings: FlaggerSettings) -> int:
    count = str(settings.values.get("leaderElection.replicaCount", ""))
    return int(count) if count.isdigit() else 1


def _full_name(body: Json) -> str:
    return f"{body['metadata'].get('namespace', 'default')}/{body['metadata']['name']}"
