"""Flagger's manifests as rollouts, and back: every mistake at once, each with its path and remedy.

    report = load([(name, text), ...])            resources of YAML texts, or ManifestError with all problems
    rollout = resolve(report.canaries[0], templates=report.templates)
    parse(document)                               one resource from a plain mapping
    check_files([(name, text), ...])              lint: all problems, of form and of sense, without an exception
    problems(rollout)                             lint of a rollout without a manifest, with the same rules
    check_namespaces(canary)                      references to other namespaces, which tenants may not use
    status_to_dict / status_from_dict             the status subresource
    schema("Canary")                              the spec, for a CustomResourceDefinition
    routing.PROVIDER_CAPABILITIES                 the capabilities of each routing provider

These functions read no files: the caller passes texts. YAML needs the extra `canarycore[yaml]`.
"""

from canarycore.errors import ManifestError, Problem
from canarycore.manifest._alerts._subscriptions import (
    SUBSCRIPTION_ANNOTATION,
    SUBSCRIPTION_RULE,
    find_subscribed_providers,
)
from canarycore.manifest._alerts._templates import (
    LINKS_ANNOTATION,
    TEXT_ANNOTATION,
    AlertFacts,
    InvalidAlertTemplate,
    LinkTemplate,
    check_links,
    parse_links,
    render_link,
    render_text,
)
from canarycore.manifest._checks._names import (
    LONGEST_APEX,
    LONGEST_INGRESS,
    LONGEST_ROUTE,
    LONGEST_SCALED_OBJECT,
    LONGEST_TARGET,
)
from canarycore.manifest._definition._annotations import ANALYSIS_ANNOTATION, CARRIED_FIELDS, annotated_fields
from canarycore.manifest._definition._dropped import (
    DEFINITION,
    FLAGGERS_OMISSIONS,
    DroppedField,
    find_dropped_fields,
    find_omissions,
    suggest_for_dropped,
)
from canarycore.manifest._definitions import CheckTemplate, define_checks, require_definitions
from canarycore.manifest._duration import format_duration, parse_duration
from canarycore.manifest._files import FilesReport, load
from canarycore.manifest._lint import check_files, lint
from canarycore.manifest._lint._checks import PLACEHOLDER
from canarycore.manifest._lint._rollouts import problems
from canarycore.manifest._model import (
    ANALYSIS_TEMPLATE,
    CLUSTER_ANALYSIS_TEMPLATE,
    DEFINED_FIELDS,
    OWN_FIELDS,
    AlertProvider,
    Canary,
    CheckDefinition,
    MetricProvider,
    MetricTemplate,
    SecretArgument,
)
from canarycore.manifest._namespaces import check_namespaces
from canarycore.manifest._parse import dump, parse, read_metric, schema
from canarycore.manifest._reader._size import find_excess
from canarycore.manifest._reader._yaml import Document, documents
from canarycore.manifest._resolve import BUILT_IN_METRICS, resolve
from canarycore.manifest._service import (
    BackendReference,
    CorsPolicy,
    CustomMetadata,
    HeaderChanges,
    HeaderOperations,
    MirrorFilter,
    ParentReference,
    Retries,
    Rewrite,
    Service,
    UnmanagedMetadata,
)
from canarycore.manifest._status_codec import status_from_dict, status_to_dict

__all__ = [
    "ANALYSIS_ANNOTATION",
    "ANALYSIS_TEMPLATE",
    "BUILT_IN_METRICS",
    "CARRIED_FIELDS",
    "CLUSTER_ANALYSIS_TEMPLATE",
    "DEFINED_FIELDS",
    "DEFINITION",
    "FLAGGERS_OMISSIONS",
    "LINKS_ANNOTATION",
    "LONGEST_APEX",
    "LONGEST_INGRESS",
    "LONGEST_ROUTE",
    "LONGEST_SCALED_OBJECT",
    "LONGEST_TARGET",
    "OWN_FIELDS",
    "PLACEHOLDER",
    "SUBSCRIPTION_ANNOTATION",
    "SUBSCRIPTION_RULE",
    "TEXT_ANNOTATION",
    "AlertFacts",
    "AlertProvider",
    "BackendReference",
    "Canary",
    "CheckDefinition",
    "CheckTemplate",
    "CorsPolicy",
    "CustomMetadata",
    "Document",
    "DroppedField",
    "FilesReport",
    "HeaderChanges",
    "HeaderOperations",
    "InvalidAlertTemplate",
    "LinkTemplate",
    "ManifestError",
    "MetricProvider",
    "MetricTemplate",
    "MirrorFilter",
    "ParentReference",
    "Problem",
    "Retries",
    "Rewrite",
    "SecretArgument",
    "Service",
    "UnmanagedMetadata",
    "annotated_fields",
    "check_files",
    "check_links",
    "check_namespaces",
    "define_checks",
    "documents",
    "dump",
    "find_dropped_fields",
    "find_excess",
    "find_omissions",
    "find_subscribed_providers",
    "format_duration",
    "lint",
    "load",
    "parse",
    "parse_duration",
    "parse_links",
    "problems",
    "read_metric",
    "render_link",
    "render_text",
    "require_definitions",
    "resolve",
    "schema",
    "status_from_dict",
    "status_to_dict",
    "suggest_for_dropped",
]
