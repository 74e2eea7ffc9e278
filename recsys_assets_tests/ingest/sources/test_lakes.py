"""Layouts of lakes: null partitions, tables whose log says what counts, and marks of jobs that have ended."""

import json
from datetime import UTC, date, datetime

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_assets.errors import InputError
from recsys_assets.identity import Target
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.quarantine import Reason
from recsys_assets.ingest.sources.discovery import find_inputs
from recsys_assets.settings.settings import Settings

DAY = date(2026, 1, 1)
HOME = Target("shop", "home")
EVENT = {"tenant": "shop", "surface": "home", "session_id": "s1", "item_id": "i1", "user_id": "u1"}
LAKE = "lake/day={day}/**/*.parquet"


def settings(folder, template=LAKE, **raw):
    raw = {"exposures": template, **raw}
    return Settings.model_validate({"raw": raw, "targets": [{"tenant": "shop", "surface": "home"}], "base": folder})


def put(folder, *places, without=()):
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        row = {"ts": datetime(2026, 1, 1, 8, tzinfo=UTC), **EVENT}
        pq.write_table(pa.Table.from_pylist([{name: row[name] for name in row if name not in without}]), path)


def judge(found):
    rejects = []
    report = parse_day(
        find_inputs(found, DAY), day=DAY, targets=[HOME], keep_part=lambda *_: None, keep_rejects=rejects.extend
    )
    return report.targets[HOME].events, [reject.reason for reject in rejects], [file.error for file in report.files]


@pytest.mark.parametrize("field", ["user_id", "session_id", "item_id", "tenant", "surface"])
def test_the_partition_of_null_is_null_in_every_field(tmp_path, field):
    put(tmp_path, f"lake/day={DAY}/{field}=__HIVE_DEFAULT_PARTITION__/part-0.parquet", without=[field])
    put(tmp_path, f"lake/day={DAY}/part-1.parquet")
    events, reasons, _ = judge(settings(tmp_path))
    if field == "user_id":
        assert (events, reasons) == (2, []), "an anonymous event"
    else:
        assert (events, reasons) == (1, [Reason.MISSING_FIELD])


def test_a_partition_that_is_spelled_with_escapes_is_its_value(tmp_path):
    put(tmp_path, f"lake/day={DAY}/tenant=%73hop/hour=01/part-0.parquet", without=["tenant"])
    assert judge(settings(tmp_path)) == (1, [], [None])


TABLES = {
    "Delta": "_delta_log/00000000000000000000.json",
    "Delta with a checkpoint alone": "_delta_log/_last_checkpoint",
    "Iceberg": "metadata/00000-1b2c.metadata.json",
    "Iceberg (compressed)": "metadata/00000-1b2c.gz.metadata.json",
    "Hudi": ".hoodie/hoodie.properties",
    "Paimon": "snapshot/LATEST",
    "Spark streaming": "_spark_metadata/0",
}


@pytest.mark.parametrize("root", ["lake/", f"lake/day={DAY}/", ""], ids=["table", "partition", "all"])
@pytest.mark.parametrize("table", TABLES)
def test_files_of_a_table_whose_log_says_what_counts_are_refused_by_name(tmp_path, table, root):
    put(tmp_path, f"lake/day={DAY}/hour=01/part-0.parquet")
    mark = tmp_path / root / TABLES[table]
    mark.parent.mkdir(parents=True)
    mark.write_text("{}")
    events, _, (error,) = judge(settings(tmp_path))
    assert events == 0
    assert f"part-0.parquet belongs to the {table.partition(' ')[0]}" in error
    assert "export the day" in error


def test_lines_of_a_stream_with_a_log_of_its_own_are_refused_too(tmp_path):
    (tmp_path / f"lake/day={DAY}/_spark_metadata").mkdir(parents=True)
    (tmp_path / f"lake/day={DAY}/_spark_metadata/0").write_text("v1\n")
    line = json.dumps({"v": 1, "ts": "2026-01-01T08:00:00Z", **EVENT})
    (tmp_path / f"lake/day={DAY}/part-00000-1b2c.json").write_text(f"{line}\n")
    (tmp_path / f"lake/day={DAY}/by-hand.json").write_text(f"{line}\n")
    events, _, errors = judge(settings(tmp_path, "lake/day={day}/*"))
    assert (events, errors[0]) == (1, None), "a file that no stream wrote"
    assert "part-00000-1b2c.json belongs to the Spark" in errors[1]


