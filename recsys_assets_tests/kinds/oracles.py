"""Every kernel once more, in plain Python after formats.md, and its JSON by the standard library."""

import json
import re
from collections import Counter, defaultdict
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise, permutations, product
from math import isqrt

from recsys_assets.kinds.cooc_scan import Score
from recsys_assets_tests.kinds.event_rows import canonical


def chosen(rows, params):
    """The rows that a kernel gets to see."""
    return [r for r in rows if not params.events or (r.event or "") in params.events]


def best(counts, limit):
    """Value descending, then id by code point; the first `limit`."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:limit]


def popularity(rows, params, age_of=lambda _: 0):
    counts = Counter()
    for r in canonical(rows):
        weight = params.weights.get(r.event or "default", params.weights.get("default", 1))
        counts[r.item_id] += weight * weight_of_age(age_of(r), params)
    return [{"item_id": item, "count": count} for item, count in best(+counts, params.max_items)]


def cooc(rows, params, age_of=lambda _: 0):
    sessions, ages = defaultdict(set), defaultdict(list)
    for r in rows:
        sessions[r.session_id].add(r.item_id)
        ages[r.session_id].append(age_of(r))
    kept_sessions = [name for name, items in sessions.items() if len(items) <= params.max_items_per_session]
    support, weight = Counter(), Counter()
    pairs, shared = defaultdict(Counter), defaultdict(Counter)
    for name in kept_sessions:
        of_session = weight_of_age(min(ages[name]), params)
        for item in sessions[name]:
            support[item] += 1
            weight[item] += of_session
        for item, other in permutations(sessions[name], 2):
            pairs[item][other] += 1
            shared[item][other] += of_session
    kept = {
        item: {
            n: pair_score(shared[item][n], weight[item], weight[n], params)
            for n, count in found.items()
            if count >= params.min_support
        }
        for item, found in pairs.items()
    }
    ranked = best({item: support[item] for item, found in kept.items() if found}, params.max_items)
    return [
        {"item_id": i, "items": [{"item_id": n, "count": c} for n, c in best(kept[i], params.max_neighbors)]}
        for i, _ in sorted(ranked)
    ]


def steps_of(rows, params):
    """Per session that is short enough, its distinct instants in order, each with the set of its items."""
    sessions = defaultdict(lambda: defaultdict(set))
    for r in rows:
        sessions[r.session_id][r.ts].add(r.item_id)
    paths = [[of[ts] for ts in sorted(of)] for of in sessions.values()]
    return [path for path in paths if len(set().union(*path)) <= params.max_items_per_session]


def item_seq(rows, params):
    support, pairs = Counter(), defaultdict(Counter)
    for path in steps_of(rows, params):
        support.update(set().union(*path))
        seen, new = set(), []
        for step in path:
            new.append(step - seen)
            seen |= step
        for items, following in pairwise(step for step in new if step):
            for item in items:
                pairs[item].update(following)
    kept = {i: {n: c for n, c in found.items() if c >= params.min_support} for i, found in pairs.items()}
    return ranked_neighbors(kept, support, params.max_items, params.max_next)


def sequential_rules(rows, params):
    support, again, sums = Counter(), Counter(), defaultdict(Counter)
    for path in steps_of(rows, params):
        times = Counter(item for step in path for item in step)
        support.update(times.keys())
        again.update(item for item, count in times.items() if count > 1)
        for (at, one), (then, other) in product(enumerate(path), repeat=2):
            distance = max(abs(then - at), 1)
            if distance <= 10:
                weight = Fraction(5040, distance) / (1 if then >= at else 2)
                for a, b in product(one, other):
                    if a != b:
                        sums[a][b] += weight
    if params.self_entry:
        for item in support:
            sums[item][item] = 5040 * again[item]
    found = {
        a: {b: rule_score(s, support[a], support[b], params, own=a == b) for b, s in of.items() if s}
        for a, of in sums.items()
    }
    return ranked_neighbors(found, support, params.max_items, params.max_neighbors)


def rule_score(total, one, other, params, *, own):
    assert total == int(total)
    if not params.by_support:
        return int(total)
    share = int(total) * 10**6 // (5040 * one)
    return max(1, share if own else share * 1000 // fifth_root(other * 10**15))


def fifth_root(power):
    low = 0
    while (low + 1) ** 5 <= power:
        low += 1
    return low


def ranked_neighbors(kept, support, max_items, max_members):
    ranked = best({item: support[item] for item, found in kept.items() if found}, max_items)
    return [
        {"item_id": i, "items": [{"item_id": n, "count": c} for n, c in best(kept[i], max_members)]}
        for i, _ in sorted(ranked)
    ]


def weight_of_age(age, params):
    """Thousandths, rounded half to even, by roots of integers; half lives of one, two and three days."""
    if params.half_life_days is None:
        return 1
    roots = {1: lambda power: power, 2: isqrt, 3: _cube_root}
    half_life = params.half_life_days
    return max(1, round(Fraction(1000 * roots[half_life](2 ** (150 * half_life - age)), 2**150)))


def pair_score(shared, one, other, params):
    """The definitions as fractions, each rounded down where the kernel says that it is."""
    millionths = 10**6
    score = {
        Score.COUNT: shared,
        Score.COSINE: isqrt((shared * millionths // one) * (shared * millionths // other)),
        Score.JACCARD: shared * millionths // (one + other - shared),
    }[params.score]
    unit = 1 if params.half_life_days is None else 1000
    if params.shrinkage:
        score = score * (shared * millionths // (shared + params.shrinkage * unit)) // millionths
    return max(1, score)


def _cube_root(cube):
    low, high = 0, 1 << (cube.bit_length() // 3 + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**3 <= cube else (low, middle)
    return low


def implicit(rows, params):
    return user_rows(_by_user(rows, params), params, weigh=lambda r: _weight(r, params))


def session_seq(rows, params):
    users = _by_user(rows, params)
    return user_rows({user: seen[1:] for user, seen in users.items()}, params, weigh=lambda _: Decimal(1))


def user_rows(users, params, *, weigh):
    found = []
    for user, seen in sorted(users.items()):
        scores = Counter()
        for r in seen:
            scores[r.item_id] += weigh(r)
        items = [{"item_id": item, "score": score} for item, score in best(scores, params.max_items_per_user)]
        found.append({"user_id": user, "items": items})
    return found


def content_sim(catalog, params):
    """Catalog rows are (item_id, tags) of one surface, in file order."""
    found = []
    for item, tags in sorted(dict(catalog).items()):
        clean = dict.fromkeys("".join(_lower(char) for char in tag.strip()) for tag in tags)
        clean.pop("", None)
        if clean:
            found.append({"item_id": item, "tags": list(clean)})
    return found[: params.max_items]


def document(kind, body_name, body, *, target, window):
    """Return the JSON of a document as Go writes it, without its build; numbers of the body may be Decimals."""
    segment = {"segment": target.segment} if target.segment else {}
    head = {"v": 1, "artifact_type": kind, "tenant": target.tenant, "surface": target.surface, **segment}
    times = {"start": f"{window.first}T00:00:00Z", "end": f"{window.end:%Y-%m-%dT%H:%M:%SZ}"}
    text = json.dumps(
        {**head, "window": times, body_name: body}, ensure_ascii=False, separators=(",", ":"), default=_plain
    )
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return re.sub(r'"number ([0-9.]+)"', r"\1", text)


def _plain(number):
    """Spell a Decimal without an exponent and without zeros at its end, as a string that `document` strips."""
    whole, _, fraction = f"{number:f}".partition(".")
    return f"number {whole}.{fraction}".rstrip("0").rstrip(".") if fraction else f"number {whole}"


def _by_user(rows, params):
    users = defaultdict(list)
    for r in canonical(rows):
        if r.user_id is not None:
            users[r.user_id].append(r)
    return {user: seen for user, seen in users.items() if len(seen) <= params.max_events_per_user}


def _weight(r, params):
    return params.weights.get(r.event or "", params.weights.get("default", Decimal(1)))


def _lower(char):
    return "i" if char == "\u0130" else char.lower()
