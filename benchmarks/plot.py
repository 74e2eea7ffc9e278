"""Draws time and memory over the number of events, and the phases of one size; the same figures give the same SVG."""

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


def draw_phases(seconds: Mapping[str, Mapping[str, float]], order: Sequence[str], path: Path, *, events: int) -> None:
    """Write bars of each engine's phases, one after the other, to `path`."""
    figure, axes = plt.subplots(figsize=(11, 0.6 + 0.45 * len(seconds)), layout="constrained")
    names = [*reversed(seconds)]
    left = dict.fromkeys(names, 0.0)
    colors = plt.get_cmap("tab20")
    for number, phase in enumerate(phase for phase in order if any(phase in found for found in seconds.values())):
        widths = [seconds[name].get(phase, 0.0) for name in names]
        axes.barh(names, widths, left=[left[name] for name in names], color=colors(number), label=phase)
        left = {name: left[name] + width for name, width in zip(names, widths, strict=True)}
    axes.set(xlabel=f"seconds, {events:,} events")
    axes.legend(frameon=False, ncols=5, fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
