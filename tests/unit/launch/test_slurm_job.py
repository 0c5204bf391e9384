"""The Slurm job, run with stand-ins for Slurm; launch/check_slurm.sh runs it under a real one."""

import os
import signal
import time

import pytest

from t5lite.core.exit_codes import ExitCode
from tests.launch_jobs import Programs, make_job, platform

SRUN = """
printf '%s\\n' "$@" >"$RECORD.srun"
until [[ $1 == bash ]]; do shift; done
exec "$@"
"""
SCONTROL = 'echo "scontrol $*" >>"$RECORD"'
WAIT = "for _ in {1..300}; do sleep 0.1; done\n"


def script(**changes) -> str:
    return platform("slurm", "--tasks-per-node", "2").render(make_job(**changes))


@pytest.fixture
def slurm(programs) -> Programs:
    programs.add("srun", SRUN)
    programs.add("scontrol", SCONTROL)
    programs.add("sleep", "exec /bin/sleep 0.1")
    return programs


def test_each_task_trains_with_the_configuration_and_the_words(slurm):
    slurm.add("t5lite", 'printf "%s|" "$@" >>"$RECORD"; grep -c gs://bucket "${@: -1}" >>"$RECORD"')
    done = slurm.run(script(train_arguments=("--allow-change", "a  b'c")), SLURM_JOB_ID="17")
    assert done.returncode == 0, done.stderr
    (line,) = slurm.record
    assert line.startswith("train|--allow-change|a  b'c|--config|")
    assert line.endswith(".json|1")
    assert not os.path.exists(line.split("|")[-2])


@pytest.mark.parametrize("code", [code for code in ExitCode if not code.restarts])
def test_what_is_final_is_not_put_back_into_the_queue(slurm, code):
    slurm.add("t5lite", f"exit {int(code)}")
    assert slurm.run(script(), SLURM_JOB_ID="17").returncode == code
    assert slurm.record == []


@pytest.mark.parametrize("code", [75, 76, 129, 143, 1, 137])
def test_anything_else_goes_back_into_the_queue(slurm, code):
    slurm.add("t5lite", f"exit {code}")
    done = slurm.run(script(), SLURM_JOB_ID="17")
    assert (done.returncode, slurm.record) == (code, ["scontrol requeue 17"])
    assert f"exit code {code}; back to the queue (restart 1 of 3)" in done.stderr


def test_a_mistake_of_one_task_wins_over_the_tasks_that_are_killed_with_it(slurm):
    """Slurm returns the highest code of the tasks."""
    slurm.add("t5lite", "exit 2")
    slurm.add("srun", SRUN.replace('exec "$@"', '"$@" || code=$?\nexit $((code > 137 ? code : 137))'))
    assert slurm.run(script(), SLURM_JOB_ID="17").returncode == ExitCode.USER_ERROR
    assert slurm.record == []


def test_it_does_not_come_back_for_ever(slurm):
    slurm.add("t5lite", "exit 75")
    done = slurm.run(script(), SLURM_JOB_ID="17", SLURM_RESTART_COUNT="3")
    assert (done.returncode, slurm.record) == (75, [])
    assert "after 3 restarts; no more" in done.stderr


def started(slurm: Programs, name: str) -> int:
    """Return the process id that a stand-in wrote."""
    path = slurm.record_file.with_suffix(f".{name}")
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return int(path.read_text())


SAVING = f'trap "exit 143" TERM\necho $$ >"$RECORD.t5lite"\n{WAIT}'


def test_near_the_time_limit_training_saves_and_the_job_comes_back(slurm):
    slurm.add("t5lite", SAVING)
    slurm.add("scancel", 'echo "scancel $*" >>"$RECORD"; kill -TERM "$(cat "$RECORD.t5lite")"')
    job = slurm.start(script(), SLURM_JOB_ID="17")
    started(slurm, "t5lite")
    job.send_signal(signal.SIGUSR1)
    job.communicate(timeout=60)
    assert job.returncode == ExitCode.TERMINATED
    assert slurm.record == ["scancel --signal=TERM 17", "scontrol requeue 17"]


def test_a_cancelled_job_saves_and_stays_away(slurm):
    """Slurm sends SIGTERM to tasks and script alike; the same when it puts the job back itself."""
    slurm.add("t5lite", SAVING)
    job = slurm.start(script(), SLURM_JOB_ID="17")
    started(slurm, "t5lite")
    os.killpg(job.pid, signal.SIGTERM)
    job.communicate(timeout=60)
    assert job.returncode == ExitCode.TERMINATED
    assert slurm.record == []


def test_options_precede_the_first_command():
    """Slurm stops reading ``#SBATCH`` lines at the first line that is no comment."""
    lines = script(flags=("--partition=gpu", "--comment=a 'b'")).splitlines()
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    options = [line for line in lines if line.startswith("#SBATCH")]
    assert options == [line for line in lines[:first_command] if line.startswith("#SBATCH")]
    assert {"#SBATCH --nodes=1", "#SBATCH --ntasks-per-node=2", "#SBATCH --partition=gpu"} <= {*options}


def test_chips_are_nodes_and_gpus():
    text = platform("slurm", "--chips", "h100-16").render(make_job())
    assert {"#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=8", "#SBATCH --gpus-per-node=8"} <= {
        *text.splitlines()
    }
