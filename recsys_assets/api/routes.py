"""Tables of routes and actions, and the OpenAPI 3.1 description generated from their types."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import msgspec

from recsys_assets.api import artifacts, metrics, operations, problems, queries, releases, targets, trees
from recsys_assets.api.actions import Action, Endpoint
from recsys_assets.api.artifacts import MEDIA
from recsys_assets.api.connections import RequestClass
from recsys_assets.api.context import ApiContext
from recsys_assets.api.metrics import Health
from recsys_assets.api.problems import ProblemDetails
from recsys_assets.api.queries import ArtifactQuery, NoQuery, Page
from recsys_assets.api.release_detail import Node
from recsys_assets.release.documents import JournalEntry
from recsys_assets.upkeep.report_document import Report
from recsys_assets.upkeep.staleness import Freshness

_TARGET: Final = "/v1/targets/{tenant}/{surface}"
_ARTIFACT: Final = "/v1/artifacts/{version}"
_REFERENCE: Final = "#/components/schemas/{name}"
_FAILURES: Final = {
    401: "The token is missing or unknown.",
    403: "The token lacks the required scope.",
    404: "It does not exist.",
    409: "The name is ambiguous, or there is too much to search.",
    410: "The stored bytes do not match their version.",
    422: "A parameter or the body is invalid.",
    503: "The store does not answer: retry later.",
}
_CONDITIONS: Final = {
    304: "Not modified.",
    409: "The stored state does not allow it.",
    412: "The condition of `If-Match` or `If-None-Match` is not met.",
}
_HEADER: Final = {"in": "header", "required": False, "schema": {"type": "string"}}


@dataclass(frozen=True, slots=True)
class Route(Endpoint):
    """One read endpoint: path, query type, response type and handler."""

    path: str
    query: type[queries.NoQuery]
    answer: Any
    handle: Callable[[ApiContext, Any], Any]
    cost: RequestClass = RequestClass.LIGHT


ROUTES: Final = (
    Route("/health", queries.NoQuery, metrics.Health, metrics.show_health, RequestClass.HEALTH),
    Route("/health/live", queries.NoQuery, metrics.Liveness, metrics.show_liveness, RequestClass.HEALTH),
    Route("/v1/targets", queries.PageQuery, Page[targets.TargetView], targets.list_targets),
    Route(_TARGET, queries.TargetQuery, targets.TargetView, targets.show_target),
    Route(f"{_TARGET}/freshness", queries.TargetQuery, Freshness, targets.show_freshness),
    Route(f"{_TARGET}/stats", queries.TargetQuery, targets.Stats, targets.show_stats),
    Route(f"{_TARGET}/releases", queries.TargetPageQuery, Page[releases.ReleaseRow], releases.list_releases),
    Route(f"{_TARGET}/releases/{{release}}", queries.ReleaseQuery, releases.ReleaseView, releases.show_release),
    Route(
        f"{_TARGET}/releases/{{release}}/report", queries.ReleaseQuery, Report, releases.show_report, RequestClass.HEAVY
    ),
    Route(f"{_TARGET}/tree", queries.TreeQuery, Node, releases.show_tree),
    Route(f"{_TARGET}/diff", queries.DiffQuery, releases.DiffView, releases.show_diff, RequestClass.HEAVY),
    Route(f"{_TARGET}/at", queries.AtQuery, releases.LiveView, releases.show_at),
    Route(f"{_TARGET}/journal", queries.JournalQuery, Page[JournalEntry], releases.list_journal),
    Route(f"{_TARGET}/days/{{day}}/usedby", queries.DayQuery, Page[artifacts.Holder], artifacts.list_day_users),
    Route(
        f"{_ARTIFACT}/metadata", queries.ArtifactQuery, artifacts.Metadata, artifacts.show_metadata, RequestClass.HEAVY
    ),
    Route(
        f"{_ARTIFACT}/expand", queries.ArtifactQuery, artifacts.Expanded, artifacts.show_expanded, RequestClass.HEAVY
    ),
    Route(f"{_ARTIFACT}/tree", queries.ArtifactTreeQuery, Node, artifacts.show_artifact_tree),
    Route(f"{_ARTIFACT}/usedby", queries.ArtifactPageQuery, Page[artifacts.Holder], artifacts.list_users),
)
CONTENT_PATH: Final = f"{_ARTIFACT}/content"
ACTIONS: Final[tuple[Action, ...]] = (
    Action(
        "POST",
        f"{_TARGET}/heartbeats",
        "write",
        queries.TargetQuery,
        targets.Beat,
        None,
        targets.receive_heartbeat,
        status=204,
        max_bytes=targets.MAX_HEARTBEAT_BYTES,
    ),
    Action(
        "GET",
        f"{_ARTIFACT}/rows",
        "read",
        queries.RowsFileQuery,
        None,
        artifacts.RowsPage,
        artifacts.send_rows_of,
        cost=RequestClass.HEAVY,
        files=("text/csv", "application/vnd.apache.parquet"),
    ),
    *trees.ACTIONS,
    *operations.ACTIONS,
)


def describe(actions: Sequence[Action]) -> dict[str, Any]:
    """Return the document of `/openapi.json`."""
    endpoints = (*ROUTES, *actions)
    bodies = [action.body for action in actions if action.body and action.body is not bytes]
    types = [
        *(endpoint.answer for endpoint in endpoints),
        *(endpoint.query for endpoint in endpoints),
        ArtifactQuery,
        ProblemDetails,
        *bodies,
    ]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    answers = dict(zip(endpoints, schemas, strict=False))
    of_bodies = dict(zip(map(id, bodies), schemas[len(schemas) - len(bodies) :], strict=True))
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for endpoint in endpoints:
        if isinstance(endpoint, Route):
            paths[endpoint.path]["get"] = _operation(endpoint, answers[endpoint], components)
        else:
            described = _action(endpoint, answers[endpoint], of_bodies.get(id(endpoint.body)), components)
            paths[endpoint.path][endpoint.method.lower()] = described
    paths[CONTENT_PATH]["get"] = _content(components)
    paths["/metrics"]["get"] = _metrics()
    queries = {endpoint.query.__name__ for endpoint in endpoints} | {ArtifactQuery.__name__}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "recsys-assets API",
            "version": version("recsys-assets"),
            "description": "Live and earlier releases, their inputs and artifacts; with a token, changes.",
        },
        "paths": dict(paths),
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in queries},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
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


def _action(
    action: Action, answer: Mapping[str, Any], body: Mapping[str, Any] | None, components: Mapping[str, Any]
) -> dict[str, Any]:
    described = {
        "operationId": action.name,
        "summary": action.message,
        "parameters": list(_parameters(action.query, action.path, components)),
        "responses": {str(action.status): _success(action, answer), **_failures(_FAILURES | _CONDITIONS)},
        "security": [{"token": []}] if action.scope != "read" else [{}, {"token": []}],
    }
    if action.body is not None:
        media = MEDIA if body is not None else "*/*"
        described["requestBody"] = {"required": True, "content": {media: {"schema": body or {"type": "string"}}}}
    return described


def _success(action: Action, answer: Mapping[str, Any]) -> dict[str, Any]:
    if action.answer is None:
        return {"description": "Done."}
    answers = {} if action.answer is bytes else {MEDIA: {"schema": answer}}
    files: dict[str, Any] = {media: {} for media in action.files}
    return {"description": "The answer.", "content": {**answers, **files}}


def _content(components: Mapping[str, Any]) -> dict[str, Any]:
    names = ("If-None-Match", "Range", "If-Range")
    parameters = [*_parameters(ArtifactQuery, CONTENT_PATH, components), *({"name": n, **_HEADER} for n in names)]
    return {
        "operationId": "send_content",
        "summary": "Return an artifact's bytes; the ETag is its version, and single ranges are served.",
        "parameters": parameters,
        "responses": {
            "200": _response("All bytes: one JSON object.", {"type": "object"}),
            "206": {"description": "The requested range."},
            "304": {"description": "Not modified."},
            "416": {"description": "The range is beyond the end."},
            **_failures(_FAILURES),
        },
    }


def _metrics() -> dict[str, Any]:
    media = metrics.MEDIA.partition(";")[0]
    return {
        "operationId": "metrics",
        "summary": "Return the gauges of each target in Prometheus format.",
        "responses": {
            "200": _response("The metrics.", {"type": "string"}, media=media),
            **_failures({422: _FAILURES[422], 503: _FAILURES[503]}),
        },
    }


def _parameters(query: type[NoQuery], path: str, components: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield the parameters of a route, those of its path and of its query."""
    schema = components[query.__name__]
    in_path = set(re.findall(r"\{(\w+)\}", path))
    for name, kind in schema["properties"].items():
        required = name in schema.get("required", ())
        yield {"name": name, "in": "path" if name in in_path else "query", "required": required, "schema": _plain(kind)}


def _plain(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of an optional parameter without null, which URLs cannot express."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    return options[0] if options else {key: value for key, value in schema.items() if value is not None}


def _failures(texts: Mapping[int, str]) -> dict[str, Any]:
    reference = {"$ref": _REFERENCE.format(name=ProblemDetails.__name__)}
    return {str(status): _response(text, reference, media=problems.MEDIA) for status, text in texts.items()}


def _response(description: str, schema: Mapping[str, Any], *, media: str = MEDIA) -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": schema}}}
