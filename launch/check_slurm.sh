#!/usr/bin/env bash
# Runs what `t5lite launch slurm` renders under a real Slurm on this machine: one node of two CPUs, one job of two
# processes that trains a tiny model. The job is preempted, then loses a process to SIGKILL, resumes each time, and
# finishes; another is cancelled, and one has a mistake: neither comes back. Then the jobs of a sweep are submitted by
# the lines that `t5lite sweep --launch` prints: a branch waits for its trunk.
#
#   apt-get install slurm-wlm munge       (Debian; the daemons run as you, in a scratch directory, and end with it)
#   launch/check_slurm.sh                 takes five to twenty minutes; PYTHON names another interpreter
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
for program in munged slurmctld slurmd sbatch "$python"; do
  command -v "$program" >/dev/null || PATH=$PATH:/usr/sbin
  command -v "$program" >/dev/null || { echo "launch/check_slurm.sh: $program is missing" >&2; exit 2; }
done

scratch=$(mktemp -d)
daemons=()
clean_up() {
  scancel --quiet --user="$(id -un)" 2>/dev/null || true
  for daemon in "${daemons[@]}"; do kill "$daemon" 2>/dev/null || true; done
  wait
  if [[ -z ${failed-yes} ]]; then rm -rf "$scratch"; else echo "everything is in $scratch" >&2; fi
}
trap clean_up EXIT

fail() { echo "FAILED: $1" >&2; exit 1; }
say() { printf '%4d s  %s\n' "$SECONDS" "$1"; }
# wait_for SECONDS WHAT COMMAND…
wait_for() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    (( SECONDS < end )) || fail "$what did not happen"
    sleep 0.5
  done
}

# A cluster of this machine alone.
host=$(hostname -s)
user=$(id -un)
mkdir "$scratch"/{ctld,d,bin}
dd if=/dev/urandom bs=1024 count=1 of="$scratch/munge.key" status=none
chmod 0711 "$scratch" && chmod 0600 "$scratch/munge.key"
export SLURM_CONF=$scratch/slurm.conf
cat >"$SLURM_CONF" <<EOT
ClusterName=desk
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$scratch/munge.socket
CredType=cred/munge
StateSaveLocation=$scratch/ctld
SlurmdSpoolDir=$scratch/d
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=60
ReturnToService=2
MpiDefault=none
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes=$host Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=120
PartitionName=high Nodes=$host PriorityTier=10 PreemptMode=OFF
EOT
munged --foreground --force --key-file="$scratch/munge.key" --socket="$scratch/munge.socket" \
  --pid-file="$scratch/munge.pid" --log-file="$scratch/munge.log" --seed-file="$scratch/munge.seed" 2>/dev/null &
daemons+=($!)
wait_for 20 "munged's socket" test -S "$scratch/munge.socket"
slurmctld -D -f "$SLURM_CONF" >"$scratch/slurmctld.log" 2>&1 &
daemons+=($!)
slurmd -D -f "$SLURM_CONF" >"$scratch/slurmd.log" 2>&1 &
daemons+=($!)
idle() { [[ $(sinfo --noheader --partition=low --format=%t 2>/dev/null) == idle ]]; }
wait_for 300 "a node of the cluster" idle
say "$(sinfo --version), a node of two CPUs"

# t5lite is this checkout.
cat >"$scratch/bin/t5lite" <<EOT
#!/bin/sh
exec "$(command -v "$python")" -m t5lite.cli.main "\$@"
EOT
chmod +x "$scratch/bin/t5lite"
export PATH=$scratch/bin:$PATH PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} JAX_PLATFORMS=cpu
recipes=$PWD/tests/e2e
recipe=$recipes/tiny_recipe.py
cd "$scratch"
"$python" -c 'from t5lite.quickstart import corpus; print("\n\n".join(p.text for p in corpus.austen()[:400]))' >austen.txt
t5lite prepare text --inputs austen.txt --output data --vocabulary-size 500 --heldout-fraction 0.1 >prepare.log 2>&1

# launch NAME [WORD…]: prints the number of the job
launch() {
  local name=$1
  shift
  t5lite launch slurm --config "$recipe" --name "$name" --run-dir "$name" --tasks-per-node 2 --time 1:00:00 \
    --data.store data/train --evaluations.heldout.store data/heldout --training.eval-every-steps 100000 "$@" |
    sed 's/^Submitted batch job //'
}
state() { scontrol --oneliner show job "$1" | sed -E 's/.* JobState=([A-Z]+) .*/\1/'; }
is() { [[ $(state "$1") == "$2" ]]; }
steps() { if [[ -e $1/metrics.jsonl ]]; then grep -c '"train"' "$1/metrics.jsonl"; else echo 0; fi; }
has_steps() { (( $(steps "$1") >= $2 )); }
said() { grep -qF -- "$2" "$1-"*.log 2>/dev/null; }
# A requeued job may start after two minutes; an administrator can say earlier, but not at once: the node has revoked
# the credentials of that moment.
soon() { sleep 10; scontrol update JobId="$1" StartTime=now; }

