"""Users of a part called otherwise, before anything of it is written."""

from collections.abc import Callable
from dataclasses import replace

from recsys_assets.raw.part import Part, Strings


def rename_users(part: Part, rename: Callable[[str], str]) -> Part:
    """Return the part with every user called what `rename` says, no two alike; the rows stay as they are."""
    users = Strings.of(rename(user) for user in part.ids["user_id"].texts())
    return replace(part, ids={**part.ids, "user_id": users})
