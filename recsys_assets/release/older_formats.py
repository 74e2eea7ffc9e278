"""Documents as earlier versions wrote them, in the names of today: the one place that knows the former ones."""

from typing import Final

import msgspec

from recsys_assets.release.documents import JOURNAL_FORMAT, JournalEntry

_DETAILS: Final = {"told": "message"}
_ACTIONS: Final = {"mend": "repair"}


def upgrade_entry(entry: JournalEntry) -> JournalEntry:
    """Return a journal entry of any format with the action and the keys of details that the newest format has."""
    if entry.v == JOURNAL_FORMAT:
        return entry
    return msgspec.structs.replace(
        entry,
        action=_ACTIONS.get(entry.action, entry.action),
        details={_DETAILS.get(key, key): value for key, value in entry.details.items()},
        v=JOURNAL_FORMAT,
    )
