"""The web page over the API: the same answers, put into templates; no script, no build step, nothing from elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from recsys_assets.api import artifacts, queries, releases, targets
from recsys_assets.api.connections import RequestClass
from recsys_assets.api.lineage import LEVELS
from recsys_assets.api.overview import look_at_all, select_targets
from recsys_assets.api.problems import Problem
from recsys_assets.api.recommendations import find_answers, find_examples
from recsys_assets.api.release_view import ReleaseView, cover_days
from recsys_assets.api.site import Site
from recsys_assets.api.timeline import draw_sparkline, draw_timeline
from recsys_assets.api.wording import filters
from recsys_assets.errors import CorruptObjectError, NotFoundError, UnknownAddressError
from recsys_assets.identity import Target
from recsys_assets.release.documents import Release
from recsys_assets.release.history import earlier_releases, known_releases
from recsys_assets.release.layout import pointer_key
from recsys_assets.storage.fan_out import fan_out
from recsys_assets.upkeep.diff import LIVE

_TEMPLATES: Final = "templates"
_RECENT: Final = 12  # journal entries in the table of a target
_IN_PICTURE: Final = 60  # in its timeline
_SHIPPED: Final = 100  # releases that were live are looked for


@dataclass(frozen=True, slots=True)
class PageOf:
    """One page: its address, its parameters' form, its template, and the function that gathers what it shows."""

    path: str
    query: type[queries.NoQuery]
    template: str
    gather: Callable[[Site, Any], dict[str, Any]]
    cost: RequestClass = RequestClass.LIGHT


def answer_page(site: Site, page: PageOf, query: queries.NoQuery) -> Response:
    """Answer with a page."""
    return HTMLResponse(_environment().get_template(page.template).render(page.gather(site, query), now=site.now()))


def page_of_problem(problem: Problem) -> str:
    """Return the page that says why there is no other."""
    return _environment().get_template("problem.html").render(problem=problem)


@cache
def style_sheet() -> bytes:
    """Return the one style sheet."""
    return files("recsys_assets.api").joinpath(_TEMPLATES, "style.css").read_bytes()


def _targets_page(site: Site, query: queries.OverviewQuery) -> dict[str, Any]:
    if site.targets:
        site.store.stat(pointer_key(site.targets[0]))  # a store that is down fails the answer
    look = site.overview.look(lambda: look_at_all(site.store, site.settings, now=site.now()))
    view = select_targets(look, query)
    targets_of = [Target(row.tenant, row.surface) for row in view.page.items]
    lines = fan_out(
        lambda pair: draw_sparkline(site.store, site.points, *pair),
        [(target, row.release) for target, row in zip(targets_of, view.page.items, strict=True)],
    )
    return {"view": view, "rows": [*zip(view.page.items, lines, strict=True)], "query": query}


def _target_page(site: Site, query: queries.TargetPageQuery) -> dict[str, Any]:
    one = queries.TargetQuery(tenant=query.tenant, surface=query.surface)
    target = site.find(query.tenant, query.surface)
    view = targets.show_target(site, one)
    recent = queries.JournalQuery(tenant=query.tenant, surface=query.surface, limit=_IN_PICTURE)
    journal = releases.list_journal(site, recent).items
    freshness = targets.show_freshness(site, one)
    live = _live_page_part(site, query) if view.release else None
    return {
        "target": view,
        "freshness": freshness,
        "page": releases.list_releases(site, query),
        "journal": journal[:_RECENT],
        "timeline": draw_timeline(site.store, site.points, target, journal[::-1], view.hold),
        "live": live,
        "coverage": cover_days(live, wanted=freshness.wanted_through) if live else (),
        **_earlier(site, target, view.release),
    }


def _live_page_part(site: Site, query: queries.TargetPageQuery) -> ReleaseView | None:
    """Return the live release with its gates, or None if its record cannot be read: the page names that problem."""
    named = queries.ReleaseQuery(tenant=query.tenant, surface=query.surface, release=LIVE)
    try:
        return releases.show_release(site, named)
    except (NotFoundError, CorruptObjectError, UnknownAddressError):
        return None


