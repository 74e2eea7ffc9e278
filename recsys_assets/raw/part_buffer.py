"""Small parts collected by target and handed on as large ones, so that a day is few parts however its files are cut."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from recsys_assets.identity import Target
from recsys_assets.raw.merging import merge_parts
from recsys_assets.raw.part import Part

PART_ROWS = 1 << 17
BUFFERED_ROWS = 1 << 19  # of all targets; past it the largest is handed on, however small


@dataclass(slots=True)
class PartBuffer:
    """Hands parts to `keep`: each of about `part_rows` rows, or less when many targets share the memory."""

    keep: Callable[[Target, Part], None]
    part_rows: int = PART_ROWS
    buffered_rows: int = BUFFERED_ROWS
    _parts: defaultdict[Target, list[Part]] = field(default_factory=lambda: defaultdict(list[Part]))
    _rows: dict[Target, int] = field(default_factory=dict[Target, int])

    def add_all(self, parts: Iterable[tuple[Target, Part]]) -> None:
        """Take parts of several targets."""
        for target, part in parts:
            self.add(target, part)

    def add(self, target: Target, part: Part) -> None:
        """Take a part of a target."""
        self._parts[target].append(part)
        self._rows[target] = self._rows.get(target, 0) + len(part)
        if self._rows[target] >= self.part_rows:
            self._hand_on(target)
        elif sum(self._rows.values()) >= self.buffered_rows:
            self._hand_on(max(self._rows, key=lambda name: (self._rows[name], name)))

    def flush(self) -> None:
        """Hand on all that is left."""
        for target in sorted(self._rows):
            self._hand_on(target)

    def _hand_on(self, target: Target) -> None:
        del self._rows[target]
        self.keep(target, merge_parts(self._parts.pop(target)))
