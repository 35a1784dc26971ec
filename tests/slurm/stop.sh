#!/bin/sh
# End the cluster that start.sh has started in FOLDER, and its jobs.
set -eu

folder=$(realpath "${1:?usage: stop.sh FOLDER}")
export SLURM_CONF="$folder/slurm.conf"
scancel --me || true
for daemon in slurmd slurmctld munged; do
    if test -f "$folder/$daemon.pid"; then
        kill "$(cat "$folder/$daemon.pid")" || true
    fi
done
