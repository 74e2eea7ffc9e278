"""ASGI application of the API: routes, security headers, and error responses that reveal no internals."""

import logging
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeAlias

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route as Address
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys_assets.api import console_actions, metrics, problems
from recsys_assets.api.access import MACHINES, TokenCheck, require
from recsys_assets.api.actions import Action, ActionRequest, allow, answer_of, read_body
from recsys_assets.api.artifact_bytes import send_content
from recsys_assets.api.artifacts import MEDIA
from recsys_assets.api.connections import Budgets, RequestClass
from recsys_assets.api.console_actions import ActQuery, act, may_act, read_form
from recsys_assets.api.context import ApiContext
from recsys_assets.api.metrics import Health, Scrapes
from recsys_assets.api.node_forms import DownloadQuery
from recsys_assets.api.pages import (
    HTMX,
    PAGES,
    PageOf,
    answer_page,
    keep_overview_warm,
    page_file,
    page_of_action,
    page_of_api,
    page_of_problem,
)
from recsys_assets.api.problems import ProblemDetails, of_status, problem_of
from recsys_assets.api.queries import ArtifactQuery, NoQuery, read_query
from recsys_assets.api.routes import ACTIONS, CONTENT_PATH, ROUTES, Route, describe
from recsys_assets.api.trees import download_node
from recsys_assets.errors import RecsysAssetsError

_log = logging.getLogger(__name__)

Answering: TypeAlias = Callable[[Request], Response]
Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # same-origin forms send it, links to other origins do not
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FOREVER: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY")


def make_application(
    context: ApiContext, *, hosts: Sequence[str] = ("*",), actions: Sequence[Action] = ACTIONS
) -> Starlette:
    """Return the ASGI application of a context. Endpoints other than actions accept only GET and HEAD.

    `hosts` are the accepted names in the Host header. With `[api] tokens` every request except health checks needs a
    token. Without tokens, actions that change something are refused.
    """
    return Starlette(
        routes=_addresses(context, actions),
        middleware=[
            Middleware(_Headers, images=context.settings.api.images),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(TokenCheck, tokens=context.settings.api.tokens, page=page_of_problem),
        ],
        lifespan=_warm(context),
        exception_handlers={
            RecsysAssetsError: _answer_error,
            HTTPException: _answer_status,
            Exception: _answer_unexpected,
        },
    )


