"""Jobs of a day, one after another: the raw files first, then target after target, each shipped when done."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg

from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.dagster_defs.freshness import CHECK
from recsys_assets.dagster_defs.naming import job_name
from recsys_assets.dagster_defs.raw import RAW
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

KEPT = 100  # jobs: a backfill of a few targets makes each once, a day of a thousand does not hold them all in memory


@dataclass(frozen=True, slots=True)
class SequentialJobs:
    """The jobs of a day, made when they are needed; may be gone through for each of several days.

    As one run Dagster would go level by level: the first target would ship when the last one is built. Each job is of
    a graph of its own target alone: cut out of one graph of all, a thousand jobs take time that grows with the square.
    """

    settings: Settings
    rows: Sequence[TargetSettings]
    _kept: dict[int, dg.JobDefinition] = field(default_factory=dict[int, dg.JobDefinition], init=False, repr=False)

    def __iter__(self) -> Iterator[dg.JobDefinition]:
        """Yield the job of one target whole, else that of the raw files and then one a target."""
        if len(self.rows) == 1:
            yield self._job(0)
            return
        yield _part(self._job(0), raw=True)  # for all targets, whichever job it is a part of
        for number in range(len(self.rows)):
            yield _part(self._job(number), raw=False)

    def _job(self, number: int) -> dg.JobDefinition:
        job = self._kept.get(number)
        if job is None:
            job = build_definitions(self.settings, rows=[self.rows[number]]).resolve_job_def(
                job_name(self.rows[number])
            )
            if number < KEPT:
                self._kept[number] = job
        return job


def _part(job: dg.JobDefinition, *, raw: bool) -> dg.JobDefinition:
    """Return the job without the raw asset, or of it alone; checks follow their asset."""
    keys = {key for key in job.asset_layer.executable_asset_keys if (key == RAW) is raw}
    checks = {
        check
        for check in job.asset_layer.asset_graph.asset_check_keys
        if check.name != CHECK and check.asset_key in keys
    }
    return job.get_subset(asset_selection=keys, asset_check_selection=checks)
