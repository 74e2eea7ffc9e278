"""Engines of one configuration: opened on first use, and verified by the canary before they build anything."""

import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from recsys_assets.engines.spark_session import SparkCluster, connect
from recsys_assets.errors import ConfigurationError
from recsys_assets.kinds.registry import Kind
from recsys_assets.settings.artifacts import EngineSettings

if TYPE_CHECKING:
    from recsys_assets.engines.engine import Engine

Connect = Callable[[SparkCluster], Any]

PROVEN: set[tuple[str, str]] = set()  # engines and kinds, for the life of this process


class EngineWorkspace(msgspec.Struct, frozen=True):
    """A verified engine, and the path or URI below which attempts get their folders."""

    engine: "Engine"
    work: str


Opener = Callable[[EngineSettings, Connect], "Engine"]


# Engines are imported when opened, because importing Narwhals and Arrow is slow and often not needed.
def _polars(_settings: EngineSettings, _connect: Connect) -> "Engine":
    from recsys_assets.engines.engine import PolarsEngine  # noqa: PLC0415 - see above

    return PolarsEngine()


def _duckdb(settings: EngineSettings, _connect: Connect) -> "Engine":
    from recsys_assets.engines.duckdb_engine import DuckDbEngine  # noqa: PLC0415 - see above

    duckdb = settings.duckdb
    return DuckDbEngine(memory_limit=duckdb.memory_limit, threads=duckdb.threads, scratch=scratch_of(settings))


def _spark(settings: EngineSettings, connect: Connect) -> "Engine":
    from recsys_assets.engines.spark_engine import ArrowFiles, OwnFiles, SparkEngine  # noqa: PLC0415 - see above

    spark = settings.spark
    return SparkEngine(
        SparkCluster(
            master=spark.master, remote=spark.remote, conf=spark.conf, patience_minutes=spark.patience_minutes
        ),
        connect,
        files=ArrowFiles() if spark.files == "arrow" else OwnFiles(),
    )


OPENERS: Mapping[str, Opener] = {"polars": _polars, "duckdb": _duckdb, "spark": _spark}


class EngineRegistry(msgspec.Struct, frozen=True):
    """Engines of one configuration, verified on first use. `root` is the store's, where Spark writes by default."""

    settings: EngineSettings
    root: str
    connect: Connect = connect
    openers: Mapping[str, Opener] = msgspec.field(default_factory=lambda: OPENERS)
    proven: set[tuple[str, str]] = msgspec.field(default_factory=lambda: PROVEN)

    def open(self, name: str, kind: Kind) -> EngineWorkspace:
        """Return the engine `name` after the canary verified its rows of the kind.

        Raises `EngineRefusedError` with the first differing row, `ConfigurationError` for an unknown engine or a
        missing library, `EngineUnavailableError` if it cannot be reached.
        """
        from recsys_assets.engines.building import prove_engine  # noqa: PLC0415 - like the engines

        if name not in self.openers:
            raise ConfigurationError(
                f"artifacts.engine: unknown engine {name!r}; expected native, {', '.join(self.openers)}"
            )
        engine = self.openers[name](self._settled(), self.connect)
        if engine.in_place:
            self._require_readable()
        work = self._shared() if engine.in_place else scratch_of(self.settings)
        prove_engine(engine, kind, work=work, proven=self.proven)
        return EngineWorkspace(engine, work)

    def _settled(self) -> EngineSettings:
        """Return the settings with `spark.files` resolved, so that the canary uses the same file access as days."""
        in_buckets = any(uri.startswith("s3://") for uri in (self.root, self._shared()))
        files = self.settings.spark.files or ("arrow" if in_buckets else "spark")
        return self.settings.model_copy(update={"spark": self.settings.spark.model_copy(update={"files": files})})

    def _require_readable(self) -> None:
        """Raise `ConfigurationError` for a place that this engine does not read."""
        for root in (self.root, self._shared()):
            if root.startswith(("gs://", "az://")):
                raise ConfigurationError(
                    f"artifacts.engine: Spark reads and writes folders and s3://, not {root}: use duckdb or polars"
                )

    def _shared(self) -> str:
        return (self.settings.work or f"{self.root}/engines").rstrip("/")


def scratch_of(settings: EngineSettings) -> str:
    """Return the local folder for copies, results and spilled data."""
    return settings.scratch or f"{tempfile.gettempdir()}/recsys-assets-engines"
