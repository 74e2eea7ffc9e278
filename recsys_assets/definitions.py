"""What Dagster loads."""

import dagster as dg

from recsys_assets.dagster_defs.assemble import build_definitions

defs: dg.Definitions = build_definitions()
