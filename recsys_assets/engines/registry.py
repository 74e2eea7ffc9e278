"""The engines of one configuration: opened when first asked for, proven by the canary before they build anything."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recsys_assets.engines.spark_session import SparkCluster, connect
from recsys_assets.errors import ConfigurationError
from recsys_assets.kinds.registry import Kind
from recsys_assets.settings.artifacts import EngineSettings

if TYPE_CHECKING:
    from recsys_assets.engines.engine import Engine

Connect = Callable[[SparkCluster], Any]

PROVEN: set[tuple[str, str]] = set()  # engines and kinds, for the life of this process


@dataclass(frozen=True, slots=True)
class EngineWorkspace:
    """A proven engine, and the place (a path or a URI) where attempts at artifacts get their folders."""

    engine: "Engine"
    work: str


Opener = Callable[[EngineSettings, Connect], "Engine"]


# An engine is imported where it is opened: Narwhals and Arrow's parts cost what definitions without one need not pay.
def _polars(_settings: EngineSettings, _connect: Connect) -> "Engine":
    from recsys_assets.engines.polars_engine import PolarsEngine  # noqa: PLC0415 - see above

    return PolarsEngine()


def _duckdb(settings: EngineSettings, _connect: Connect) -> "Engine":
    from recsys_assets.engines.duckdb_engine import DuckDbEngine  # noqa: PLC0415 - see above

    duckdb = settings.duckdb
    return DuckDbEngine(memory_limit=duckdb.memory_limit, threads=duckdb.threads, scratch=scratch_of(settings))


def _spark(settings: EngineSettings, connect: Connect) -> "Engine":
    from recsys_assets.engines.spark_engine import SparkEngine  # noqa: PLC0415 - see above
    from recsys_assets.engines.spark_files import ArrowFiles, OwnFiles  # noqa: PLC0415 - see above

    spark = settings.spark
    return SparkEngine(
        SparkCluster(
            master=spark.master, remote=spark.remote, conf=spark.conf, patience_minutes=spark.patience_minutes
        ),
        connect,
        files=ArrowFiles() if spark.files == "arrow" else OwnFiles(),
    )


OPENERS: Mapping[str, Opener] = {"polars": _polars, "duckdb": _duckdb, "spark": _spark}


@dataclass(frozen=True, slots=True)
class EngineRegistry:
    """Engines of one configuration, proven at first use. `root` is the store's, where Spark writes by default."""

    settings: EngineSettings
    root: str
    connect: Connect = connect
    openers: Mapping[str, Opener] = field(default_factory=lambda: OPENERS)
    proven: set[tuple[str, str]] = field(default_factory=lambda: PROVEN)

    def open(self, name: str, kind: Kind) -> EngineWorkspace:
        """Return the engine called `name` once it has proven that it gives the kind's rows as the definition says.

        Raises `EngineRefusedError` with the first row that differs, `ConfigurationError` if its library is not
        installed, `EngineUnavailableError` if it cannot be reached.
        """
        from recsys_assets.engines.gate import prove_engine  # noqa: PLC0415 - as the engines themselves

        if name not in self.openers:
            raise ConfigurationError(
                f"artifacts.engine: no engine {name!r}; known are native, {', '.join(self.openers)}"
            )
        engine = self.openers[name](self._settled(), self.connect)
        if engine.in_place:
            self._require_readable()
        work = self._shared() if engine.in_place else scratch_of(self.settings)
        prove_engine(engine, kind, work=work, proven=self.proven)
        return EngineWorkspace(engine, work)

    def _settled(self) -> EngineSettings:
        """Return the settings with one way to all files, so that the canary goes the way that days and results go."""
        in_buckets = any(place.startswith("s3://") for place in (self.root, self._shared()))
        way = self.settings.spark.files or ("arrow" if in_buckets else "spark")
        return self.settings.model_copy(update={"spark": self.settings.spark.model_copy(update={"files": way})})

    def _require_readable(self) -> None:
        """Raise `ConfigurationError` for a place that this engine does not read."""
        for place in (self.root, self._shared()):
            if place.startswith(("gs://", "az://")):
                raise ConfigurationError(
                    f"artifacts.engine: Spark reads and writes folders and s3://, not {place}: use duckdb or polars"
                )

    def _shared(self) -> str:
        return (self.settings.work or f"{self.root}/engines").rstrip("/")


def scratch_of(settings: EngineSettings) -> str:
    """Return the folder of this machine where copies, results and spills go."""
    return settings.scratch or f"{tempfile.gettempdir()}/recsys-assets-engines"