@pytest.mark.parametrize("folder", ["metadata/notes.json", "snapshot/old.parquet", "delta_log/0.json", "metadata/"])
def test_folders_that_only_sound_like_a_table_stop_nobody(tmp_path, folder):
    put(tmp_path, f"lake/day={DAY}/part-0.parquet")
    place = tmp_path / "lake" / folder
    place.parent.mkdir(exist_ok=True)
    place.mkdir() if folder.endswith("/") else place.write_text("{}")
    assert judge(settings(tmp_path)) == (1, [], [None])


@pytest.mark.parametrize("place", ["_SUCCESS", f"day={DAY}/_SUCCESS", f"day={DAY}/hour=01/_SUCCESS"])
def test_a_mark_in_a_folder_or_above_says_that_the_job_has_ended(tmp_path, place):
    put(tmp_path, f"lake/day={DAY}/hour=01/part-0.parquet")
    _, _, (error,) = judge(settings(tmp_path, require_success="_SUCCESS"))
    assert "part-0.parquet has no _SUCCESS in its folder or above" in error
    (tmp_path / "lake" / place).touch()
    assert judge(settings(tmp_path, require_success="_SUCCESS")) == (1, [], [None])


def test_a_mark_of_one_hour_says_nothing_of_another(tmp_path):
    put(tmp_path, *(f"lake/day={DAY}/hour=0{n}/part-0.parquet" for n in range(2)))
    (tmp_path / f"lake/day={DAY}/hour=00/_SUCCESS").touch()
    events, _, errors = judge(settings(tmp_path, require_success="_SUCCESS"))
    assert (events, errors[0]) == (1, None)
    assert "hour=01/part-0.parquet has no _SUCCESS" in errors[1]


def test_a_mark_is_asked_for_of_lines_as_well(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / f"{DAY}.jsonl").write_text("{}\n")
    (found,) = find_inputs(settings(tmp_path, "raw/{day}*.jsonl", require_success="DONE"), DAY)
    with pytest.raises(InputError, match="has no DONE"):
        found.open()


@pytest.mark.parametrize(
    "place",
    ["_temporary/0/_temporary/attempt_1/part-0.parquet", "_temporary/part-0.parquet", ".spark-staging-1/part-0.parquet",
     "_committed_17", "_started_17", "hour=01/_temporary/0/part-0.parquet", ".part-0.parquet.crc", "_metadata",
     "hour=01/.part-0.parquet.inprogress.1b2c"],
)  # fmt: skip
def test_what_a_job_has_not_committed_is_passed_over_and_named(tmp_path, place):
    put(tmp_path, f"lake/day={DAY}/part-1.parquet", f"lake/day={DAY}/{place}")
    skipped = []
    found = find_inputs(settings(tmp_path, "lake/day={day}/**/*"), DAY, skipped=skipped)
    assert [file.name for file in found] == [f"lake/day={DAY}/part-1.parquet"]
    (named,) = skipped
    assert f"lake/day={DAY}/{place}".startswith(named)


def test_a_table_in_a_bucket_is_refused_as_one_in_a_folder(tmp_path, s3_server, monkeypatch):
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    client, prefix = boto3.session.Session().client("s3"), s3_server.new_prefix()
    put(tmp_path, "part.parquet")
    data = (tmp_path / "part.parquet").read_bytes()
    client.put_object(Bucket=s3_server.bucket, Key=f"{prefix}/day={DAY}/h=1/a.parquet", Body=data)
    found = settings(tmp_path, f"s3://{s3_server.bucket}/{prefix}/day={{day}}/**/*.parquet")
    assert judge(found) == (1, [], [None])
    client.put_object(Bucket=s3_server.bucket, Key=f"{prefix}/_delta_log/00000000000000000000.json", Body=b"{}")
    events, _, (error,) = judge(found)
    assert events == 0
    assert "belongs to the Delta table" in error
