"""A client of the API server: plain JSON, one call at a time. It finds kinds by discovery.

api.apply({"apiVersion": "apps/v1", "kind": "Deployment", …})
api.eventually(path, lambda body: body["status"].get("readyReplicas") == 1)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar
from urllib.parse import urlencode

import urllib3
from attrs import define, field, frozen

Json = dict[str, Any]
_T = TypeVar("_T")

MANAGER = "tests"
"""The field manager of its writes."""

_KINDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

_MERGE = "application/merge-patch+json"
_APPLY = "application/apply-patch+yaml"
_PATIENCE = 60.0
_POLL = 0.05


class RequestError(Exception):
    """An answer of the API server that is no success."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@frozen
class Access:
    """The address and token of a user. `authority` is a file, or empty for plain HTTP."""

    server: str
    token: str = field(repr=False)
    authority: str = ""

    @property
    def kubeconfig(self) -> Json:
        cluster = {"server": self.server, **({"certificate-authority": self.authority} if self.authority else {})}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }


@define
class Api:
    """The requests of one user. A path is that of the API, such as `/api/v1/namespaces/test/pods/a`."""

    access: Access
    _plurals: dict[tuple[str, str], tuple[str, bool]] = field(factory=dict, init=False)
    _pool: urllib3.PoolManager = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = urllib3.PoolManager(ca_certs=self.access.authority or None, maxsize=8, retries=False)

    def request(
        self, method: str, path: str, body: Any = None, *, content: str = "application/json", **query: Any
    ) -> Json:
        """Send one request. Raise RequestError if the answer is no success."""
        headers = {"Authorization": f"Bearer {self.access.token}", "Content-Type": content}
        url = f"{self.access.server}{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body)
        answer = self._pool.request(method, url, body=data, headers=headers, timeout=30)
        if answer.status >= 400:
            raise RequestError(answer.status, _message(answer.data))
        found: Json = answer.json()
        return found

    def get(self, path: str) -> Json | None:
        """Return an object, or None if there is none."""
        try:
            return self.request("GET", path)
        except RequestError as error:
            if error.status == 404:
                return None
            raise

    def list(self, path: str, **query: Any) -> list[Json]:
        items: list[Json] = self.request("GET", path, **query)["items"]
        return items

    def watch(self, path: str, **query: Any) -> Iterator[Json]:
        """The events of a collection, for as long as the API server tells them. Raises RequestError.

        From version 0 on, which means what there is: with no version an API server over Debian's etcd may say 504.
        """
        url = f"{self.access.server}{path}?{urlencode({'watch': 'true', 'resourceVersion': '0', **query})}"
        headers = {"Authorization": f"Bearer {self.access.token}"}
        answer = self._pool.request("GET", url, headers=headers, preload_content=False, timeout=None)
        with closing(answer):
            if answer.status >= 400:
                raise RequestError(answer.status, _message(answer.data))
            yield from map(json.loads, answer)

    def create(self, body: Json, namespace: str = "") -> Json:
        return self.request("POST", self.path(body, namespace, named=False), body, fieldManager=MANAGER)

    def apply(self, body: Json, namespace: str = "") -> Json:
        """Send a server-side apply with force."""
        path = self.path(body, namespace)
        return self.request("PATCH", path, body, content=_APPLY, fieldManager=MANAGER, force="true")

    def patch(self, path: str, patch: Json) -> Json:
        """Send a JSON merge patch."""
        return self.request("PATCH", path, patch, content=_MERGE, fieldManager=MANAGER)

    def delete(self, path: str, **query: Any) -> None:
        """Delete an object. A missing object is no error."""
        try:
            self.request("DELETE", path, **query)
        except RequestError as error:
            if error.status != 404:
                raise

    def eventually(self, path: str, wanted: Callable[[Json], Any], seconds: float = _PATIENCE) -> Json:
        """Return the object as soon as the condition holds. The error shows its last state."""

        def look() -> Json | None:
            body = self.get(path)
            return body if body is not None and wanted(body) else None

        return eventually(look, seconds, lambda: self.get(path))

    def path(self, body: Json, namespace: str = "", *, named: bool = True) -> str:
        """Return the path of an object, or of the collection for a new one."""
        version, kind, meta = body["apiVersion"], body["kind"], body["metadata"]
        plural, namespaced = self._plural(version, kind)
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        inside = f"/namespaces/{meta.get('namespace') or namespace or 'default'}" if namespaced else ""
        return f"{root}{inside}/{plural}" + (f"/{meta['name']}" if named else "")

    def service_account(self, namespace: str, name: str, rules: Sequence[Json]) -> Access:
        """Create a user with the rights of `rules` (of a ClusterRole) in all namespaces."""
        meta = {"name": f"{namespace}-{name}"}
        subject = {"kind": "ServiceAccount", "namespace": namespace, "name": name}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": meta["name"]}
        rbac = "rbac.authorization.k8s.io/v1"
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}}
        self.apply(account)
        self.apply({"apiVersion": rbac, "kind": "ClusterRole", "metadata": meta, "rules": rules})
        self.apply(
            {"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": meta, "roleRef": role, "subjects": [subject]}
        )
        if rules:  # a role takes effect after a moment
            eventually(lambda: self._may(f"system:serviceaccount:{namespace}:{name}", rules[-1]))
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = self.request("POST", f"{self.path(account)}/token", request)["status"]["token"]
        return Access(self.access.server, token, self.access.authority)

    def _may(self, user: str, rule: Json) -> bool:
        """Whether a user has the rights of a rule of one group and resource; the server is asked for the last."""
        plural, _, sub = rule["resources"][-1].partition("/")
        of = {"group": rule["apiGroups"][-1], "resource": plural, "subresource": sub, "verb": rule["verbs"][-1]}
        of["name"] = rule.get("resourceNames", [""])[-1]
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        asked = {**review, "metadata": {}, "spec": {"user": user, "resourceAttributes": of}}
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(self.request("POST", path, asked)["status"]["allowed"])

    def _plural(self, version: str, kind: str) -> tuple[str, bool]:
        if (version, kind) not in self._plurals:
            root = f"/apis/{version}" if "/" in version else f"/api/{version}"
            for found in self.request("GET", root)["resources"]:
                if "/" not in found["name"]:
                    self._plurals[version, found["kind"]] = found["name"], found["namespaced"]
        return self._plurals[version, kind]


def define_kinds(api: Api, definitions: Iterable[Json]) -> None:
    """Create CustomResourceDefinitions, and wait until the server has established them."""
    for body in [api.apply(body) for body in definitions]:
        api.eventually(f"{_KINDS}/{body['metadata']['name']}", _is_established)


def _is_established(body: Json) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or []
    return any(found["type"] == "Established" and found["status"] == "True" for found in conditions)


def eventually(
    look: Callable[[], _T | None], seconds: float = _PATIENCE, describe: Callable[[], Any] | None = None
) -> _T:
    """Return the result of `look` as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            seen = json.dumps(describe(), indent=1) if describe else repr(found)
            raise AssertionError(f"not within {seconds:g} s; it is: {seen}")
        time.sleep(_POLL)
    return found


def _message(data: bytes) -> str:
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace")