def _warm(context: ApiContext) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """Return the lifespan of the application: a thread that keeps the overview of all targets up to date."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        stop = threading.Event()
        threading.Thread(target=keep_overview_warm, args=(context, stop), daemon=True).start()
        yield
        stop.set()

    return lifespan


def _addresses(context: ApiContext, actions: Sequence[Action]) -> list[Address]:
    document = describe(actions)
    description = msgspec.json.encode(document)
    scrapes, budgets = Scrapes(), Budgets()
    bare: dict[str, Callable[[Request], Response]] = {
        "/openapi.json": lambda _: Response(description, media_type=MEDIA),
        "/metrics": lambda _: Response(scrapes.text(context), headers={"Content-Type": metrics.MEDIA}),
        "/api": lambda request: HTMLResponse(page_of_api(document, base=str(request.base_url).rstrip("/"))),
        "/style.css": lambda _: Response(page_file("style.css"), media_type="text/css"),
        f"/{HTMX}": lambda _: Response(page_file(HTMX), media_type="text/javascript", headers=_FOREVER),
    }

    by_path: defaultdict[str, dict[str, Handler]] = defaultdict(dict)

    def read(path: str, cost: RequestClass, answer: Answering) -> None:
        async def endpoint(request: Request) -> Response:
            return await budgets.run(cost, lambda: answer(request))

        by_path[path]["GET"] = endpoint

    for route in ROUTES:
        read(route.path, route.cost, _json_answer(context, route))
    read(CONTENT_PATH, RequestClass.HEAVY, _content_answer(context))
    for path, answer in bare.items():
        read(path, RequestClass.LIGHT, _bare_answer(answer))
    for page in PAGES:
        read(page.path, page.cost, _page_answer(context, page))
    # Downloads of pages have paths outside the API, because browsers send the entered token only to pages.
    read("/artifacts/{version}/content", RequestClass.HEAVY, _content_answer(context))
    read("/trees/{id}/download", RequestClass.HEAVY, _download_answer(context))
    read(console_actions.PATH, RequestClass.LIGHT, _confirm_answer(context))
    by_path[console_actions.PATH]["POST"] = _action_page_endpoint(context, budgets)
    for action in actions:
        by_path[action.path][action.method] = _action_endpoint(context, budgets, action)
    return [Address(path, _dispatch(methods), methods=_METHODS) for path, methods in by_path.items()]


def _dispatch(methods: dict[str, Handler]) -> Handler:
    """Return the endpoint of a path for all methods, so that a path such as `{id}` cannot match the others."""
    allowed = ", ".join(sorted({*methods, "HEAD"} if "GET" in methods else methods))

    async def endpoint(request: Request) -> Response:
        chosen = methods.get("GET" if request.method == "HEAD" else request.method)
        if chosen is None:
            raise HTTPException(405, headers={"Allow": allowed})
        return await chosen(request)

    return endpoint


def _action_endpoint(context: ApiContext, budgets: Budgets, action: Action) -> Handler:
    async def endpoint(request: Request) -> Response:
        by = allow(request, action)  # before the body is read
        query = _query(request, action.query)
        body = await read_body(request, max_bytes=action.max_bytes if action.body else 0)
        action_request = ActionRequest(query, body, request.headers, by)
        return answer_of(action, await budgets.run(action.cost, lambda: action.handle(context, action_request)))

    return endpoint


def _json_answer(context: ApiContext, route: Route) -> Answering:
    def answer(request: Request) -> Response:
        value = route.handle(context, _query(request, route.query))
        status = value.status if isinstance(value, Health) else 200
        return Response(msgspec.json.encode(value), status, {"Cache-Control": "no-cache"}, MEDIA)

    return answer


def _content_answer(context: ApiContext) -> Answering:
    return lambda request: send_content(context, _query(request, ArtifactQuery), request)


def _download_answer(context: ApiContext) -> Answering:
    return lambda request: download_node(
        context, ActionRequest(_query(request, DownloadQuery), headers=request.headers)
    )


def _bare_answer(answer: Answering) -> Answering:
    def checked(request: Request) -> Response:
        _query(request, NoQuery)
        return answer(request)

    return checked


def _page_answer(context: ApiContext, page: PageOf) -> Answering:
    def answer(request: Request) -> Response:
        query = read_query(page.query, *_given(request), lenient=True)
        return answer_page(context, page, query, acts=may_act(request))

    return answer


def _confirm_answer(context: ApiContext) -> Answering:
    def answer(request: Request) -> Response:
        require(request, "operate")
        return HTMLResponse(page_of_action(context, read_query(ActQuery, *_given(request), lenient=True)))

    return answer


def _action_page_endpoint(context: ApiContext, budgets: Budgets) -> Handler:
    async def endpoint(request: Request) -> Response:
        form, by = await read_form(request)

        def answer() -> Response:
            done = act(context, form, by=by)
            return HTMLResponse(page_of_action(context, form, done=done), headers={"Cache-Control": "no-store"})

        return await budgets.run(RequestClass.LIGHT, answer)

    return endpoint


def _query(request: Request, form: type[Any]) -> Any:
    return read_query(form, *_given(request))


def _given(request: Request) -> tuple[dict[str, str], list[tuple[str, str]]]:
    return dict(request.path_params), request.query_params.multi_items()


def _answer_error(request: Request, error: Exception) -> Response:
    """Answer with the public part of an error. The log has the rest."""
    problem = problem_of(error) if isinstance(error, RecsysAssetsError) else of_status(500)
    if problem.status >= 500 or problem.status == 410:  # noqa: PLR2004 - errors for the operator
        _log.warning("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error)
    return _problem(request, problem)


def _answer_status(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    answer = _problem(request, of_status(status))
    answer.headers.update((error.headers or {}) if isinstance(error, HTTPException) else {})
    return answer


def _answer_unexpected(request: Request, _: Exception) -> Response:
    """Answer 500 for an unexpected error. Only the server's log has the traceback.

    Starlette builds this response outside of all middleware, so the security headers are added here.
    """
    answer = _problem(request, of_status(500))
    answer.headers.update(HEADERS)
    return answer


def _problem(request: Request, problem: ProblemDetails) -> Response:
    headers = {**problem.headers, "Cache-Control": "no-store"}
    if not request.url.path.startswith(MACHINES):
        return Response(page_of_problem(problem), problem.status, headers, "text/html")
    return Response(msgspec.json.encode(problem), problem.status, headers, problems.MEDIA)


class _Headers:
    """ASGI middleware that adds security headers to every response, including errors."""

    def __init__(self, app: ASGIApp, *, images: Sequence[str]) -> None:
        self._app = app
        policy = HEADERS["Content-Security-Policy"].replace("img-src 'self'", " ".join(("img-src 'self'", *images)))
        self._headers = {**HEADERS, "Content-Security-Policy": policy}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