comment='it'"'"'s \ "2 x" #1'
job=$(launch train --training.total-steps 120 --flag="--comment=$comment")
wait_for 900 "training" has_steps train 10
[[ $(squeue --noheader --job="$job" --format=%k) == "$comment" ]] || fail "a flag did not arrive as it is"
say "job $job trains in two processes, step $(steps train)"

urgent=$(sbatch --parsable --partition=high --ntasks=2 --output=urgent.log --wrap 'sleep 3')
wait_for 600 "the preemption" is "$job" PENDING
wait_for 300 "the urgent job" is "$urgent" COMPLETED
stopped=$(sed -nE 's/.*stopped at step ([0-9]+), saved.*/\1/p' "train-$job.log")
[[ -n $stopped ]] || fail "the preempted job did not save"
say "preempted at step $stopped, saved; $(grep -h 't5lite launch:' "train-$job.log")"
soon "$job"
wait_for 900 "the resumption" said train "resuming from step $stopped"
say "resumed from step $stopped"

wait_for 900 "more training" has_steps train $((stopped + 10))
# trainers JOB: the processes of the job that train
trainers() {
  local pid
  scontrol listpids "$1" | awk 'NR > 1 { print $1 }' | while read -r pid; do
    if tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF 't5lite.cli.main train'; then echo "$pid"; fi
  done 2>/dev/null
}
victim=$(trainers "$job" | tail -n 1)
[[ -n $victim ]] || fail "no process of job $job trains"
kill -KILL "$victim"
wait_for 600 "the second requeue" is "$job" PENDING
say "one process killed; $(grep -h 't5lite launch:' "train-$job.log" | tail -n 1)"
soon "$job"
wait_for 900 "the end" is "$job" COMPLETED
(( $(scontrol --oneliner show job "$job" | sed -E 's/.* Restarts=([0-9]+) .*/\1/') == 2 )) || fail "not two restarts"
"$python" - <<'PYTHON'
import json
steps = [line["step"] for line in map(json.loads, open("train/metrics.jsonl")) if line["kind"] == "train"]
assert sorted({*steps}) == [*range(1, 121)], steps
PYTHON
say "finished: all 120 steps, after two restarts"

job=$(launch cancelled --training.total-steps 5000)
wait_for 900 "training" has_steps cancelled 5
scancel "$job"
wait_for 600 "the end of a cancelled job" is "$job" CANCELLED
wait_for 300 "its save" said cancelled "saved; to go on"
sleep 5
is "$job" CANCELLED || fail "a cancelled job came back"
say "cancelled: saved, and stays away"

job=$(launch mistake -- --nonsense)
wait_for 600 "the end of a mistaken job" is "$job" FAILED
scontrol --oneliner show job "$job" | grep -q 'Restarts=0 .*ExitCode=2:0' || fail "a mistake is exit code 2, once"
say "mistake: exit code 2, not started again"
cat >sweep.py <<EOT
from t5lite import recipe as r
from t5lite.scaling import sweep_recipe as s


def sweep():
    stores = "--data.store", "data/train", "--evaluations.heldout.store", "data/heldout"
    recipe = s.recipe("$recipes/tiny_gpt_recipe.py", *stores, "--training.total-steps", "100")
    recipe = r.replace(recipe, schedule=r.WarmupStableDecay(peak=0.01, warmup_steps=3, decay_steps=20))
    budgets = [s.Tokens(tokens=steps * 8 * 32) for steps in (12, 20)]
    runs = s.branches(recipe, models=[recipe.model], budgets=budgets)
    return s.Sweep(directory="sweep", families={"gpt": runs}, evaluate=False)
EOT
t5lite sweep sweep.py --write-recipes jobs --launch "slurm --tasks-per-node 1 --time 1:00:00" >submit 2>sweep.log
bash submit >submitted
names=$(sed -nE 's/.*jobs\/([0-9a-f]+)\.sbatch.*/run-\1/p' submit | paste -sd,)
mapfile -t both < <(squeue --noheader --format=%i --name="$names" | sort -n)
(( ${#both[@]} == 2 )) || fail "not two jobs of the sweep: ${both[*]}"
squeue --noheader --format=%E --job="${both[1]}" | grep -q "afterok:${both[0]}" || fail "the branch does not wait"
say "jobs ${both[*]} of a sweep: $(cat submit)"
for job in "${both[@]}"; do wait_for 900 "the end of job $job of the sweep" is "$job" COMPLETED; done
t5lite sweep sweep.py 2>&1 | grep "2 of 2 runs are finished" || fail "the sweep is not finished"
"$python" - <<'PYTHON'
import csv
trunk, branch = csv.DictReader(open("sweep/table.csv"))
assert (branch["trunk"], branch["steps"], branch["own_steps"]) == (trunk["run"], "20", "10"), branch
PYTHON
say "the branch trained its own 10 steps after its trunk"
failed=
echo "everything as it should be"
