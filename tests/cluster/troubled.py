"""A Canary in trouble, as its owner sees it, and the check that the owner reads why."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

from structlog.testing import capture_logs
from typer.testing import CliRunner

from canarycore_cli.main import app
from canarycore_kubernetes.api.kinds import CANARY, EVENT
from canarycore_kubernetes.controller import run_controller
from canarycore_kubernetes.options import Options
from canarycore_kubernetes.resources.refusals import BLOCKED
from tests.adapters.mesh.meshes import manifest
from tests.cluster.controller.test_controller import target
from tests.cluster.patience import until

DEADLINE = 10.0
"""Seconds within which the owner reads a refusal, on a machine that serves one API server."""

PLAIN = {"iterations": 3, "interval": "10s"}

INGRESS_REFERENCE = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "absent"}
HPA_REFERENCE = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "absent"}
TEMPLATE_CHECK = {"name": "rate", "interval": "1m", "templateRef": {"name": "absent"}, "thresholdRange": {"max": 1}}

ANALYSIS_CHECK = {"name": "rate", "templateRef": {"kind": "AnalysisTemplate", "name": "absent"}}


class TroubledCanary:
    """One Canary `podinfo`, with its target and its controller."""

    def __init__(self, api, kubeconfig, namespace, deadline=DEADLINE):
        self.api, self.kubeconfig, self.namespace, self.deadline = api, kubeconfig, namespace, deadline

    def create(self, *, provider="kubernetes", labels=None, pod=None, metrics=(), is_absent=False, name="", **spec):
        """Create the target and the Canary.

        labels: those of the target. pod: fields of the container. is_absent: no target. name: that of a foreign
        Deployment of the same pods.
        """
        body = target(self.namespace)
        if labels is not None:
            body["spec"] |= {"selector": {"matchLabels": labels}}
            body["spec"]["template"]["metadata"] = {"labels": labels}
        body["spec"]["template"]["spec"]["containers"][0] |= pod or {}
        if not is_absent:
            self.api.create(body, self.namespace)
        if name:
            self.api.create({**body, "metadata": {"name": name}}, self.namespace)
        analysis = {**PLAIN, "metrics": list(metrics)}
        canary = manifest(provider, namespace=self.namespace, analysis=analysis, **spec)
        del canary["spec"]["analysis"]["stepWeight"]
        if not provider:
            del canary["spec"]["provider"]
        self.api.create(canary, self.namespace)

    @property
    def status(self):
        return self.api.get(CANARY.path(self.namespace, "podinfo")).get("status") or {}

    @property
    def condition(self):
        return next((one for one in self.status.get("conditions", ()) if one["type"] == BLOCKED), None)

    @property
    def events(self):
        return self.api.list(EVENT.path(self.namespace))

    def events_about(self, text):
        return [one for one in self.events if one["message"] == text]

    async def show(self, *command):
        """Return what a command prints."""
        arguments = [*command, "podinfo", "--namespace", self.namespace, "--kubeconfig", str(self.kubeconfig)]
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        assert result.exit_code == 0, f"{result.output} {result.exception}"
        return result.stdout

    @asynccontextmanager
    async def controlled(self, client, provider="kubernetes"):
        """Run the controller of the namespace."""
        options = Options(
            namespace=self.namespace,
            listen="127.0.0.1",
            port=0,
            metrics_server="http://127.0.0.1:9",
            mesh_provider=provider,
        )
        async with asyncio.TaskGroup() as group:
            with capture_logs():  # they would be in the output of the commands
                running = group.create_task(run_controller(client, options, version="0"))
                yield
            running.cancel()

    async def says(self, client, reason, parts, provider="kubernetes"):
        """Check that the owner reads the reason within the deadline, in all places, and with these parts.

        provider: the controller's default.
        """
        async with self.controlled(client, provider):
            text = (await until(lambda: self._condition_with(reason), self.deadline))["message"]
            assert [part for part in parts if part not in text] == [], text
            (event,) = await until(lambda: self.events_about(text), self.deadline)
            assert event["type"] == "Warning"
            await asyncio.sleep(1.0)
            assert [one["count"] for one in self.events_about(text)] == [1]
            title, trouble, *_ = (await self.show("describe")).splitlines()
            assert title == "Trouble"
            assert text.startswith(trouble.strip()[:60])
            assert json.loads(await self.show("get", "--json"))[0]["trouble"] == text
            assert "all the metrics providers are available" not in await self.show("get")

    def _condition_with(self, reason):
        condition = self.condition
        return condition if condition is not None and condition["reason"] == reason else None
