"""The description of the API in OpenAPI 3.1, made from the very types that are read and written."""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Final

import msgspec

from recsys_assets.api import metrics, problems
from recsys_assets.api.artifacts import MEDIA
from recsys_assets.api.health import Health
from recsys_assets.api.problems import Problem
from recsys_assets.api.queries import ArtifactQuery, NoQuery
from recsys_assets.api.routes import CONTENT_PATH, ROUTES, Route

_REFERENCE: Final = "#/components/schemas/{name}"
_FAILURES: Final = {
    404: "There is no such thing.",
    409: "The answer is not certain.",
    410: "What is stored is not what its name says.",
    422: "The question cannot be understood.",
    503: "The store does not answer: ask again later.",
}
_HEADER: Final = {"in": "header", "required": False, "schema": {"type": "string"}}


def describe() -> dict[str, Any]:
    """Return the document that `/openapi.json` answers with."""
    types = [*(route.answer for route in ROUTES), *(route.query for route in ROUTES), ArtifactQuery, Problem]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    answers = dict(zip((route.path for route in ROUTES), schemas, strict=False))
    paths = {route.path: {"get": _operation(route, answers[route.path], components)} for route in ROUTES}
    paths[CONTENT_PATH] = {"get": _content(components)}
    paths["/metrics"] = {"get": _metrics()}
    queries = {route.query.__name__ for route in ROUTES} | {ArtifactQuery.__name__}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "recsys-assets read API",
            "version": version("recsys-assets"),
            "description": "What is live, what was, its inputs, and the artifacts themselves. Read only.",
        },
        "paths": paths,
        "components": {"schemas": {name: schema for name, schema in components.items() if name not in queries}},
    }


def _operation(route: Route, answer: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    failures = _failures(_FAILURES if route.path.startswith("/v1/") else {422: _FAILURES[422]})
    if route.answer is Health:
        failures["503"] = _response("The store does not answer.", answer)
    return {
        "operationId": route.name,
        "summary": route.message,
        "parameters": list(_parameters(route.query, route.path, components)),
        "responses": {"200": _response("The answer.", answer), **failures},
    }


def _content(components: Mapping[str, Any]) -> dict[str, Any]:
    names = ("If-None-Match", "Range", "If-Range")
    parameters = [*_parameters(ArtifactQuery, CONTENT_PATH, components), *({"name": n, **_HEADER} for n in names)]
    return {
        "operationId": "send_content",
        "summary": "Return an artifact's bytes: the ETag is its version, single ranges are served, it never changes.",
        "parameters": parameters,
        "responses": {
            "200": _response("All bytes: one JSON object.", {"type": "object"}),
            "206": {"description": "The part that `Range` names."},
            "304": {"description": "The client has it."},
            "416": {"description": "The range lies beyond the end."},
            **_failures(_FAILURES),
        },
    }


def _metrics() -> dict[str, Any]:
    media = metrics.MEDIA.partition(";")[0]
    return {
        "operationId": "metrics",
        "summary": "Return gauges for each target, as Prometheus reads them.",
        "responses": {
            "200": _response("The metrics.", {"type": "string"}, media=media),
            **_failures({422: _FAILURES[422], 503: _FAILURES[503]}),
        },
    }


def _parameters(query: type[NoQuery], path: str, components: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield the parameters of a route: those that stand in its path, then the others."""
    schema = components[query.__name__]
    in_path = set(re.findall(r"\{(\w+)\}", path))
    for name, kind in schema["properties"].items():
        required = name in schema.get("required", ())
        yield {"name": name, "in": "path" if name in in_path else "query", "required": required, "schema": _plain(kind)}


def _plain(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a parameter that may be left out: in an address nothing can be null."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    return options[0] if options else {key: value for key, value in schema.items() if value is not None}


def _failures(message: Mapping[int, str]) -> dict[str, Any]:
    reference = {"$ref": _REFERENCE.format(name=Problem.__name__)}
    return {str(status): _response(text, reference, media=problems.MEDIA) for status, text in message.items()}


def _response(description: str, schema: Mapping[str, Any], *, media: str = MEDIA) -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": schema}}}
