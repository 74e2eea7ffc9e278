"""All kinds as DuckDB SQL, on strings as parsed, written as JSON lines; cooc once more on the codes that ours works on.

python benchmarks/peer_duckdb.py EXPOSURES.jsonl
"""

# ruff: noqa: S608 - the values put into the queries are this project's own whole numbers

from pathlib import Path

import duckdb
from generate import CATALOG
from result import MAX_NEIGHBORS, MIN_SUPPORT, Result, digests_of_lines, main_of, out_folder

COLUMNS = """{v: 'INTEGER', ts: 'TIMESTAMP', tenant: 'VARCHAR', surface: 'VARCHAR', session_id: 'VARCHAR',
user_id: 'VARCHAR', item_id: 'VARCHAR', request_id: 'VARCHAR', rank: 'INTEGER'}"""

PARSE = f"""
create table events as
select ts, nullif(user_id, '') as user_id, session_id, rank, item_id, request_id
from read_json(?, format = 'newline_delimited', columns = {COLUMNS})
"""

POPULARITY = "select item_id, count(*) as count from events group by item_id order by count desc, item_id"

COOC_ROWS = f"""
with visited as (select distinct session_id, item_id from {{table}}),
pairs as (
    select a.item_id, b.item_id as other, count(*) as count
    from visited a join visited b on a.session_id = b.session_id and a.item_id <> b.item_id
    group by a.item_id, b.item_id having count(*) >= {MIN_SUPPORT}
)
select item_id, other, count from pairs
qualify row_number() over (partition by item_id order by count desc, other) <= {MAX_NEIGHBORS}
"""

COOC = f"""
select item_id, list({{{{'item_id': other, 'count': count}}}} order by count desc, other) as items
from ({COOC_ROWS}) group by item_id order by item_id
"""

SCORED = """
select user_id, list({'item_id': item_id, 'score': score} order by score desc, item_id) as items
from (select user_id, item_id, count(*) as score from %s group by user_id, item_id)
group by user_id order by user_id
"""

IMPLICIT = SCORED % "(select user_id, item_id from events where user_id is not null)"

SESSION_SEQ = (
    SCORED
    % """(
    select user_id, item_id from events where user_id is not null
    qualify row_number() over (partition by user_id order by ts, session_id, rank, item_id, request_id) > 1
)"""
)

CONTENT_SIM = """
with tagged as (
    select item_id, [trim(tag) for tag in string_split_regex(lower(tags), '[,;|]') if trim(tag) <> ''] as tags
    from read_csv('{catalog}', header = true, all_varchar = true)
    where coalesce(namespace, '') in ('', 'home')
)
select item_id, list_filter(tags, lambda tag, place: list_position(tags, tag) = place) as tags
from tagged where len(tags) > 0 order by item_id
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
    """Run every phase, then cooc on codes (aside, so that it weighs on nothing else), then hash what was written."""
    path = main_of("peer_duckdb.py")
    out = out_folder(path, "duckdb")
    result = Result(facts={"duckdb": duckdb.__version__})
    result.did = {"kinds": "5 of 5", "JSON": "lines"}
    queries = {
        "popularity": POPULARITY,
        "cooc": COOC.format(table="events"),
        "implicit": IMPLICIT,
        "session_seq": SESSION_SEQ,
        "content_sim": CONTENT_SIM.format(catalog=Path(path).with_name(CATALOG)),
    }
    with duckdb.connect() as database:
        with result.phase("parse"):
            database.execute(PARSE, [path])
        for name, query in queries.items():
            with result.phase(name):
                database.execute(f"copy ({query}) to '{out / name}.jsonl' (format json)")
        result.measured()
        spent = result.work_cpu
        database.execute(CODED)
        with result.phase("cooc_coded"):
            database.sql(COOC_ROWS.format(table="coded")).to_arrow_table()
        result.work_cpu = spent
    result.digests = digests_of_lines(out)
    result.hand_over()


if __name__ == "__main__":
    main()
