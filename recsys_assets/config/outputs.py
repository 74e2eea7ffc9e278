"""What is kept and told: `[retention]`, `[metrics]`, `[signals]`."""

from pydantic import Field

from recsys_assets.config.model import ClosedModel


class RetentionSettings(ClosedModel):
    """How much of the past is kept beside what is live, held, pinned or announced."""

    keep: int = Field(default=7, ge=1, description="releases kept of a target")
    grace_hours: float = Field(
        default=24, ge=0, description="how long what nothing names is left alone, and then lies in the trash"
    )


class MetricsSettings(ClosedModel):
    """Where Prometheus finds the numbers of the build side."""

    folder: str | None = Field(
        default=None, description="a folder for one .prom file per target, as node_exporter's textfile collector reads"
    )
    push: str | None = Field(default=None, description="a Pushgateway, like http://push.example:9091")
    max_targets: int = Field(
        default=500, ge=1, description="targets with numbers, the first of the file: each costs about 40 time series"
    )


class SignalSettings(ClosedModel):
    """Whether the artifacts are also written to a database, and how its tenants are found."""

    write: bool = Field(default=False, description="whether each day is written to $RECSYS_SIGNALS_DATABASE_URL")
    tenants: str | None = Field(
        default="tenants",
        description="the table that resolves a tenant, by external_id or id; none: its name is the id",
    )
    create_tenants: bool = Field(default=False, description="whether a tenant that is not there is added")
    statement_timeout_seconds: float = Field(default=600, ge=1, description="how long one statement may take")
