"""Blocked items in a reader: the list followed in the store, and rows without the items in it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Generic

import msgspec

from recsys_assets.errors import NotFoundError, RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.release.blocking import MAX_BLOCKED_BYTES, BlockedItems, parse_blocked
from recsys_assets.release.journal import Clock
from recsys_assets.release.layout import blocked_key
from recsys_assets.serving.row_index import Lookup, Row, RowForm, RowIndex, let_others_run
from recsys_assets.storage.store import ObjectStore

_log = logging.getLogger(__name__)

_MOST_TOUCHED: Final = 10_000  # Ids of rows to be filtered. With more, every row is filtered when it is read.
_PAUSE_ROWS: Final = 0xFF  # number of rows after which the thread yields to requests

NOTHING: Final = frozenset[str]()
_ITEM: Final = "item_id"


@dataclass(frozen=True, slots=True, eq=False)
class UnblockedRows(Generic[Row]):
    """Rows without the blocked items: neither as rows of their own nor in any list.

    `touched` are the ids of the rows whose lists contain a blocked item. With None every row is filtered when it is
    read. `hidden` are the positions of the rows of blocked items. Rows in shards are not read in advance: there a row
    of a blocked item keeps its position, with an empty list.
    """

    rows: Lookup[Row]
    blocked: frozenset[str]
    touched: frozenset[str] | None
    hidden: tuple[int, ...]  # ascending

    @property
    def form(self) -> RowForm[Row]:
        """Layout of a row."""
        return self.rows.form

    @property
    def held_bytes(self) -> int:
        """Bytes of the rows in memory."""
        return self.rows.held_bytes

    def __len__(self) -> int:
        """Return the number of rows, without those of blocked items."""
        return len(self.rows) - len(self.hidden)

    def __iter__(self) -> Iterator[Row]:
        """Yield every row except those of blocked items."""
        return (filtered for row in self.rows if (filtered := self._without(row)) is not None)

    def row(self, number: int) -> Row:
        """Return the row at a position, counted without the rows of blocked items."""
        for position in self.hidden:
            if position > number:
                break
            number += 1
        return _with_unblocked_items(self.rows.row(number), self.blocked)

    def find(self, key: str) -> Row | None:
        """Return the row of an id, or None if there is none or the id is that of a blocked item."""
        row = self.rows.find(key)
        return row if row is None else self._without(row)

    def _without(self, row: Row) -> Row | None:
        form = self.rows.form
        if form.key == _ITEM and form.id_of(row) in self.blocked:
            return None
        return _with_unblocked_items(row, self.blocked)


@dataclass(frozen=True, slots=True, eq=False)
class UnblockedIndex(UnblockedRows[Row]):
    """`UnblockedRows` of rows in memory, with the ids of all rows that contain a blocked item."""

    rows: RowIndex[Row]
    touched: frozenset[str]

    def find(self, key: str) -> Row | None:
        """Return the row of an id, or None if there is none or the id is that of a blocked item."""
        row = self.rows.find(key)
        return row if row is None or key not in self.touched else self._without(row)


def _with_unblocked_items(row: Any, blocked: frozenset[str]) -> Any:
    items = getattr(row, "items", ())
    unblocked = tuple(item for item in items if item.item_id not in blocked)
    return row if len(unblocked) == len(items) else msgspec.structs.replace(row, items=unblocked)


def without_blocked(rows: Lookup[Any], blocked: frozenset[str]) -> Lookup[Any]:
    """Return the rows without the blocked items. A filter that was applied before is replaced.

    Rows in memory are decoded once each to find those that contain a blocked item, so that lookups of all others cost
    almost nothing.
    """
    rows = rows.rows if isinstance(rows, UnblockedRows) else rows
    if not blocked:
        return rows
    if not isinstance(rows, RowIndex):
        return UnblockedRows(rows, blocked, None, ())
    touched, hidden = set[str](), list[int]()
    id_of, by_item = rows.form.id_of, rows.form.key == _ITEM
    for number, row in enumerate(rows):
        own = id_of(row)
        if by_item and own in blocked:
            hidden.append(number)
        elif blocked.isdisjoint(item.item_id for item in getattr(row, "items", ())):
            own = None
        if own is not None and len(touched) <= _MOST_TOUCHED:
            touched.add(own)
        if number & _PAUSE_ROWS == _PAUSE_ROWS:
            let_others_run()
    if len(touched) > _MOST_TOUCHED:
        return UnblockedRows(rows, blocked, None, tuple(hidden))
    return UnblockedIndex(rows, blocked, frozenset(touched), tuple(hidden))


@dataclass(slots=True)
class BlockedFollower:
    """The blocked items of one target as last read from the store. After a failed read the previous list applies.

    `copy` is a store on this machine's disk with a copy of the list, for starts without the other store.
    """

    store: ObjectStore
    target: Target
    now: Clock
    copy: ObjectStore | None = None
    fault: str = ""  # error of the last read of the list, empty if it succeeded
    _list: BlockedItems | None = None
    _etag: str | None = None
    _is_first: bool = field(default=True)

    @property
    def items(self) -> frozenset[str]:
        """The ids of the items that are blocked now."""
        return NOTHING if self._list is None else self._list.ids(self.now())

    @property
    def updated_at(self) -> str | None:
        """Time of the last change of the list in force, or None if there is no list."""
        return None if self._list is None else self._list.updated_at

    def poll(self) -> None:
        """Read the list if it changed. Never raises the package's errors."""
        if self._is_first:
            self._is_first = False
            self._restore()
        try:
            self._read()
        except RecsysAssetsError as error:
            level = logging.DEBUG if self.fault else logging.WARNING
            _log.log(
                level, "blocked items of %s could not be read, the previous list stays in force: %s", self.target, error
            )
            self.fault = str(error)
        else:
            self.fault = ""

    def _read(self) -> None:
        key = blocked_key(self.target)
        try:
            if self._etag is None:
                stored = self.store.get(key, max_bytes=MAX_BLOCKED_BYTES)
            else:
                stored = self.store.get_if_changed(key, etag=self._etag, max_bytes=MAX_BLOCKED_BYTES)
        except NotFoundError:
            if self._list is not None:
                self._keep(None)
            self._list, self._etag = None, None
            return
        if stored is not None:
            self._list = parse_blocked(self.target, stored.data)
            self._etag = stored.etag
            self._keep(stored.data)

    def _restore(self) -> None:
        if self.copy is None:
            return
        try:
            self._list = parse_blocked(self.target, self.copy.get(self._copy_key, max_bytes=MAX_BLOCKED_BYTES).data)
        except NotFoundError:
            return
        except RecsysAssetsError as error:
            _log.warning("the copy of the blocked items of %s could not be used: %s", self.target, error)

    def _keep(self, data: bytes | None) -> None:
        if self.copy is None:
            return
        try:
            if data is None:
                self.copy.delete(self._copy_key)
            else:
                self.copy.put(self._copy_key, data)
        except RecsysAssetsError as error:
            _log.warning("the blocked items of %s could not be copied: %s", self.target, error)

    @property
    def _copy_key(self) -> str:
        return f"copies/{self.target.tenant}/{self.target.surface}/blocked.json"
