"""The small rules: a number held against a limit, told as a finding that names both and the next step."""

from recsys_assets.evidence import Finding, Scalar, Verdict


def at_least(gate: str, value: float, *, limit: float, setting: str, what: str) -> Finding:
    """Return a finding that passes if `value` is not under the limit that stands in the configuration as `knob`."""
    return _judge(gate, value, ok=value >= limit, setting=setting, limit=limit, what=what, word="at least")


def at_most(gate: str, value: float, *, limit: float, setting: str, what: str) -> Finding:
    """Return a finding that passes if `value` is not over the limit that stands in the configuration as `knob`."""
    return _judge(gate, value, ok=value <= limit, setting=setting, limit=limit, what=what, word="at most")


def same(gate: str, found: dict[str, Scalar], *, expected: dict[str, Scalar], what: str) -> Finding:
    """Return a finding that passes if every expected value was found; the message names those that differ."""
    wrong = {key: found.get(key) for key, value in expected.items() if found.get(key) != value}
    message = ", ".join(f"{key} is {value!r}, expected {expected[key]!r}" for key, value in wrong.items())
    return Finding(
        gate=gate,
        verdict=Verdict.REFUSED if wrong else Verdict.PASSED,
        value=len(wrong),
        params=expected,
        message=f"{what}: {message}; build it again" if wrong else f"{what} is as expected",
        count=len(wrong),
    )


def merged(gate: str, findings: tuple[Finding, ...], *, params: dict[str, Scalar], what: str) -> Finding:
    """Return one finding for a contract's many rules: exact counts added up, every broken rule named, samples kept."""
    broken = [f for f in findings if not f.ok]
    rows = sum(f.count for f in broken)
    message = "; ".join(f"{f.gate}: {f.message}" for f in broken)
    return Finding(
        gate=gate,
        verdict=Verdict.REFUSED if broken else Verdict.PASSED,
        value=rows,
        params=params,
        message=f"{what} breaks {len(broken)} rule(s): {message}" if broken else f"{what} keeps its contract",
        count=rows,
        sample=tuple({"rule": f.gate, "count": f.count, **row} for f in broken for row in (f.sample or ({},))),
    )


def _judge(gate: str, value: float, *, ok: bool, setting: str, limit: float, what: str, word: str) -> Finding:
    message = f"{what} is {_shown(value)}, {setting} allows {word} {_shown(limit)}"
    return Finding(
        gate=gate,
        verdict=Verdict.PASSED if ok else Verdict.REFUSED,
        value=value,
        params={setting: limit},
        message=message if ok else f"{message}: mend the input, or change {setting} if the day is right",
        count=0 if ok else 1,
    )


def _shown(value: float) -> str:
    """Write whole numbers whole, shares in four digits."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"
