"""Measures what scores, windows and decay are worth on held-out days; writes docs/quality.md.

python benchmarks/quality.py [FOLDER]

FOLDER holds one file of exposures a day (`2010-12-01.jsonl.gz`); without it only the law that is known is measured. The
numbers depend on no machine: the same sessions give the same table.
"""

import sys
from pathlib import Path

from quality_models import Model, ours, peers
from quality_scoring import CUTS, Scored, difference, score_model
from quality_worlds import World, law_world, real_world

PAGE = Path(__file__).parents[1] / "docs" / "quality.md"
MANY = {"max_items": 5000}  # no item is cut, so that only the score makes rows differ
WEEKS = 14
PEER = "implicit's BM25Recommender"
BEGIN, END = "<!-- tables: written by benchmarks/quality.py -->", "<!-- end of tables -->"


def contenders() -> list[Model]:
    """Return every model, the default first."""
    scores = ("cosine", "jaccard")
    return [
        *(ours("cooc", days, **MANY) for days in (1, 7, WEEKS)),
        *(ours("cooc", WEEKS, **MANY, score=name, shrinkage=k) for name in scores for k in (0, 3, 10)),
        ours("cooc", WEEKS, **MANY, half_life_days=7),
        *(ours("cooc", WEEKS, **MANY, score=name, shrinkage=3, half_life_days=7) for name in scores),
        *(ours("popularity", days, **MANY) for days in (1, 7, WEEKS)),
        ours("popularity", WEEKS, **MANY, half_life_days=7),
        *peers(WEEKS),
    ]


def main() -> None:
    """Score every model on every world, print the tables and write the page."""
    worlds = [real_world(Path(name)) for name in sys.argv[1:]] + [law_world()]
    tables = [table_of(world, [score_model(world, model) for model in contenders()]) for world in worlds]
    sys.stdout.write("\n".join(tables))
    if len(sys.argv) > 1:
        PAGE.write_text(page_of(tables), encoding="utf-8")


def page_of(tables: list[str]) -> str:
    """Put the tables in place of those of the page; the words around them stay."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{chr(10).join(tables)}\n{END}{tail}"


def table_of(world: World, found: list[Scored]) -> str:
    """Return a world's table: every model with its numbers, and its distance from the count of the same days."""
    base = next(one for one in found if (one.model.name, one.model.window_days) == ("cooc", WEEKS))
    peer = next(one for one in found if one.model.name == PEER)
    lines = [
        f"### {world.name}\n",
        f"{world.message}; {len(base.gains):,} held-out sessions, {CUTS} tasks each.\n",
        f"| model | days | hit rate | MRR | nDCG | coverage | nDCG beside the count of {WEEKS} days | beside BM25 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        numbers = (f"{number:.4f}" for number in (one.hit_rate, one.mrr, one.ndcg, one.coverage))
        beside = (show_beside(one, other) for other in (base, peer))
        lines.append(f"| {' | '.join((one.model.name, str(one.model.window_days), *numbers, *beside))} |")
    return "\n".join(lines) + "\n"


def show_beside(one: Scored, other: Scored) -> str:
    """Return how far a model's nDCG lies from another's, with the interval; nothing for itself."""
    if one is other:
        return ""
    gain, low, high = difference(one, other)
    return f"{gain:+.4f} ({low:+.4f} to {high:+.4f})"


if __name__ == "__main__":
    main()
