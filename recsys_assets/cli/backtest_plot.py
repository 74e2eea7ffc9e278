"""A back-test as a picture: each difference in nDCG with its interval, one line a day and recommender, as SVG."""

from collections.abc import Sequence
from html import escape

from recsys_assets.evaluation.comparison import Compared, Standing
from recsys_assets.stages.backtest import Outcome
from recsys_assets.stages.backtest_days import DayTested

_LINE, _LEFT, _WIDTH, _MARGIN = 20, 260, 900, 60
_COLORS = {Standing.NOT_WORSE: "#2a7f3e", Standing.WORSE: "#b3261e", Standing.INCONCLUSIVE: "#8a6d00"}


def draw_backtest(tested: Sequence[DayTested], *, title: str) -> str:
    """Return an SVG: right of the middle line a day's artifacts answer better than its baseline's, left of it worse.

    A bar is the interval of the difference, a dot the difference, and the thin mark the loss that is allowed. Days
    without a comparison are left out.
    """
    lines = [
        (f"{one.day}  {each.name}  ({one.against})", each)
        for one in tested
        if isinstance(one.found, Outcome)
        for each in one.found.compared
    ]
    reach = max((abs(value) for _, one in lines for value in (one.low, one.high, one.allowed)), default=0) or 1.0
    height = _MARGIN + _LINE * len(lines) + _LINE
    rows = [_row(label, one, _MARGIN + _LINE * number, reach) for number, (label, one) in enumerate(lines)]
    middle, low, high = _at(0, reach), _at(-reach, reach), _at(reach, reach)
    scale = "".join(
        f'<text x="{place:.1f}" y="46" text-anchor="middle">{value:+.3f}</text>'
        for place, value in ((low, -reach), (middle, 0), (high, reach))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/><text x="10" y="22" font-size="14">'
        f"{escape(title)}: difference in nDCG, and its interval</text>{scale}"
        f'<line x1="{middle:.1f}" y1="52" x2="{middle:.1f}" y2="{height - 10}" stroke="#999"/>{"".join(rows)}</svg>\n'
    )


def _row(label: str, one: Compared, y: int, reach: float) -> str:
    color, middle = _COLORS[one.standing], y + 8
    low, high, at, allowed = (_at(value, reach) for value in (one.low, one.high, one.difference, one.allowed))
    return (
        f'<text x="10" y="{y + 12}">{escape(label)}</text>'
        f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="{color}" stroke-width="4"/>'
        f'<circle cx="{at:.1f}" cy="{middle}" r="4" fill="{color}"><title>{one.standing.value}</title></circle>'
        f'<line x1="{allowed:.1f}" y1="{y + 1}" x2="{allowed:.1f}" y2="{y + 15}" stroke="#444"/>'
    )


def _at(value: float, reach: float) -> float:
    """Return where a difference stands from left to right."""
    room = _WIDTH - _LEFT - _MARGIN
    return _LEFT + room * (value + reach) / (2 * reach)
