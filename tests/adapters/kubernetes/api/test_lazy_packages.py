"""Lazy packages: kubernetes_asyncio without its models, and with them for who needs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = "import sys; import canarycore_kubernetes.api.client\n"
COUNT = "len([name for name in sys.modules if name.startswith('kubernetes_asyncio.client.models.')])"


def run(program: str) -> str:
    """Run a program in a process that has imported the client, and return its output."""
    done = subprocess.run([sys.executable, "-c", BEGIN + program], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_client_imports_no_model_and_no_interface():
    assert run(f"print({COUNT}, 'kubernetes_asyncio.client.api' in sys.modules)") == "0 False"


@pytest.mark.parametrize(
    "program",
    [
        "from kubernetes_asyncio.client import V1Pod",
        "from kubernetes_asyncio import client; V1Pod = client.V1Pod",
        "import kubernetes_asyncio.client.models as models; V1Pod = models.V1Pod",
        "import kubernetes_asyncio; V1Pod = kubernetes_asyncio.client.V1Pod",
    ],
)
def test_a_model_is_there_for_who_names_it(program):
    assert run(f"{program}\nprint(V1Pod.__module__)") == "kubernetes_asyncio.client.models.v1_pod"


def test_the_package_has_its_other_parts():
    program = (
        "from kubernetes_asyncio import watch, client, config\nprint(watch.Watch.__name__, client.CoreV1Api.__name__)"
    )
    assert run(program) == "Watch CoreV1Api"


def test_one_class_has_one_identity():
    program = (
        "from kubernetes_asyncio import client\n"
        "first = client.ApiClient\n"
        "client.V1Pod\n"
        "print(first is client.ApiClient)"
    )
    assert run(program) == "True"


def test_an_unknown_name_is_an_error_as_usual():
    program = "from kubernetes_asyncio import client as c\nprint(hasattr(c, 'V9Pod'), hasattr(c, '__wrapped__'))"
    assert run(program) == "False False"


def test_the_version_is_there():
    assert run("import kubernetes_asyncio\nprint(kubernetes_asyncio.__version__[0].isdigit())") == "True"
