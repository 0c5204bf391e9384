"""When a command starts itself again for another memory allocation, and with what."""

import subprocess
import sys

import pytest

from t5lite.cli import main
from t5lite.cpu import malloc

VARIABLE = "GLIBC_TUNABLES"
PAGES = "glibc.malloc.hugetlb=1"
KEPT = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=1099511627776:glibc.malloc.top_pad=67108864"


class Restarted(Exception):
    pass


@pytest.fixture
def linux(monkeypatch):
    """Linux without accelerators; ``execv`` only says that it was called."""

    def execv(executable, arguments):
        raise Restarted(executable, arguments)

    monkeypatch.setattr(malloc.sys, "platform", "linux")
    monkeypatch.setattr(malloc.os, "execv", execv)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv(VARIABLE, "so that what a test sets is undone")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "t5lite.cli.main", "train", "--config", "x.py"])


def test_same_program_and_arguments(linux):
    with pytest.raises(Restarted) as restarted:
        malloc.restart_with_tuned_malloc()
    executable, arguments = restarted.value.args
    assert executable == sys.executable
    assert arguments == [sys.executable, "-m", "t5lite.cli.main", "train", "--config", "x.py"]
    assert malloc.os.environ[VARIABLE] == f"{PAGES}:{KEPT}"
    malloc.restart_with_tuned_malloc()  # once


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("glibc.malloc.check=0", f"glibc.malloc.check=0:{PAGES}:{KEPT}"),
        ("glibc.malloc.hugetlb=0", f"glibc.malloc.hugetlb=0:{KEPT}"),
    ],
)
def test_given_tunables_are_left_alone(linux, monkeypatch, given, expected):
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(Restarted):
        malloc.restart_with_tuned_malloc()
    assert malloc.os.environ[VARIABLE] == expected


@pytest.mark.parametrize("given", [None, "glibc.malloc.check=0"])
def test_a_restart_that_fails_is_said_and_done_without(linux, monkeypatch, capfd, given):
    def execv(executable, arguments):
        raise FileNotFoundError(2, "No such file or directory", executable)

    monkeypatch.setattr(malloc.os, "execv", execv)
    if given:
        monkeypatch.setenv(VARIABLE, given)
    malloc.restart_with_tuned_malloc()
    assert malloc.os.environ.get(VARIABLE) == given
    assert "memory is not kept between steps" in capfd.readouterr().err


@pytest.mark.parametrize(("system", "platforms"), [("darwin", "cpu"), ("linux", "tpu,cpu")])
def test_nothing_happens_where_it_cannot_help(linux, monkeypatch, system, platforms):
    monkeypatch.setattr(malloc.sys, "platform", system)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    malloc.restart_with_tuned_malloc()
    assert VARIABLE not in malloc.os.environ


STEPS = """
import resource, statistics
from t5lite.cli import xla
xla.configure()
import jax, jax.numpy as jnp
step = jax.jit(lambda x: jnp.outer(x, x) @ x)
x = jnp.arange(4096.0)
for _ in range(3):
    step(x).block_until_ready()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
counts = []
for _ in range(11):
    before = faults()
    step(x).block_until_ready()
    counts.append(faults() - before)
print(statistics.median(counts))
"""


def faults_a_step(tunables):
    """Pages that the median step in its own process takes from the kernel; its array has 16,384 of 4 KiB.

    The median, because on a busy machine a thread now and then allocates before another has freed: such a
    step takes the array anew, whatever the settings.
    """
    environment = malloc.os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": "",
        VARIABLE: tunables,
    }
    done = subprocess.run(
        [sys.executable, "-c", STEPS], env=environment, check=True, capture_output=True, text=True
    )
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="these are settings of glibc's malloc")
def test_a_step_finds_its_memory_again():
    assert faults_a_step("glibc.malloc.hugetlb=0") > 16_000
    assert faults_a_step(f"glibc.malloc.hugetlb=0:{KEPT}") < 100


@pytest.mark.parametrize(
    ("arguments", "restarts"), [(["train"], True), (["--version"], False), (["models"], False), ([], False)]
)
def test_only_commands_that_compute(linux, monkeypatch, capsys, arguments, restarts):
    monkeypatch.setattr(sys, "argv", ["t5lite", *arguments])
    if not restarts:
        assert main.main() == 0
        return
    with pytest.raises(Restarted):
        main.main()


def test_a_real_restart_ends_as_the_command_does():
    environment = {k: v for k, v in malloc.os.environ.items() if k != VARIABLE} | {"JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [sys.executable, "-m", "t5lite.cli.main", "train", "--config", "no_such_recipe.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "no_such_recipe.py" in ended.stderr
