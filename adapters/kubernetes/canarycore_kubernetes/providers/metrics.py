"""The port MetricSource on a cluster: each check is asked where its manifest says.

    request-success-rate, request-duration   the mesh's queries, of the metrics server
    query                                    PromQL, of the metrics server
    templateRef                              the MetricTemplate's query, of its provider, with its Secret

The metrics server is the canary's `spec.metricsServer`, or else the controller's. Providers are adapters that other
distributions bring; one that is not installed is an error that names those that are.

The operator may say which servers Canaries and templates may name (`allowed`); the controller's own metrics server
needs no permission, and a template without an address asks the server of its provider.

A Secret is kept for a minute; when a provider turns us away meanwhile it is read again, and a provider whose Secret was
renewed is asked again.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Self

from attrs import evolve, field, frozen

from canarycore import CheckKind
from canarycore.errors import CanaryError, WorldError
from canarycore.questions import MetricAnswer
from canarycore_kubernetes.api.secrets import Secrets, WithheldError
from canarycore_kubernetes.resources.references import TEMPLATE_VIEW, find_reference
from canarycore_runtime import load
from canarycore_runtime.http import AllowedHosts, origin_of
from canarycore_runtime.pool import Pool
from canarycore_runtime.registry import AdapterLoader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
    from types import TracebackType

    from canarycore import Check, Reference, Rollout
    from canarycore.manifest import Canary
    from canarycore.questions import MetricQuestion
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_runtime.mesh import Mesh
    from canarycore_runtime.ports import MetricSource

SERVER = "prometheus"
"""The provider that a metrics server is."""

LINKERD = "linkerd"
"""The mesh that measures behind any ingress: where it is the controller's, its queries are put for all canaries."""

ASK_THE_CLUSTER = frozenset({"externalmetrics", "keptn"})
"""Providers that ask the cluster's own API server as the controller, which may read every namespace."""

MISSING = "not avaiable"
"""As Flagger spells it: whoever looks for its event finds it."""


@frozen(kw_only=True)
class Provider:
    """A provider as its template describes it. Whatever may carry a credential is not printed.

    namespace: whose it is, as no two namespaces share an adapter; empty for the controller's own.
    """

    type: str
    namespace: str = ""
    address: str = field(default="", repr=False)
    headers: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), repr=False)
    secret: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    region: str = ""
    insecure_skip_verify: bool = False


@frozen(kw_only=True)
class Inquiry:
    """A check's query and whom it is put to.

    place: how errors call the provider. setting: the same, when it is how it is set up that is wrong. secret: the
    namespace and name of its Secret. milliseconds: how many of them the unit of a duration is.
    """

    provider: Provider
    check: Check
    place: str
    setting: str
    secret: tuple[str, str] | None = None
    milliseconds: float = 1.0


