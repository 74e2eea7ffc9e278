"""Log lines of a reader, one for each switch and each new problem, and the call of the service's listener."""

import logging
from collections.abc import Callable

from recsys_assets.identity import Target, rfc3339
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.serving.state import Problem

_log = logging.getLogger(__name__)

Listener = Callable[[Snapshot | None, Snapshot], None]


def log_switch(old: Snapshot | None, new: Snapshot, *, source: str, listener: Listener | None) -> None:
    """Log which release serves from now on, and call the listener; what it raises is logged, and the switch stays."""
    _log.info(
        "artifact manifest loaded tenant=%s surface=%s release=%s hash=%s updated_at=%s old=%s source=%s",
        new.target.tenant,
        new.target.surface,
        new.release_id,
        new.pointer_digest,
        rfc3339(new.updated_at),
        old.release_id if old else None,
        source,
    )
    if listener is None:
        return
    try:
        listener(old, new)
    except Exception:  # noqa: BLE001 - whatever a service does there, what is served must not depend on it
        _log.exception("a listener failed on the switch of %s; the switch stands", new.target)


def log_problem(target: Target, problem: Problem, why: str, *, again: bool) -> None:
    """Log why a look at the store brought nothing: as a warning once, then where only debugging sees it."""
    level = logging.DEBUG if again else logging.WARNING
    _log.log(level, "artifact manifest refused target=%s problem=%s why=%s", target, problem.value, why)


def log_copy_fault(target: Target, why: str) -> None:
    """Log that the copy on disk could not be used or written."""
    _log.warning("artifact copy failed target=%s why=%s", target, why)
