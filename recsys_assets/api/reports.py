"""The report of a release, as a document and as a page; its texts name no place in the store."""

from dataclasses import replace

from recsys_assets.api.queries import ReleaseQuery
from recsys_assets.api.redaction import redact
from recsys_assets.api.releases import find_named, live_id
from recsys_assets.api.site import Site
from recsys_assets.evidence import Scalar
from recsys_assets.upkeep.report import report_release
from recsys_assets.upkeep.report_document import Report, Section


def show_report(site: Site, query: ReleaseQuery) -> Report:
    """Return what a release changed, in words, what its gates found, and its inputs."""
    target = site.find(query.tenant, query.surface)
    release = find_named(site, target, query.release)
    with site.heavy.pass_through():
        report = report_release(site.store, target, release, live=release.id == live_id(site, target))
    return replace(report, sections=tuple(_redact(section) for section in report.sections))


def _redact(section: Section) -> Section:
    rows = tuple(tuple(_hidden(cell) for cell in row) for row in section.rows)
    return replace(section, message=tuple(redact(line) for line in section.message), rows=rows)


def _hidden(cell: Scalar) -> Scalar:
    return redact(cell) if isinstance(cell, str) else cell
