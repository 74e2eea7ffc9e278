"""Draws time and memory over the number of events, on logarithmic axes; the same figures give the same SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "recsys-assets"

from matplotlib import pyplot as plt  # noqa: E402 - the backend is chosen first

Point = tuple[int, float, float]


def draw(series: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Write the plot of (events, seconds, heap MB) per engine to `path`."""
    figure, (time, memory) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, points in series.items():
        style = {"linewidth": 2.5 if name.startswith("ours") else 1.2, "marker": "o", "markersize": 4, "label": name}
        sizes = [point[0] for point in points]
        time.plot(sizes, [point[1] for point in points], **style)
        memory.plot(sizes, [point[2] for point in points], **style)
    for axes, label in ((time, "seconds of work"), (memory, "peak heap, MB")):
        axes.set(xscale="log", yscale="log", xlabel="events", ylabel=label)
        axes.grid(visible=True, which="major", alpha=0.3)
    time.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
