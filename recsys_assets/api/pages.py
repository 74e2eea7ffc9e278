"""Console over the API: its values rendered by templates, without a build step and without external resources.

Every page works without JavaScript. With it, htmx requests the same page again and replaces a part.
"""

import re
import threading
from collections.abc import Callable, Mapping
from datetime import date
from functools import cache, partial
from importlib.resources import files
from itertools import islice
from typing import Any, Final

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from recsys_assets.api import artifacts, queries, releases, targets
from recsys_assets.api.connections import RequestClass
from recsys_assets.api.console_actions import VERBS, ActQuery
from recsys_assets.api.context import MAX_RANKED, ApiContext
from recsys_assets.api.drawings import draw_lineage, draw_report
from recsys_assets.api.node_forms import RevisionQuery
from recsys_assets.api.node_pages import NodesPageQuery, gather_node, gather_nodes
from recsys_assets.api.operations import Done
from recsys_assets.api.overview import TargetSummaries, TargetSummary, look_at_all, select_targets
from recsys_assets.api.problems import ProblemDetails
from recsys_assets.api.recommendations import find_answers, find_examples, find_matches, sample_questions
from recsys_assets.api.release_detail import cover_days, days_to_cover
from recsys_assets.api.table_formats import is_table
from recsys_assets.api.target_views import draw_timeline, gather_outcomes, show_rollout
from recsys_assets.api.trends import Trends, draw_gates, draw_trends, read_day_reports, read_staged_reports
from recsys_assets.api.wording import filters
from recsys_assets.errors import BadRequestError, CorruptObjectError, NotFoundError, UnknownAddressError
from recsys_assets.identity import Target
from recsys_assets.release.documents import Release
from recsys_assets.release.labels import LIVE
from recsys_assets.release.layout import pointer_key
from recsys_assets.release.releases import earlier_releases, find_readable_release, known_releases
from recsys_assets.storage.store import fan_out

_RUN: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TEMPLATES: Final = "templates"
HTMX: Final = "htmx-2.0.10.min.js"  # As published, 0BSD. The name contains the version.
_RECENT: Final = 12  # journal entries in a target's table
_IN_PICTURE: Final = 60  # journal entries in a target's timeline
_CHOICES: Final = 30  # releases offered for a rollback
_SHIPPED: Final = 100  # formerly live releases read


class PageOf(msgspec.Struct, frozen=True):
    """One page: path, type of its parameters, template, and the function that gathers its values."""

    path: str
    query: type[queries.NoQuery]
    template: str
    gather: Callable[[ApiContext, Any], dict[str, Any]]
    cost: RequestClass = RequestClass.LIGHT


def answer_page(context: ApiContext, page: PageOf, query: queries.NoQuery, *, acts: bool = False) -> Response:
    """Answer with a page. With `acts` it offers the actions of a token with the scope `operate`."""
    shown = {**page.gather(context, query), "acts": acts}
    text = (
        _environment()
        .get_template(page.template)
        .render(
            shown,
            now=context.now(),
            trees=tuple(context.trees),
            run_url=partial(_run_url, context),
            pictured=partial(_pictured, context),
        )
    )
    refresh = query.refresh if isinstance(query, queries.OverviewQuery) else None
    return HTMLResponse(text, headers={"Refresh": str(refresh)} if refresh else None)


def _run_url(context: ApiContext, run_id: str | None) -> str | None:
    """Return the URL of a run in Dagster's UI, or None without api.dagster_url or for an id of another origin."""
    base = context.settings.api.dagster_url
    return f"{base.rstrip('/')}/runs/{run_id}" if base and run_id and _RUN.fullmatch(run_id) else None


def _pictured(context: ApiContext, url: str | None) -> bool:
    """Return whether a page may load a picture: only from the configured origins."""
    return url is not None and any(url.startswith(f"{origin}/") for origin in context.settings.api.images)


def page_of_problem(problem: ProblemDetails) -> str:
    """Return the page of an error."""
    return _environment().get_template("problem.html").render(problem=problem)


def page_of_api(document: Mapping[str, Any], *, base: str) -> str:
    """Return the description of the API as a page. `base` is the requested base URL, for examples."""
    return _environment().get_template("api.html").render(document=document, base=base)


def page_of_action(context: ApiContext, query: ActQuery, *, done: Done | None = None) -> str:
    """Return the page that confirms an action, or shows its outcome."""
    target = context.find(query.tenant, query.surface)
    live = releases.live_id(context, target)
    earlier = earlier_releases(context.store, target, live) if live else ()
    records = (find_readable_release(context.store, target, release) for release in earlier)
    choices = {release.id: release.data_through for release in islice(records, _CHOICES) if release}
    verb = VERBS[query.action]
    return _environment().get_template("act.html").render(query=query, verb=verb, choices=choices, done=done)


