"""local and ssh, with stand-ins for ssh and training: who starts, who is stopped, who is started again."""

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from t5lite.core.exit_codes import ExitCode
from tests.launch_jobs import make_job, platform

pytestmark = pytest.mark.slow

KINDS = pytest.mark.parametrize("kind", ["local", "ssh"])
ID = 'id=$(sed -E "s/.*--process-id ([0-9]+).*/\\1/" <<<"$*")\n'
NOTE = r"""
note() { printf '%s\n' "$*" >>"$RECORD"; }
lines() { wc -l <"$RECORD"; }
meet() {  # notes, and waits until the other process has noted, too
  note "$@"
  local seen
  seen=$(lines)
  until (( $(lines) >= (seen + 1) / 2 * 2 )); do sleep 0.02; done
}
"""
WAIT = "for _ in {1..300}; do sleep 0.1; done\n"


@pytest.fixture
def script(programs, monkeypatch) -> Callable[..., str]:
    """Return the script of a platform for two processes whose training is ``training``, in bash."""

    def rendered(kind: str, training: str, **changes) -> str:
        trainer = programs.add("t5lite", NOTE + ID + training)
        real = sys.executable
        python = programs.add(
            "python", f'if [[ $1 == -c ]]; then exec "{real}" "$@"; fi\nshift 2\nexec {trainer} "$@"'
        )
        programs.add("ssh", 'until [[ $1 == -- ]]; do shift; done\nexec bash -c "${*:3}"')
        programs.add("sleep", 'case $1 in 5) set -- 0.1 ;; esac\nexec /bin/sleep "$1"')
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(python))
            return platform(kind).render(make_job(**changes))

    return rendered


def wait_for(programs, line: str, times: int) -> None:
    deadline = time.monotonic() + 30
    while programs.record.count(line) < times and time.monotonic() < deadline:
        time.sleep(0.05)
    assert programs.record.count(line) == times


@KINDS
def test_every_process_gets_its_number_the_configuration_and_the_words(programs, script, kind):
    training = """
config=$(sed -E 's/.*--config ([^ ]+).*/\\1/' <<<"$*")
note "$id $(grep -c gs://bucket "$config") ${config##*.} $XLA_FLAGS ${*: -2}"
"""
    words = ("--allow-change", "a  b'c")
    done = programs.run(script(kind, training, train_arguments=words), XLA_FLAGS="--given")
    assert done.returncode == 0, done.stderr
    flags = "--given --xla_force_host_platform_device_count=4" if kind == "local" else "--given"
    # ssh puts the number last
    ends = {"local": ["--allow-change a  b'c"] * 2, "ssh": ["--process-id 0", "--process-id 1"]}[kind]
    assert sorted(programs.record) == [f"{index} 1 json {flags} {end}" for index, end in enumerate(ends)]


@KINDS
def test_the_others_are_stopped_when_one_fails_for_good(programs, script, kind):
    training = f"trap 'note stopped; exit 143' TERM\nmeet start\nif ((id)); then exit 3; fi\n{WAIT}"
    done = programs.run(script(kind, training))
    assert done.returncode == ExitCode.DOES_NOT_FIT
    assert "process 1 failed with exit code 3; stopping the others" in done.stderr
    assert programs.record == ["start", "start", "stopped"]


@pytest.mark.fault(
    "a process of a launched job ends with 75, 76, a crash or a kill",
    "all are stopped and started again, up to `--max-restarts`",
    "that of the last end",
)
@pytest.mark.parametrize(
    ("kind", "code"),
    [("ssh", 75), ("local", 75), ("local", 76), ("local", 129), ("local", 143), ("local", 1)],
)
def test_what_another_start_may_mend_is_started_again(programs, script, kind, code):
    done = programs.run(script(kind, f"meet start $id\nexit {code}", max_restarts=2))
    assert done.returncode == code
    assert sorted(programs.record) == ["start 0"] * 3 + ["start 1"] * 3
    assert f"exit code {code}; starting again (2 of 2)" in done.stderr
    assert f"exit code {code} after 2 restarts; no more" in done.stderr


