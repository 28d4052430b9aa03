#!/usr/bin/env bash
# ifog under a real Slurm, on one machine: a controller, a node daemon and munge, all of them private and gone at the end.
#
#   apt-get install slurm-wlm munge
#   sudo -E tests/slurm/run.sh PYTHON     a Python in which ifog is installed; `python` without it
#
# It starts four engines in a job, looks at their ranks, restarts them, stops them while they compute, cancels a job behind
# ifog's back, kills a manager, and lets a job reach its time limit. That one takes Slurm two minutes; the whole takes four.
# Not a part of CI: it needs root, and a machine on which nothing else listens to the ports below.
set -euo pipefail
python=${1:-python}
here=$(mktemp -d /tmp/ifog-slurm-XXXXXX)
chmod 755 "$here"
export SLURM_CONF=$here/slurm.conf IPYTHONDIR=$here/ipython

cleanup() {
    "$python" -m ifog.cluster.command stop --all >/dev/null || true
    scancel --user=root || true
    for _ in $(seq 100); do [ -n "$(squeue --noheader)" ] && sleep 0.2; done
    for daemon in slurmd slurmctld munged; do
        [ -f "$here/$daemon.pid" ] && kill "$(cat "$here/$daemon.pid")" 2>/dev/null
    done
    sleep 1
    for step in $(pgrep slurmstepd); do # one that hangs outlives its daemon
        grep -qz "^SLURM_CONF=$SLURM_CONF" "/proc/$step/environ" && kill -9 "$step"
    done
    rm -rf "$here"
}
trap cleanup EXIT

# ------------------------------------------------------------------------------------------------------------- Slurm
mkdir "$here"/{state,spool,ipython}
dd if=/dev/urandom of="$here/munge.key" bs=1024 count=1 status=none
chmod 600 "$here/munge.key"
munged --force --key-file="$here/munge.key" --socket="$here/munge.socket" --pid-file="$here/munged.pid" \
    --log-file="$here/munged.log" --seed-file="$here/munge.seed"
cat > "$SLURM_CONF" <<CONF
ClusterName=ifog
SlurmctldHost=localhost
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$here/munge.socket
CredType=cred/munge
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1
ReturnToService=2
KillWait=5
NodeName=localhost CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
slurmctld
slurmd -N localhost
until sinfo --noheader --format=%t 2>/dev/null | grep -q idle; do sleep 0.5; done

# -------------------------------------------------------------------------------------------------------------- ifog
IFOG_SLURM=$here "$python" "$(dirname "$0")/claims.py"
