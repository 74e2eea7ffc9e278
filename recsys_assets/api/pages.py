"""The web page over the API: the same answers, put into templates; no script, no build step, nothing from elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from recsys_assets.api import artifacts, history, queries, releases, reports, targets
from recsys_assets.api.budgets import RequestClass
from recsys_assets.api.lineage import LEVELS
from recsys_assets.api.problems import Problem
from recsys_assets.api.site import Site
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.upkeep.report_document import shown

_TEMPLATES: Final = "templates"
_RECENT: Final = 8  # journal entries beside a target's releases


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
    return HTMLResponse(_environment().get_template(page.template).render(page.gather(site, query)))


def page_of_problem(problem: Problem) -> str:
    """Return the page that says why there is no other."""
    return _environment().get_template("problem.html").render(problem=problem)


@cache
def style_sheet() -> bytes:
    """Return the one style sheet."""
    return files("recsys_assets.api").joinpath(_TEMPLATES, "style.css").read_bytes()


def _targets_page(site: Site, query: queries.PageQuery) -> dict[str, Any]:
    page = targets.list_targets(site, query)
    gates = {(row.tenant, row.surface): _gates(site, row) for row in page.items}
    return {"page": page, "gates": gates, "total": len(site.targets)}


def _target_page(site: Site, query: queries.TargetPageQuery) -> dict[str, Any]:
    one = queries.TargetQuery(tenant=query.tenant, surface=query.surface)
    recent = queries.JournalQuery(tenant=query.tenant, surface=query.surface, limit=_RECENT)
    return {
        "target": targets.show_target(site, one),
        "freshness": targets.show_freshness(site, one),
        "page": releases.list_releases(site, query),
        "journal": history.list_journal(site, recent),
    }


def _release_page(site: Site, query: queries.ReleaseQuery) -> dict[str, Any]:
    release = releases.show_release(site, query)
    in_full = queries.TreeQuery(tenant=query.tenant, surface=query.surface, release=release.id, depth=queries.MAX_DEPTH)
    return {"release": release, "tree": releases.show_tree(site, in_full), "levels": LEVELS}


def _report_page(site: Site, query: queries.ReleaseQuery) -> dict[str, Any]:
    report = reports.show_report(site, query)
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


def _gates(site: Site, row: targets.TargetView) -> str:
    """Return, in words, what the gates said of a target's live release."""
    if row.release is None:
        return ""
    named = queries.ReleaseQuery(tenant=row.tenant, surface=row.surface, release=row.release)
    try:
        reports = [one.passed for one in releases.show_release(site, named).artifacts]
    except RecsysAssetsError:
        return "cannot be read"
    return f"{sum(reports)} of {len(reports)} passed"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("recsys_assets.api", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["part"] = lambda name: quote(str(name), safe="")
    environment.filters["short"] = lambda identifier: str(identifier)[:12]
    environment.filters["bytes"] = lambda size: f"{size:,}"
    environment.filters["shown"] = shown
    environment.filters["instant"] = _instant
    return environment


def _instant(value: Any) -> str:
    """Return an instant to the second, as people read it."""
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text[:19].replace("T", " ")


PAGES: Final = (
    PageOf("/", queries.PageQuery, "targets.html", _targets_page),
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
    PageOf("/artifacts/{version}", queries.RowsQuery, "artifact.html", _artifact_page, RequestClass.HEAVY),
)