@KINDS
def test_a_restart_that_succeeds_ends_the_job(programs, script, kind):
    training = "meet start\n(( $(lines) > 2 )) || exit 75"
    done = programs.run(script(kind, training))
    assert done.returncode == 0, done.stderr
    assert programs.record == ["start"] * 4


@pytest.mark.parametrize(
    ("kind", "code"), [("ssh", 2), ("local", 2), ("local", 3), ("local", 4), ("local", 130)]
)
def test_nothing_else_is_started_again(programs, script, kind, code):
    done = programs.run(script(kind, f"meet start\nexit {code}"))
    assert done.returncode == code
    assert programs.record == ["start"] * 2


@pytest.mark.fault(
    "a process of a launched job ends with 2, 3, 4 or 130, whatever the others end with",
    "not started again",
    "that code",
)
@KINDS
def test_a_mistake_wins_over_the_crash_that_it_brings(programs, script, kind):
    """Process 0 dies first, for its peer is gone; that the peer saw a mistake is known a little later."""
    training = "trap '' TERM\nmeet start\nif ((id)); then sleep 0.8; exit 2; fi\nexit 1"
    done = programs.run(script(kind, training))
    assert done.returncode == ExitCode.USER_ERROR
    assert programs.record == ["start"] * 2


@KINDS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_request_is_passed_on_once(programs, script, kind, number):
    training = (
        "stops=0\ntrap 'stops=$((stops + 1)); note stop $stops' TERM INT HUP\nnote ready\n"
        "for _ in {1..300}; do sleep 0.1; ((stops)) && sleep 0.5 && exit 143; done"
    )
    launcher = programs.start(script(kind, training))
    try:
        wait_for(programs, "ready", 2)
        os.killpg(launcher.pid, number)  # what a terminal does at Ctrl-C
        launcher.communicate(timeout=30)
    finally:
        launcher.kill()
    assert launcher.returncode == ExitCode.TERMINATED
    assert sorted(programs.record) == ["ready", "ready", "stop 1", "stop 1"]


@KINDS
def test_a_second_stop_request_kills(programs, script, kind):
    launcher = programs.start(script(kind, f"trap '' TERM\nnote ready\n{WAIT}"))
    try:
        wait_for(programs, "ready", 2)
        launcher.terminate()
        time.sleep(0.5)
        launcher.terminate()
        launcher.communicate(timeout=30)
    finally:
        launcher.kill()
    assert launcher.returncode == 128 + signal.SIGKILL


@pytest.mark.fault(
    "the machine that launched by `ssh` dies, or its connection",
    "every host saves and exits; a lost connection is a restart",
    143,
)
def test_hosts_save_and_exit_when_nobody_is_there_any_more(programs, script):
    launcher = programs.start(script("ssh", f"trap 'note stopped; exit 143' TERM\nnote ready\n{WAIT}"))
    wait_for(programs, "ready", 2)
    launcher.kill()
    wait_for(programs, "stopped", 2)
    launcher.communicate(timeout=30)


@KINDS
def test_all_starts_of_a_job_have_one_name_and_no_other_job_has_it(programs, script, kind):
    for _ in range(2):
        programs.run(script(kind, "meet $T5LITE_JOB\nexit 75", max_restarts=1))
    first, second = programs.record[:4], programs.record[4:]
    assert len({*first}) == len({*second}) == 1
    assert {*first} != {*second}
    assert all(name.startswith("my-run-") for name in programs.record)


def test_hosts_keep_no_configuration(programs, script, tmp_path):
    (tmp_path / "tmp").mkdir()
    assert programs.run(script("ssh", "exit 0"), TMPDIR=str(tmp_path / "tmp")).returncode == 0
    assert list((tmp_path / "tmp").iterdir()) == []
