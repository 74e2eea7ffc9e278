"""All kinds in PySpark on this machine, written as JSON lines in parts.

python benchmarks/peer_spark.py EXPOSURES.jsonl
"""

import os
from pathlib import Path

import pyspark
from generate import CATALOG
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as f
from result import MAX_NEIGHBORS, MIN_SUPPORT, Result, digests_of_lines, main_of, out_folder

SCHEMA = "ts STRING, session_id STRING, user_id STRING, item_id STRING, request_id STRING, rank INT"


def main() -> None:
    """Start a session, run every phase, then hash what was written."""
    path = main_of("peer_spark.py")
    out = out_folder(path, "spark")
    result = Result(facts={"pyspark": pyspark.__version__}, did={"kinds": "5 of 5", "JSON": "lines, in parts"})
    with result.phase("start"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        settings = {
            "spark.driver.memory": "6g",
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "8",
            "spark.log.level": "ERROR",
        }
        builder = SparkSession.builder.master("local[*]").appName("benchmark")
        session = builder.config(map=settings).getOrCreate()
    with result.phase("parse"):
        events = session.read.schema(SCHEMA).json(path).cache()
        events.count()
    known = events.where("user_id <> ''")
    place = f.row_number().over(
        Window.partitionBy("user_id").orderBy("ts", "session_id", "rank", "item_id", "request_id")
    )
    frames = {
        "popularity": events.groupBy("item_id").count().orderBy(f.desc("count"), "item_id"),
        "cooc": neighbors(events),
        "implicit": scores(known),
        "session_seq": scores(known.withColumn("place", place).where("place > 1")),
        "content_sim": tags(session, path),
    }
    for name, frame in frames.items():
        with result.phase(name):
            frame.write.json(str(out / f"{name}.jsonl"))
    result.measured()
    result.work_cpu = 0.0  # the JVM did the work: the runner's figure of all processes counts
    session.stop()
    result.digests = digests_of_lines(out)
    result.hand_over()


def neighbors(events: DataFrame) -> DataFrame:
    """Join the distinct items of a session with themselves, count pairs, keep each item's best."""
    visited = events.select("session_id", "item_id").distinct()
    others = visited.select("session_id", f.col("item_id").alias("other"))
    pairs = visited.join(others, "session_id").where("item_id <> other").groupBy("item_id", "other").count()
    best = Window.partitionBy("item_id").orderBy(f.desc("count"), "other")
    kept = pairs.where(f.col("count") >= MIN_SUPPORT).withColumn("place", f.row_number().over(best))
    kept = kept.where(f.col("place") <= MAX_NEIGHBORS)
    return _listed(kept.withColumnRenamed("other", "member"), "item_id", "count")


def scores(events: DataFrame) -> DataFrame:
    """Count events of each user and item, most first."""
    counted = events.groupBy("user_id", "item_id").count().withColumnRenamed("count", "score")
    best = Window.partitionBy("user_id").orderBy(f.desc("score"), "item_id")
    placed = counted.withColumn("place", f.row_number().over(best)).withColumnRenamed("item_id", "member")
    return _listed(placed, "user_id", "score")


def _listed(rows: DataFrame, owner: str, number: str) -> DataFrame:
    members = f.sort_array(f.collect_list(f.struct("place", f.col("member").alias("item_id"), number)))
    items = f.transform(members, lambda one: f.struct(one["item_id"].alias("item_id"), one[number].alias(number)))
    return rows.groupBy(owner).agg(items.alias("items")).orderBy(owner)


def tags(session: SparkSession, path: str) -> DataFrame:
    """List the distinct tags of each item of the catalog."""
    rows = session.read.csv(str(Path(path).with_name(CATALOG)), header=True)
    # `f.trim` itself would be handed the place of a tag as its second argument.
    split = f.transform(f.split(f.lower("tags"), "[,;|]"), lambda tag: f.trim(tag))  # noqa: PLW0108
    return rows.select("item_id", f.array_distinct(f.filter(split, lambda tag: tag != "")).alias("tags")).orderBy(
        "item_id"
    )


if __name__ == "__main__":
    main()