class TemplateSources:
    """Answers metric questions, while its context is open.

    canary: the manifest behind a rollout; raises WorldError when it is gone. mesh: by a provider's name.
    query_variables: what a rollout's queries may name besides `interval` and `variables`. metrics_server,
    mesh_provider: the controller's. cross_namespace: whether templates of other namespaces may be used. allowed: the
    hosts that they may name. secrets: whether Secrets are read. adapter: the factory of a provider's adapter.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        canary: Callable[[Rollout], Canary],
        mesh: Callable[[str], Mesh],
        query_variables: Callable[[Rollout], Mapping[str, str]],
        metrics_server: str,
        mesh_provider: str = "istio",
        cross_namespace: bool = True,
        allowed: AllowedHosts | None = None,
        secrets: bool = True,
        adapter: Callable[[str], Callable[..., Any]] = lambda name: load("metrics", name),
    ) -> None:
        self._cluster = cluster
        self._canary = canary
        self._mesh = mesh
        self._query_variables = query_variables
        self._server = metrics_server
        self._mesh_provider = mesh_provider
        self._cross_namespace = cross_namespace
        self._loader = AdapterLoader(adapter)
        self._secrets = Secrets(cluster, readable=secrets)
        self._allowed = allowed or AllowedHosts()
        self._pool: Pool[Provider, MetricSource] = Pool(self._open, group=lambda provider: provider.namespace)

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.__aexit__(kind, error, trace)

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """The value of a check over its window. Whatever goes wrong is an answer that says so.

        Raises WithheldError where the answer depends on a Secret, and Secrets are not read.
        """
        try:
            inquiry = await self._inquiry(rollout, question.check)
            answer = await self._ask(rollout, question, inquiry)
            if answer.error and inquiry.secret is not None:
                self._secrets.forget(*inquiry.secret)
                renewed = await self._inquiry(rollout, question.check)
                if renewed != inquiry:
                    answer = await self._ask(rollout, question, renewed)
        except WithheldError:
            raise
        except CanaryError as error:
            return MetricAnswer(error=str(error))
        return answer

    async def online(self, rollout: Rollout) -> str:
        """Empty when all providers of the rollout's checks can be reached, else why the first one cannot."""
        seen: set[Provider] = set()
        for check in rollout.checks:
            try:
                inquiry = await self._inquiry(rollout, check)
                if inquiry.provider not in seen:
                    seen.add(inquiry.provider)
                    await self._look_at(rollout, inquiry)
            except CanaryError as error:
                return str(error)
        return ""

    async def server(self, rollout: Rollout, check: Check) -> str:
        """The server that a check is put to, as `ports.Addressed` says."""
        if check.template is None:
            address = self._canary(rollout).spec.metrics_server or self._server
            return origin_of(address) or SERVER
        namespace = check.template.namespace or rollout.namespace
        try:
            given = (await find_reference(self._cluster, TEMPLATE_VIEW, namespace, check.template.name)).spec.provider
        except CanaryError:  # the query tells what is wrong
            return f"{namespace}/{check.template.name}"
        return origin_of(given.address) or f"{given.type} {given.region}".strip()

    async def _ask(self, rollout: Rollout, question: MetricQuestion, inquiry: Inquiry) -> MetricAnswer:
        with _blaming(inquiry.setting):
            async with self._pool.lend(inquiry.provider) as source:
                answer = await source.query(rollout, evolve(question, check=inquiry.check))
        if inquiry.check.kind is CheckKind.DURATION and answer.value is not None and math.isfinite(answer.value):
            whole = math.trunc(answer.value * inquiry.milliseconds)  # Flagger compares and tells whole milliseconds
            return evolve(answer, value=float(whole))
        return answer

    async def _look_at(self, rollout: Rollout, inquiry: Inquiry) -> None:
        with _blaming(inquiry.setting):
            async with self._pool.lend(inquiry.provider) as source:
                why = await source.online(rollout)
        if why:
            raise WorldError(f"{inquiry.place} {MISSING}: {why}")

    # who is asked what ------------------------------------------------------------------------------------------

    async def _inquiry(self, rollout: Rollout, check: Check) -> Inquiry:
        if check.template is not None:
            return await self._of_template(rollout, check, check.template)
        return self._of_server(rollout, check)

    def _of_server(self, rollout: Rollout, check: Check) -> Inquiry:
        spec = self._canary(rollout).spec
        of_linkerd = spec.provider and LINKERD in self._mesh_provider
        mesh = self._mesh(LINKERD if of_linkerd else rollout.provider)
        if spec.metrics_server not in ("", self._server):
            with _blaming("spec.metricsServer error"):
                self._allowed.check(spec.metrics_server)
        return Inquiry(
            provider=Provider(
                type=SERVER,
                namespace=rollout.namespace if spec.metrics_server else "",
                address=spec.metrics_server or self._server,
            ),
            check=evolve(check, query=check.query or mesh.queries.get(check.kind, "")),
            place=SERVER,
            setting=f"{'spec.metricsServer' if spec.metrics_server else 'the metrics server'} error",
            milliseconds=mesh.milliseconds,
        )

    async def _of_template(self, rollout: Rollout, check: Check, reference: Reference) -> Inquiry:
        namespace = reference.namespace or rollout.namespace
        name = f"metric template {reference.name}.{namespace}"
        if namespace != rollout.namespace and not self._cross_namespace:
            raise WorldError(f"can't access {name}, cross-namespace references are blocked")
        with _blaming(f"{name} error"):
            template = await find_reference(self._cluster, TEMPLATE_VIEW, namespace, reference.name)
        given = template.spec.provider
        if given.address:
            with _blaming(f"{name} error"):
                self._allowed.check(given.address)
        secret = (namespace, given.secret_ref.name) if given.secret_ref else None
        values: Mapping[str, str] = {}
        if secret is not None:
            with _blaming(f"{name} secret {secret[1]} error"):
                values = await self._secrets.read(*secret)
        provider = Provider(
            type=given.type,
            namespace=namespace,
            address=given.address,
            headers=given.headers,
            secret=tuple(sorted(values.items())),
            region=given.region,
            insecure_skip_verify=given.insecure_skip_verify,
        )
        return Inquiry(
            provider=provider,
            check=check,
            place=f"{given.type} in {name}",
            setting=f"{name} provider {given.type} error",
            secret=secret,
        )

    @asynccontextmanager
    async def _open(self, provider: Provider) -> AsyncGenerator[MetricSource, None]:
        factory = await self._loader.factory(provider.type)
        async with factory(
            provider.address,
            headers=dict(provider.headers),
            secret=dict(provider.secret),
            region=provider.region,
            insecure_skip_verify=provider.insecure_skip_verify,
            query_variables=self._query_variables,
            **self._limits(provider),
        ) as opened:
            yield opened

    def _limits(self, provider: Provider) -> dict[str, str]:
        """Return the reason why a provider may not ask this for a tenant."""
        is_limited = provider.type in ASK_THE_CLUSTER and not self._cross_namespace
        return {"only_namespace": provider.namespace} if is_limited else {}


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Whatever is wrong is told with what it is about."""
    try:
        yield
    except WithheldError:
        raise
    except (CanaryError, ValueError) as error:
        raise WorldError(f"{what}: {error}") from error
