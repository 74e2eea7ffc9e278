#!/bin/sh
# Puts the instance's configuration in place, with logs in S3 where a bucket is named, then becomes the command.
set -eu
cp /opt/recsys/dagster.yaml "$DAGSTER_HOME/dagster.yaml"
if [ -n "${RECSYS_LOG_BUCKET:-}" ]; then
    cat /opt/recsys/compute-logs-s3.yaml >> "$DAGSTER_HOME/dagster.yaml"
fi
exec "$@"
