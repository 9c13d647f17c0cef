# A Slurm of four nodes on this host, of the caller's own: sourced by the tests with label slurm.
#
#   start_slurm FOLDER     slurmctld and four slurmd (n1 to n4, two cores each), all files below FOLDER; sets SLURM_CONF
#   start_node NAME        a slurmd, in a mount namespace of its own, since PMIx's plug-in uses one folder a host, and in a process
#                          namespace of its own, so that it can die as a machine does
#   kill_node NAME         as if the machine died: its slurmd and all that it started
#   stop_slurm
#
# Needs root, slurm-wlm, slurm-wlm-basic-plugins and munge. slurm_missing prints what is missing, nothing if all is there.

slurm_missing() {
  [[ $(id -u) -eq 0 ]] || echo "root"
  local program
  for program in slurmctld slurmd sbatch srun munged mungekey unshare; do
    command -v "$program" > /dev/null || PATH=$PATH:/usr/sbin command -v "$program" > /dev/null || echo "$program"
  done
  unshare --mount --pid --fork --mount-proc true 2> /dev/null || echo "the right to make namespaces"
}

start_slurm() {
  export PATH=$PATH:/usr/sbin
  slurm_folder=$1
  local host
  host=$(hostname -s)
  mkdir -p "$slurm_folder"/{state,spool,pmixtmp,munge,tmp/n1,tmp/n2,tmp/n3,tmp/n4}
  chmod 700 "$slurm_folder/munge"
  mungekey -c -k "$slurm_folder/munge/key"
  munged --foreground --force --key-file="$slurm_folder/munge/key" --socket="$slurm_folder/munge/socket" --pid-file="$slurm_folder/munge/pid" \
    --log-file="$slurm_folder/munge/log" --seed-file="$slurm_folder/munge/seed" > "$slurm_folder/munge/out" 2>&1 &
  slurm_munged=$!
  cat > "$slurm_folder/slurm.conf" <<END
ClusterName=onehost
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$slurm_folder/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$slurm_folder/state
SlurmdSpoolDir=$slurm_folder/spool/%n
SlurmctldPidFile=$slurm_folder/slurmctld.pid
SlurmdPidFile=$slurm_folder/slurmd.%n.pid
SlurmctldLogFile=$slurm_folder/slurmctld.log
SlurmdLogFile=$slurm_folder/slurmd.%n.log
SlurmctldPort=16817
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MailProg=/bin/true
JobRequeue=1
TmpFS=$slurm_folder/pmixtmp
NodeName=n[1-4] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-17004] CPUs=2 RealMemory=4000
PartitionName=main Nodes=n[1-4] Default=YES MaxTime=60 State=UP
END
  export SLURM_CONF=$slurm_folder/slurm.conf
  for _ in $(seq 1 100); do [[ ! -S $slurm_folder/munge/socket ]] || break; sleep 0.1; done
  slurmctld -D -f "$SLURM_CONF" > "$slurm_folder/slurmctld.out" 2>&1 &
  slurm_controller=$!
  local node
  for node in n1 n2 n3 n4; do start_node "$node"; done
  for _ in $(seq 1 100); do
    [[ $(sinfo --noheader --format='%t %D' 2> /dev/null) != 'idle 4' ]] || return 0
    sleep 0.2
  done
  sinfo || true
  tail -5 "$slurm_folder"/slurmctld.log "$slurm_folder"/slurmd.*.log || true
  return 1
}

start_node() {
  unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
    bash -c "mount --bind '$slurm_folder/tmp/$1' '$slurm_folder/pmixtmp'; exec slurmd -D -f '$SLURM_CONF' -N $1" > "$slurm_folder/slurmd.$1.out" 2>&1 &
  echo $! > "$slurm_folder/started.$1"
}

# With the first process of its namespace ends all that is in it.
kill_node() {
  local process
  process=$(cat "$slurm_folder/started.$1")
  kill -9 "$process" 2> /dev/null || true
  wait "$process" 2> /dev/null || true
}

stop_slurm() {
  [[ -n ${SLURM_CONF:-} ]] || return 0
  scancel --user=root 2> /dev/null || true
  local node
  for node in n1 n2 n3 n4; do kill_node "$node"; done
  kill -9 "$slurm_controller" "$slurm_munged" 2> /dev/null || true
  wait "$slurm_controller" "$slurm_munged" 2> /dev/null || true
}
