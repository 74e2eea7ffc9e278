"""A shop of two days in which a user is to be forgotten, and what its store holds of whom."""

import json
from datetime import UTC, datetime

from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.privacy.forget import ForgetRequest, forget_user
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import canonical_record_key
from recsys_assets.release.releases import read_release, refs_of
from recsys_assets.release.shards import read_blob
from recsys_assets_tests.small_shop import HOME

GONE, STAYS = "u1", "u3"
BY = Actor("ann", "asked to be forgotten")
BAD_LINE = json.dumps({"v": 1, "tenant": "shop", "surface": "home", "user_id": GONE})


def build(shop, day):
    """Build and ship a day of both targets, stage by stage."""
    store, settings = shop.store, shop.settings
    build_raw(store, settings, day)
    for row in settings.targets:
        build_canonical(DayContext(store, settings, row, day))
        judge_canonical(DayContext(store, settings, row, day))
        for kind in settings.artifacts.kinds:
            build_artifact(DayContext(store, settings, row, day, run_id="test"), kind)
            judge_artifact(DayContext(store, settings, row, day), kind)
        ship_day(DayContext(store, settings, row, day, now=lambda: datetime.now(UTC)), by=BY)


def now():
    return datetime(2026, 2, 1, tzinfo=UTC)


def forget(shop, user=GONE, **options):
    row = shop.settings.find(HOME.tenant, HOME.surface)
    return forget_user(ForgetRequest(shop.store, shop.settings, row, user, BY, now), **options)


def canonical(shop, day, target=HOME):
    record = read_document(shop.store, canonical_record_key(target, day), CanonicalRecord)
    return record, read_events(shop.store, target, day, record)


def live_users(shop, target=HOME):
    release = read_release(shop.store, target, shop.live(target).release_id)
    blobs = {ref.kind: json.loads(read_blob(shop.store, target, ref)) for ref in refs_of(release)}
    return {kind: {row["user_id"] for row in blobs[kind]["users"]} for kind in ("implicit", "session_seq")}