def _earlier(site: Site, target: Target, live: str | None) -> dict[str, Any]:
    """Return the releases that ever were live, as far as looked, and the one to compare the live one with."""
    shipped = set(islice(known_releases(site.store, target), _SHIPPED))
    base = next(earlier_releases(site.store, target, live), None) if live else None
    return {"shipped": shipped, "base": base}


def _recommendations_page(site: Site, query: queries.RecommendationsQuery) -> dict[str, Any]:
    target = site.find(query.tenant, query.surface)
    second = releases.find_named(site, target, query.after)
    earlier = next(earlier_releases(site.store, target, second.id), None)
    first = releases.find_named(site, target, query.before or earlier or second.id)
    listed = queries.TargetPageQuery(tenant=query.tenant, surface=query.surface)
    return {
        "first": first,
        "second": second,
        "live": releases.live_id(site, target),
        "answers": find_answers(site, target, query, first, second),
        "examples": find_examples(site, target, second),
        "choices": _choices(releases.list_releases(site, listed).items, first, second),
        "query": query,
        "tenant": query.tenant,
        "surface": query.surface,
    }


def _choices(rows: tuple[releases.ReleaseRow, ...], *chosen: Release) -> dict[str, str]:
    """Return the releases that a form offers, by id, with the end of their data; those that are chosen always."""
    known = {row.id: row.data_through or "" for row in rows if row.problem is None}
    return {**{one.id: one.data_through for one in chosen}, **known}


def _release_page(site: Site, query: queries.ReleaseQuery) -> dict[str, Any]:
    release = releases.show_release(site, query)
    in_full = queries.TreeQuery(tenant=query.tenant, surface=query.surface, release=release.id, depth=queries.MAX_DEPTH)
    return {"release": release, "tree": releases.show_tree(site, in_full), "levels": LEVELS}


def _report_page(site: Site, query: queries.ReleaseQuery) -> dict[str, Any]:
    report = releases.show_report(site, query)
    return {
        "report": report,
        "release": dict(report.facts)["release"],
        "tenant": query.tenant,
        "surface": query.surface,
    }


def _diff_page(site: Site, query: queries.DiffQuery) -> dict[str, Any]:
    found = releases.show_diff(site, query)
    one = {"tenant": query.tenant, "surface": query.surface}
    sides = [
        releases.show_release(site, queries.ReleaseQuery(**one, release=name)) for name in (found.before, found.after)
    ]
    return {"diff": found, "sides": sides, **one}


def _artifact_page(site: Site, query: queries.RowsQuery) -> dict[str, Any]:
    plain = queries.ArtifactQuery(version=query.version, tenant=query.tenant, surface=query.surface, kind=query.kind)
    return {
        "artifact": artifacts.show_metadata(site, plain),
        "page": artifacts.list_rows(site, query),
        "query": query,
        "users": artifacts.list_users(
            site,
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
    return environment


PAGES: Final = (
    PageOf("/", queries.OverviewQuery, "targets.html", _targets_page),
    PageOf("/targets/{tenant}/{surface}", queries.TargetPageQuery, "target.html", _target_page),
    PageOf("/targets/{tenant}/{surface}/releases/{release}", queries.ReleaseQuery, "release.html", _release_page),
    PageOf(
        "/targets/{tenant}/{surface}/releases/{release}/report",
        queries.ReleaseQuery,
        "report.html",
        _report_page,
        RequestClass.HEAVY,
    ),
    PageOf("/targets/{tenant}/{surface}/diff", queries.DiffQuery, "diff.html", _diff_page, RequestClass.HEAVY),
    PageOf(
        "/targets/{tenant}/{surface}/recommendations",
        queries.RecommendationsQuery,
        "recommendations.html",
        _recommendations_page,
        RequestClass.HEAVY,
    ),
    PageOf("/artifacts/{version}", queries.RowsQuery, "artifact.html", _artifact_page, RequestClass.HEAVY),
)
