"""The port MetricSource on a cluster: it sends the query of each check to the provider that the manifest names.

    request-success-rate, request-duration   the mesh's query, to the metrics server
    query                                    PromQL, to the metrics server
    templateRef                              the template's query, to its provider, with its Secret

The metrics server is the Canary's `spec.metricsServer`, or else the controller's. Providers are adapters of other
distributions. For a provider that is not installed, the error lists the installed ones.

The operator can limit the servers that Canaries and templates name (`allowed`). The controller's own metrics server
needs no permission, and a template without an address uses the server of its provider.

A Secret is cached for a minute. If a query fails meanwhile, the source reads the Secret again and, if it has changed,
repeats the query.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Self

from attrs import evolve, field, frozen

from canarycore import CheckKind, Rollout, TargetRef
from canarycore.errors import CanaryError, WorldError
from canarycore.questions import MetricAnswer
from canarycore.text import shorten
from canarycore_kubernetes.api.kinds import ANALYSIS_TEMPLATE
from canarycore_kubernetes.api.secrets import Secrets, WithheldError
from canarycore_kubernetes.resources.references import TEMPLATE_VIEW, TEMPLATE_VIEWS, find_reference, namespace_of
from canarycore_kubernetes.telemetry.calls import ignore_call, measure_call
from canarycore_runtime import load
from canarycore_runtime.http import AllowedHosts, origin_of
from canarycore_runtime.pool import Pool
from canarycore_runtime.registry import AdapterLoader

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
    from types import TracebackType

    from canarycore import Check, Reference
    from canarycore.manifest import Canary, MetricProvider, SecretArgument
    from canarycore.questions import MetricQuestion
    from canarycore_kubernetes.api.cluster import Cluster
    from canarycore_kubernetes.telemetry.calls import ProviderReport
    from canarycore_runtime.mesh import Mesh
    from canarycore_runtime.ports import MetricSource

SERVER = "prometheus"
"""The provider type of a metrics server."""

LINKERD = "linkerd"
"""The mesh that measures behind any ingress: as the controller's mesh, its queries serve all Canaries."""

CLUSTER_PROVIDERS = frozenset({"externalmetrics", "keptn"})
"""Providers that query the cluster's API server with the controller's rights, which cover every namespace."""

MISSING = "not avaiable"
"""Flagger's spelling, so that searches for its event still find it."""


@frozen(kw_only=True)
class Provider:
    """A provider as its template describes it. Its repr leaves out all fields that may hold a credential."""

    type: str
    """The name of the provider's adapter."""

    namespace: str = ""
    """The namespace of its template, as namespaces share no adapter; empty for the controller's own server."""

    address: str = field(default="", repr=False)
    headers: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), repr=False)
    secret: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    region: str = ""
    insecure_skip_verify: bool = False


@frozen(kw_only=True)
class ProviderQuery:
    """A check with its query, and the provider that answers it."""

    provider: Provider
    check: Check

    place: str
    """The name of the provider in errors."""

    setting: str
    """The beginning of errors about the provider's settings."""

    secrets: tuple[tuple[str, str], ...] = ()
    """The namespace and name of each of its Secrets."""

    milliseconds: float = 1.0
    """The unit of a duration in its answers, in milliseconds."""


