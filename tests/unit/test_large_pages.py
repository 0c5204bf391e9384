"""When a command starts itself again for large memory pages, and with what."""

import subprocess
import sys

import pytest

from t5lite.cli import host, main

VARIABLE = "GLIBC_TUNABLES"
ON = "glibc.malloc.hugetlb=1"


class Restarted(Exception):
    pass


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """A machine without accelerators whose kernel gives large pages on request; ``execv`` only says so."""
    setting = tmp_path / "enabled"
    setting.write_text("always [madvise] never\n")

    def execv(executable, arguments):
        raise Restarted(executable, arguments)

    monkeypatch.setattr(host, "_KERNEL_SETTING", setting)
    monkeypatch.setattr(host.os, "execv", execv)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv(VARIABLE, "so that what a test sets is undone")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "t5lite.cli.main", "train", "--config", "x.py"])
    return setting


def test_same_program_and_arguments(kernel, monkeypatch):
    with pytest.raises(Restarted) as restarted:
        host.restart_with_large_pages()
    executable, arguments = restarted.value.args
    assert executable == sys.executable
    assert arguments == [sys.executable, "-m", "t5lite.cli.main", "train", "--config", "x.py"]
    assert host.os.environ[VARIABLE] == ON
    host.restart_with_large_pages()  # once


def test_other_tunables_are_kept(kernel, monkeypatch):
    monkeypatch.setenv(VARIABLE, "glibc.malloc.check=0")
    with pytest.raises(Restarted):
        host.restart_with_large_pages()
    assert host.os.environ[VARIABLE] == f"glibc.malloc.check=0:{ON}"


@pytest.mark.parametrize(
    ("setting", "variable", "platforms"),
    [
        ("[always] madvise never", "", "cpu"),
        ("always madvise [never]", "", "cpu"),
        ("always [madvise] never", "glibc.malloc.hugetlb=0", "cpu"),
        ("always [madvise] never", "", "tpu,cpu"),
        (None, "", "cpu"),
    ],
)
def test_nothing_happens_where_it_cannot_help(kernel, monkeypatch, setting, variable, platforms):
    kernel.unlink() if setting is None else kernel.write_text(setting)
    monkeypatch.setenv(VARIABLE, variable)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    host.restart_with_large_pages()
    assert host.os.environ[VARIABLE] == variable


@pytest.mark.parametrize(
    ("arguments", "restarts"), [(["train"], True), (["--version"], False), (["models"], False), ([], False)]
)
def test_only_commands_that_compute(kernel, monkeypatch, capsys, arguments, restarts):
    monkeypatch.setattr(sys, "argv", ["t5lite", *arguments])
    if not restarts:
        assert main.main() == 0
        return
    with pytest.raises(Restarted):
        main.main()


def test_a_real_restart_ends_as_the_command_does():
    environment = {k: v for k, v in host.os.environ.items() if k != VARIABLE} | {"JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(
        [sys.executable, "-m", "t5lite.cli.main", "train", "--config", "no_such_recipe.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "no_such_recipe.py" in ended.stderr
