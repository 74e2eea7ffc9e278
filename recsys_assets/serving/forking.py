"""What must be made anew in a forked child: locks that a thread of the parent held, threads that did not come along."""

import os
from typing import Protocol
from weakref import WeakSet


class OutlivesFork(Protocol):
    """A thing with locks or threads of its own."""

    def after_fork(self) -> None:
        """Make them anew; the child has only the thread that runs this."""
        ...


_registered: WeakSet[OutlivesFork] = WeakSet()


def register(thing: OutlivesFork) -> None:
    """Call `thing.after_fork()` in every child that is forked while the thing lives."""
    _registered.add(thing)


def _after_fork() -> None:
    for thing in list(_registered):
        thing.after_fork()


os.register_at_fork(after_in_child=_after_fork)