@cache
def page_file(name: str) -> bytes:
    """Return a static file: the style sheet, or htmx."""
    return files("recsys_assets.api").joinpath(_TEMPLATES, name).read_bytes()


def _targets_page(context: ApiContext, query: queries.OverviewQuery) -> dict[str, Any]:
    if context.targets:
        context.store.stat(pointer_key(context.targets[0]))  # fails the request if the store is down
    look = context.overview.look(lambda: _look(context))
    view = select_targets(look, query)
    trends = fan_out(lambda row: _trends(context, row), view.page.items)
    return {"view": view, "rows": [*zip(view.page.items, trends, strict=True)], "query": query}


def keep_overview_warm(context: ApiContext, stop: threading.Event) -> None:
    """Keep the overview of all targets and its trends cached until `stop`."""

    def draw(look: TargetSummaries) -> None:
        for row in select_targets(look, queries.OverviewQuery(limit=queries.MAX_PAGE)).page.items:
            if not stop.is_set():
                _trends(context, row)

    context.overview.keep_warm(lambda: _look(context), draw, stop)


def _look(context: ApiContext) -> TargetSummaries:
    return look_at_all(context.store, context.settings, now=context.now())


def _trends(context: ApiContext, row: TargetSummary) -> Trends:
    return draw_trends(context.points.walk(context.store, Target(row.tenant, row.surface), row.release))


def _target_page(context: ApiContext, query: queries.TargetPageQuery) -> dict[str, Any]:
    target_query = queries.TargetQuery(tenant=query.tenant, surface=query.surface)
    target = context.find(query.tenant, query.surface)
    view = targets.show_target(context, target_query)
    recent = queries.JournalQuery(tenant=query.tenant, surface=query.surface, limit=_IN_PICTURE)
    journal = releases.list_journal(context, recent).items
    freshness = targets.show_freshness(context, target_query)
    return {
        "target": view,
        "freshness": freshness,
        "steps": targets.next_steps(context, target, view, freshness),
        "rollout": show_rollout(context, target),
        "page": releases.list_releases(context, query),
        "journal": journal[:_RECENT],
        "timeline": draw_timeline(context.store, context.points, target, journal[::-1], view.hold),
        **_live_page_part(context, target, view.release, wanted=freshness.wanted_through),
        **_earlier(context, target, view.release),
    }


def _live_page_part(context: ApiContext, target: Target, live: str | None, *, wanted: date | None) -> dict[str, Any]:
    """Return the live release, its days, and its gates over time, empty if its record cannot be read."""
    named = queries.ReleaseQuery(tenant=target.tenant, surface=target.surface, release=LIVE)
    try:
        release = releases.show_release(context, named) if live else None
    except (NotFoundError, CorruptObjectError, UnknownAddressError):
        release = None
    if release is None:
        return {"live": None, "coverage": (), "lines": {}, "newest": None}
    days = days_to_cover(release, wanted=wanted)
    reports = read_day_reports(context.store, target, days)
    return {
        "live": release,
        "coverage": cover_days(release, reports, wanted=wanted),
        "lines": draw_gates(context.store, target, context.points.walk(context.store, target, live), reports),
        "newest": max(reports.items(), default=None),
    }


def _earlier(context: ApiContext, target: Target, live: str | None) -> dict[str, Any]:
    """Return recent formerly live releases, and the default for a comparison with the live one."""
    shipped = set(islice(known_releases(context.store, target), _SHIPPED))
    base = next(earlier_releases(context.store, target, live), None) if live else None
    return {"shipped": shipped, "base": base}


def _recommendations_page(context: ApiContext, query: queries.RecommendationsQuery) -> dict[str, Any]:
    target = context.find(query.tenant, query.surface)
    second = releases.find_named(context, target, query.after)
    earlier = next(earlier_releases(context.store, target, second.id), None)
    first = releases.find_named(context, target, query.before or earlier or second.id)
    listed = queries.TargetPageQuery(tenant=query.tenant, surface=query.surface)
    displays = context.displays.of(context.settings, target.surface)
    sampled = () if query.sample is None else sample_questions(context, target, query.sample, first, second)
    return {
        "first": first,
        "second": second,
        "live": releases.live_id(context, target),
        "answers": () if sampled else find_answers(context, target, query, first, second),
        "sampled": sampled,
        "matches": find_matches(displays, query.id) if query.id else (),
        "displays": displays,
        "examples": find_examples(context, target, second),
        "shipped": set(islice(known_releases(context.store, target), _SHIPPED)),
        "choices": _choices(releases.list_releases(context, listed).items, first, second),
        "query": query,
        "tenant": query.tenant,
        "surface": query.surface,
    }


def _choices(rows: tuple[releases.ReleaseRow, ...], *chosen: Release) -> dict[str, str]:
    """Return the releases that a form offers, including the chosen ones, by id with the end of their data."""
    recorded = {row.id: row.data_through or "" for row in rows if row.problem is None}
    return {**{release.id: release.data_through for release in chosen}, **recorded}


