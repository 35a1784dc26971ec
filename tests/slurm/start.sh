#!/bin/sh
# Start a SLURM cluster of this one machine for tests/slurm: controller, node and munge, as root.
#
#   apt-get install slurm-wlm munge     # once
#   tests/slurm/start.sh FOLDER         # prints what to export before pytest
#
# Everything is kept in FOLDER. `tests/slurm/stop.sh FOLDER` ends it.
set -eu

folder=$(realpath "${1:?usage: start.sh FOLDER}")
for program in sbatch slurmctld slurmd munged; do
    command -v "$program" >/dev/null || { echo "no $program: apt-get install slurm-wlm munge" >&2; exit 2; }
done
mkdir -p "$folder/state" "$folder/spool" "$folder/munge"
chmod 700 "$folder/munge"
test -f "$folder/munge/key" || (umask 077; head -c 1024 /dev/urandom >"$folder/munge/key")

cat >"$folder/slurm.conf" <<CONF
ClusterName=anticipate
SlurmctldHost=$(hostname -s)
SlurmUser=root
AuthInfo=socket=$folder/munge/socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
JobRequeue=1
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1,requeue_delay=1
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(free -m | awk '/^Mem/ {print $2}') State=UNKNOWN
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF

export SLURM_CONF="$folder/slurm.conf"
munged --key-file "$folder/munge/key" --socket "$folder/munge/socket" --force \
    --pid-file "$folder/munged.pid" --log-file "$folder/munge/log" --seed-file "$folder/munge/seed"
slurmctld
slurmd
for _ in $(seq 30); do
    sinfo --noheader --format %T 2>/dev/null | grep -q idle && break
    sleep 1
done
sinfo >&2
echo "export SLURM_CONF=$SLURM_CONF ANTICIPATE_SLURM=1"
