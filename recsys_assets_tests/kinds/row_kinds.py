"""The kinds whose artifacts are rows in JSON: what holds of rows and of their bytes is tested on these."""

from recsys_assets.kind_descriptions import Shape
from recsys_assets.kinds.registry import KINDS

ROW_KINDS = {name: kind for name, kind in KINDS.items() if isinstance(kind.shape, Shape)}