def _release_page(context: ApiContext, query: queries.ReleaseQuery) -> dict[str, Any]:
    release = releases.show_release(context, query)
    in_full = queries.TreeQuery(tenant=query.tenant, surface=query.surface, release=release.id, depth=queries.MAX_DEPTH)
    record = releases.find_named(context, context.find(query.tenant, query.surface), release.id)
    return {"release": release, "tree": releases.show_tree(context, in_full), "graph": draw_lineage(record)}


def _day_page(context: ApiContext, query: queries.OneDayQuery) -> dict[str, Any]:
    target, day = context.find(query.tenant, query.surface), _day(query.day)
    row = context.settings.find(target.tenant, target.surface)
    reports = read_day_reports(context.store, target, [day])
    staged = read_staged_reports(context.store, target, day, context.settings.kinds_for(row))
    recent = queries.JournalQuery(tenant=query.tenant, surface=query.surface, limit=queries.MAX_PAGE)
    return {
        "day": day,
        "report": reports.get(day),
        "staged": staged,
        "journal": [e for e in releases.list_journal(context, recent).items if e.details.get("day") == query.day],
        "users": artifacts.list_day_users(context, queries.DayQuery(**msgspec.structs.asdict(query))),
        "tenant": query.tenant,
        "surface": query.surface,
    }


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadRequestError(f"{text} is not a calendar day: expected YYYY-MM-DD, such as 2026-01-31") from None


def _report_page(context: ApiContext, query: queries.ReleaseQuery) -> dict[str, Any]:
    report = releases.show_report(context, query)
    record = releases.find_named(context, context.find(query.tenant, query.surface), query.release)
    return {
        "report": report,
        "plots": draw_report(record),
        "release": dict(report.facts)["release"],
        "tenant": query.tenant,
        "surface": query.surface,
    }


def _diff_page(context: ApiContext, query: queries.DiffQuery) -> dict[str, Any]:
    compared = releases.show_diff(context, query)
    names = {"tenant": query.tenant, "surface": query.surface}
    sides = [
        releases.show_release(context, queries.ReleaseQuery(**names, release=name))
        for name in (compared.before, compared.after)
    ]
    return {"diff": compared, "sides": sides, "displays": context.displays.of(context.settings, query.surface), **names}


def _artifact_page(context: ApiContext, query: queries.RowsQuery) -> dict[str, Any]:
    plain = queries.ArtifactQuery(version=query.version, tenant=query.tenant, surface=query.surface, kind=query.kind)
    artifact = artifacts.show_metadata(context, plain)
    ranks = artifact.rows is not None and artifact.rows <= MAX_RANKED
    if query.sort is None and ranks:
        query = msgspec.structs.replace(query, sort="support")
    has_rows = artifact.rows is not None or is_table(artifact.media_type)
    return {
        "artifact": artifact,
        "page": artifacts.list_rows(context, query) if has_rows else None,
        "query": query,
        "ranks": ranks,
        "displays": context.displays.of(context.settings, artifact.surface),
        "users": artifacts.list_users(
            context,
            queries.ArtifactPageQuery(
                version=query.version, tenant=query.tenant, surface=query.surface, kind=query.kind
            ),
        ),
    }


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("recsys_assets.api", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters())
    environment.globals.update({"htmx": HTMX})  # pyright: ignore[reportCallIssue, reportArgumentType] - names of any type
    return environment


PAGES: Final = (
    PageOf("/", queries.OverviewQuery, "targets.html", _targets_page),
    PageOf("/targets/{tenant}/{surface}", queries.TargetPageQuery, "target.html", _target_page),
    PageOf("/targets/{tenant}/{surface}/days/{day}", queries.OneDayQuery, "day.html", _day_page),
    PageOf("/targets/{tenant}/{surface}/releases/{release}", queries.ReleaseQuery, "release.html", _release_page),
    PageOf(
        "/targets/{tenant}/{surface}/releases/{release}/report",
        queries.ReleaseQuery,
        "report.html",
        _report_page,
        RequestClass.HEAVY,
    ),
    PageOf("/targets/{tenant}/{surface}/outcomes", queries.TargetQuery, "outcomes.html", gather_outcomes),
    PageOf("/targets/{tenant}/{surface}/diff", queries.DiffQuery, "diff.html", _diff_page, RequestClass.HEAVY),
    PageOf(
        "/targets/{tenant}/{surface}/recommendations",
        queries.RecommendationsQuery,
        "recommendations.html",
        _recommendations_page,
        RequestClass.HEAVY,
    ),
    PageOf("/artifacts/{version}", queries.RowsQuery, "artifact.html", _artifact_page, RequestClass.HEAVY),
    PageOf("/trees", NodesPageQuery, "nodes.html", gather_nodes),
    PageOf("/trees/{id}", RevisionQuery, "node.html", gather_node),
)
