"""Refusals of a rebuild that would make a canonical day smaller: files that are gone, events that would be lost."""

from recsys_assets.errors import InputError
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.records import RawRecord, RawTargetRecord, missing_files
from recsys_assets.release.documents import CanonicalRecord


def refuse_missing_files(
    context: DayContext, raw: RawRecord, share: RawTargetRecord, stored: CanonicalRecord | None
) -> None:
    """Raise `InputError` if files are gone that the day was read or built from: what is left would make it smaller."""
    absent = raw.missing or ()
    there = [(file.name, file.digest) for file in raw.files if file.name in share.files and file.name not in absent]
    built = {(used.name, used.digest) for used in stored.inputs} if stored else set[tuple[str, str]]()
    built |= {(file.name, file.digest) for file in raw.files if file.name in share.files and file.name in absent}
    gone = missing_files(built, there)
    if gone:
        raise InputError(
            f"{context.target} {raw.day}: {len(gone)} of the {len(built)} files that the stored day was built from are "
            f"gone ({', '.join(gone[:3])}): restore them, or accept a smaller day by "
            "`recsys-assets run --rebuild-without-missing-files`, or raw.rebuild_without_missing_files"
        )


def refuse_lost_events(
    context: DayContext, stored: CanonicalRecord | None, rows: int, *, there: list[tuple[str, str]]
) -> None:
    """Raise `InputError` if more than `raw.max_lost_share` of the stored day's distinct events would be lost.

    `rows` are counted before forgotten users are taken out: who is forgotten is not lost. Files that are gone, and
    that somebody accepted, are no reason to ask twice.
    """
    if stored is None or rows >= stored.rows:
        return
    if missing_files([(used.name, used.digest) for used in stored.inputs], there):
        return
    lost, limit = stored.rows - rows, context.settings.raw.max_lost_share
    if lost > limit * stored.rows:
        raise InputError(
            f"{context.target} {context.day}: rebuilt, the day would have {rows:,} distinct events, {stored.rows:,} "
            f"are stored: {lost / stored.rows:.1%} would be lost, raw.max_lost_share allows {limit:.1%}; what is "
            "stored stays. Restore the files, or accept a smaller day by `recsys-assets run --accept-smaller-days`"
        )
