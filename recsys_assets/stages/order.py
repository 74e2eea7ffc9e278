"""What is to be made of a target's events: a kind with its parameters, over a window."""

from typing import NamedTuple

from recsys_assets.artifacts.kinds import Kind
from recsys_assets.artifacts.params import KindParams
from recsys_assets.config.target import TargetSettings
from recsys_assets.identity import Window


class Order(NamedTuple):
    """What is to be made, for whom, of which days."""

    row: TargetSettings
    kind: Kind
    params: KindParams
    window: Window
