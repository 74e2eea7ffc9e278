"""The same kernels as DuckDB SQL, on strings as parsed; and cooc once more on the coded input that ours works on.

python benchmarks/peer_duckdb.py EXPOSURES.jsonl
"""

# ruff: noqa: S608 - the values put into the queries are this project's own whole numbers

import duckdb
import polars as pl
import pyarrow as pa
from result import MAX_ITEMS_PER_USER, MAX_NEIGHBORS, MIN_SUPPORT, Result, counts_alone, digest, main_of

COLUMNS = """{v: 'INTEGER', ts: 'TIMESTAMP', tenant: 'VARCHAR', surface: 'VARCHAR', session_id: 'VARCHAR',
user_id: 'VARCHAR', item_id: 'VARCHAR', request_id: 'VARCHAR', rank: 'INTEGER'}"""

PARSE = f"""
create table events as
select ts, nullif(user_id, '') as user_id, session_id, rank, item_id, request_id
from read_json(?, format = 'newline_delimited', columns = {COLUMNS})
"""

POPULARITY = "select item_id, count(*) as count from events group by item_id order by count desc, item_id"

COOC = f"""
with visited as (select distinct session_id, item_id from {{table}}),
pairs as (
    select a.item_id, b.item_id as other, count(*) as count
    from visited a join visited b on a.session_id = b.session_id and a.item_id <> b.item_id
    group by a.item_id, b.item_id having count(*) >= {MIN_SUPPORT}
)
select item_id, other, count from pairs
qualify row_number() over (partition by item_id order by count desc, other) <= {MAX_NEIGHBORS}
order by item_id, count desc, other
"""

IMPLICIT = f"""
with scores as (
    select user_id, item_id, count(*) as score from events where user_id is not null group by user_id, item_id
)
select user_id, item_id, score from scores
qualify row_number() over (partition by user_id order by score desc, item_id) <= {MAX_ITEMS_PER_USER}
order by user_id, score desc, item_id
"""

SESSION_SEQ = f"""
with placed as (
    select user_id, item_id,
        row_number() over (partition by user_id order by ts, session_id, rank, item_id, request_id) as place
    from events where user_id is not null
),
scores as (select user_id, item_id, count(*) as score from placed where place > 1 group by user_id, item_id)
select user_id, item_id, score from scores
qualify row_number() over (partition by user_id order by score desc, item_id) <= {MAX_ITEMS_PER_USER}
order by user_id, score desc, item_id
"""

# Codes in the order of the strings, as ours has them once a day is canonical.
CODED = """
create table coded as
select s.code as session_id, i.code as item_id from events
join (select session_id, (row_number() over (order by session_id) - 1)::uinteger as code
      from (select distinct session_id from events)) s using (session_id)
join (select item_id, (row_number() over (order by item_id) - 1)::uinteger as code
      from (select distinct item_id from events)) i using (item_id)
"""


def main() -> None:
    """Run every phase, then cooc on codes (aside, so that it weighs on nothing else), then hash what came out."""
    path = main_of("peer_duckdb.py")
    result = Result(facts={"duckdb": duckdb.__version__, "pyarrow": pa.__version__})
    tables: dict[str, pa.Table] = {}
    with duckdb.connect() as database:
        with result.phase("parse"):
            database.execute(PARSE, [path])
        queries = {
            "popularity": POPULARITY,
            "cooc": COOC.format(table="events"),
            "implicit": IMPLICIT,
            "session_seq": SESSION_SEQ,
        }
        for name, query in queries.items():
            with result.phase(name):
                tables[name] = database.sql(query).to_arrow_table()
        result.measured()
        database.execute(CODED)
        with result.phase("cooc_coded"):
            database.sql(COOC.format(table="coded")).to_arrow_table()
    for name, table in tables.items():
        result.digests[name] = digest(_frame(table))
    result.digests["cooc_counts"] = digest(counts_alone(_frame(tables["cooc"])))
    result.hand_over()


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - narrows what from_arrow may return
    return frame


if __name__ == "__main__":
    main()
