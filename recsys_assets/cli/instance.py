"""Opening of the Dagster instance of $DAGSTER_HOME."""

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from recsys_assets.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from dagster import DagsterInstance

VARIABLE = "DAGSTER_HOME"


@contextmanager
def opened_instance() -> "Generator[DagsterInstance]":
    """Yield the instance of $DAGSTER_HOME. Raises `ConfigurationError` if it is not set or cannot be opened.

    Only commands that report to Dagster use it. Changes of the live release do not need Dagster.
    """
    home = os.environ.get(VARIABLE)
    if not home:
        raise ConfigurationError(f"{VARIABLE} is not set: set it to the folder that contains dagster.yaml")
    from alembic.util import CommandError  # noqa: PLC0415 - the other commands need no Dagster
    from dagster import DagsterError, DagsterInstance  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415
    from yaml import YAMLError  # noqa: PLC0415

    try:
        instance = DagsterInstance.get()
    except (DagsterError, SQLAlchemyError, CommandError, YAMLError, OSError) as error:
        cause = " ".join(str(error).split())
        raise ConfigurationError(
            f"{VARIABLE}={home}: Dagster's instance cannot be opened ({cause}): repair it, move its damaged database "
            "out of the way, or unset the variable; status, rollback, hold and collect work without it"
        ) from error
    with instance:
        yield instance