class TemplateSources:
    """The metric source of a cluster's Canaries. It works while its context is open.

    canary: returns the manifest of a rollout; raises WorldError when the Canary is gone. mesh: returns the mesh of a
    name. query_variables: returns what a rollout's queries may name besides `interval` and `variables`. metrics_server,
    mesh_provider: the controller's options. cross_namespace: whether Canaries may use templates of other namespaces.
    allowed: the hosts that Canaries and templates may name. secrets: whether Secrets are read. adapter: returns the
    factory of a provider's adapter. report: gets the report of each query.
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
        report: Callable[[ProviderReport], None] = ignore_call,
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
        self._report = report
        self._pool: Pool[Provider, MetricSource] = Pool(self._open, group=lambda provider: provider.namespace)

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.__aexit__(kind, error, trace)

    async def query(self, rollout: Rollout, question: MetricQuestion) -> MetricAnswer:
        """Return the value of a check over its window. An answer reports every failure.

        Raise WithheldError where the answer depends on a Secret, and Secrets are not read.
        """
        try:
            query = await self._provider_query(rollout, question.check)
            answer = await self._send(rollout, question, query)
            if answer.error and query.secrets:
                for secret in query.secrets:
                    self._secrets.forget(*secret)
                renewed = await self._provider_query(rollout, question.check)
                if renewed != query:
                    answer = await self._send(rollout, question, renewed)
        except WithheldError:
            raise
        except CanaryError as error:
            return MetricAnswer(error=str(error))
        return answer

    async def online(self, rollout: Rollout) -> str:
        """Return why a provider of the rollout's checks is out of reach; empty where all are within reach."""
        probed: set[Provider] = set()
        for check in rollout.checks:
            try:
                query = await self._provider_query(rollout, check)
                if query.provider not in probed:
                    probed.add(query.provider)
                    await self._probe(rollout, query)
            except CanaryError as error:
                return str(error)
        return ""

    async def server_trouble(self) -> str:
        """Return why the controller's own metrics server is out of reach; empty where it is within reach."""
        nobody = Rollout(name="controller", target=TargetRef(name="controller"), skip_analysis=True)
        try:
            async with self._pool.lend(Provider(type=SERVER, address=self._server)) as source:
                return await source.online(nobody)
        except CanaryError as error:
            return str(error)

    async def server(self, rollout: Rollout, check: Check) -> str:
        """Return the server that answers a check (see `ports.Addressed`)."""
        if check.template is None:
            address = self._canary(rollout).spec.metrics_server or self._server
            return origin_of(address) or SERVER
        try:
            provider, _ = await self._find_provider(rollout, check, check.template)
        except CanaryError:  # the query reports it
            kind = f"{check.template.kind} " if check.template.kind else ""
            return f"{kind}{check.template.namespace or rollout.namespace}/{check.template.name}"
        return origin_of(provider.address) or f"{provider.type} {provider.region}".strip()

    async def _send(self, rollout: Rollout, question: MetricQuestion, query: ProviderQuery) -> MetricAnswer:
        with _prefix_errors(query.setting), measure_call(self._report, "metrics", query.provider.type) as call:
            async with self._pool.lend(query.provider) as source:
                answer = await source.query(rollout, evolve(question, check=query.check))
            call.has_failed = bool(answer.error)
        if query.check.kind is CheckKind.DURATION and answer.value is not None and math.isfinite(answer.value):
            whole = math.trunc(answer.value * query.milliseconds)  # Flagger compares and reports whole milliseconds
            return evolve(answer, value=float(whole))
        return answer

    async def _probe(self, rollout: Rollout, query: ProviderQuery) -> None:
        """Raise WorldError where the provider is out of reach."""
        with _prefix_errors(query.setting):
            async with self._pool.lend(query.provider) as source:
                reason = await source.online(rollout)
        if reason:
            raise WorldError(f"{query.place} {MISSING}: {reason}")

    # queries and their providers ---------------------------------------------------------------------------------

    async def _provider_query(self, rollout: Rollout, check: Check) -> ProviderQuery:
        if check.template is not None:
            return await self._template_query(rollout, check, check.template)
        return self._server_query(rollout, check)

    def _server_query(self, rollout: Rollout, check: Check) -> ProviderQuery:
        spec = self._canary(rollout).spec
        uses_linkerd = spec.provider and LINKERD in self._mesh_provider
        mesh = self._mesh(LINKERD if uses_linkerd else rollout.provider)
        if spec.metrics_server not in ("", self._server):
            with _prefix_errors("spec.metricsServer error"):
                self._allowed.check(spec.metrics_server)
        return ProviderQuery(
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

    async def _template_query(self, rollout: Rollout, check: Check, reference: Reference) -> ProviderQuery:
        namespace = reference.namespace or rollout.namespace
        name = _name_template(reference, namespace_of(reference, rollout.namespace))
        if namespace != rollout.namespace and not self._cross_namespace:
            raise WorldError(f"can't access {name}, cross-namespace references are blocked")
        with _prefix_errors(f"{name} error"):
            settings, arguments = await self._find_provider(rollout, check, reference)
            if settings.address:
                self._allowed.check(settings.address)
            if reference.kind and not check.query:
                raise WorldError("it defines the check only now: the next analysis asks")
        secrets = ((namespace, settings.secret_ref.name),) if settings.secret_ref else ()
        values = await self._read_secret(*secrets[0], name) if secrets else {}
        provider = Provider(
            type=settings.type,
            namespace=namespace,
            address=settings.address,
            headers=await self._fill_headers(settings, arguments, namespace, name),
            secret=tuple(sorted(values.items())),
            region=settings.region,
            insecure_skip_verify=settings.insecure_skip_verify,
        )
        return ProviderQuery(
            provider=provider,
            check=check,  # with the template's query, since the store loaded the rollout
            place=f"{provider.type} in {name}",
            setting=f"{name} provider {provider.type} error",
            secrets=(*secrets, *((namespace, argument.secret) for argument in arguments)),
        )

    async def _find_provider(
        self, rollout: Rollout, check: Check, reference: Reference
    ) -> tuple[MetricProvider, tuple[SecretArgument, ...]]:
        """Return the provider of a check's template, and the arguments of its headers whose values are in Secrets."""
        namespace = namespace_of(reference, rollout.namespace)
        if not reference.kind:
            return (await find_reference(self._cluster, TEMPLATE_VIEW, namespace, reference.name)).spec.provider, ()
        template = await find_reference(self._cluster, TEMPLATE_VIEWS[reference.kind], namespace, reference.name)
        definition = template.define(check.name, check.variables)
        return definition.provider, definition.secrets

    async def _read_secret(self, namespace: str, secret: str, name: str) -> Mapping[str, str]:
        """Return the values of a Secret. name: the template's one in errors."""
        with _prefix_errors(f"{name} secret {secret} error"):
            return await self._secrets.read(namespace, secret)

    async def _fill_headers(
        self, settings: MetricProvider, arguments: tuple[SecretArgument, ...], namespace: str, name: str
    ) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the headers of a template with the values of the arguments that are in Secrets."""
        if not arguments:
            return settings.headers
        from canarycore.argo import fill_secrets  # only here: few templates need it

        values = {}
        for argument in arguments:
            secret = await self._read_secret(namespace, argument.secret, name)
            if argument.key not in secret:
                raise WorldError(f"{name} secret {argument.secret} error: it has no key {shorten(argument.key)}")
            values[argument.name] = secret[argument.key]
        return tuple((key, tuple(fill_secrets(text, values) for text in texts)) for key, texts in settings.headers)

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
        ) as source:
            yield source

    def _limits(self, provider: Provider) -> dict[str, str]:
        """Return the options that keep a provider with the controller's rights to the template's namespace."""
        is_limited = provider.type in CLUSTER_PROVIDERS and not self._cross_namespace
        return {"only_namespace": provider.namespace} if is_limited else {}


def _name_template(reference: Reference, namespace: str) -> str:
    """Return the name of a template in errors; `namespace` is empty for a template of the cluster."""
    kind = {"": "metric", ANALYSIS_TEMPLATE.kind: "analysis"}.get(reference.kind, "cluster analysis")
    return f"{kind} template {reference.name}.{namespace}" if namespace else f"{kind} template {reference.name}"


@contextmanager
def _prefix_errors(subject: str) -> Iterator[None]:
    """Begin errors with their subject."""
    try:
        yield
    except WithheldError:
        raise
    except (CanaryError, ValueError) as error:
        raise WorldError(f"{subject}: {error}") from error
