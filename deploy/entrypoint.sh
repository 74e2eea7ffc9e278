#!/bin/sh
# Puts the instance's configuration in place, with logs in a bucket where one is named, then becomes the command.
set -eu
cp /opt/recsys/dagster.yaml "$DAGSTER_HOME/dagster.yaml"
if [ -n "${RECSYS_LOG_BUCKET:-}" ]; then
    case "$RECSYS_LOG_BUCKET" in
        gs://*) logs=gcs ;;
        az://*) logs=azure ;;
        *) logs=s3 ;;
    esac
    cat "/opt/recsys/compute-logs-$logs.yaml" >> "$DAGSTER_HOME/dagster.yaml"
    export RECSYS_LOG_BUCKET="${RECSYS_LOG_BUCKET#*://}"
fi
exec "$@"
