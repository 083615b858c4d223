"""URIs of what the service holds: the scheme ``cerebras``, then the name that the API itself has for it.

====================================================== ==========================
``cerebras://orgs/<org>/models/<architecture>``        the versions of a model
``cerebras://orgs/<org>/models/<arch>/versions/<id>``  one version of it
``cerebras://endpoints/<endpoint>``                    a dedicated endpoint
====================================================== ==========================

Every id is percent-encoded, so that two ways to write the same thing become one. All of it is pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from airflow_provider_cerebras.api.names import ModelVersionName, path_segment

if TYPE_CHECKING:
    from urllib.parse import SplitResult

SCHEME = "cerebras"
_FORMS = (
    ("orgs", None, "models", None),
    ("orgs", None, "models", None, "versions", None),
    ("endpoints", None),
)


def model_uri(org_name: str, model_arch_id: str) -> str:
    """URI of the versions of a model architecture.

    :param org_name: customer management organization name.
    :param model_arch_id: id of the architecture.
    :raises ValueError: if an id cannot be one.
    """
    org, arch = path_segment(org_name, "org_name"), path_segment(model_arch_id, "model_arch_id")
    return f"{SCHEME}://orgs/{org}/models/{arch}"


def version_uri(model_version: str) -> str:
    """URI of one version.

    :param model_version: full name, by number or alias.
    :raises ValueError: if it is not a full name.
    """
    name = ModelVersionName.parse(model_version)
    return f"{model_uri(name.org_name, name.model_arch_id)}/versions/{name.version_id}"


def endpoint_uri(endpoint_id: str) -> str:
    """URI of an endpoint.

    :param endpoint_id: id of the endpoint.
    :raises ValueError: if the id cannot be one.
    """
    return f"{SCHEME}://endpoints/{path_segment(endpoint_id, 'endpoint_id')}"


def normalize(uri: SplitResult) -> SplitResult:
    """Return a URI in its one form; Airflow calls this for every asset of the scheme.

    :param uri: the parts of the URI.
    :raises ValueError: if it names nothing of the service.
    """
    kind, *ids = (uri.netloc.lower(), *uri.path.removeprefix("/").split("/"))
    segments = [kind, *map(unquote, ids)]
    form = next((form for form in _FORMS if _matches(form, segments)), None)
    if form is None or uri.query or uri.fragment:
        raise ValueError(
            f"{uri.geturl()!r} is not a URI of the scheme {SCHEME}: {SCHEME}://orgs/<organization>/models/<architecture>"
            f", optionally with /versions/<version>, or {SCHEME}://endpoints/<endpoint>."
        )
    return uri._replace(
        netloc=kind,
        path="".join(f"/{path_segment(segment, 'uri')}" for segment in segments[1:]),
    )


def _matches(form: tuple[str | None, ...], segments: list[str]) -> bool:
    return len(form) == len(segments) and all(
        segment == fixed if fixed else bool(segment) for fixed, segment in zip(form, segments, strict=True)
    )
