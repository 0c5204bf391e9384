"""What is asked of XLA, where, and what happens when there is no place for its cache."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import jax
import pytest

from t5lite.cli import xla
from t5lite.cpu import flags, machine

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
SET = f"{FLAG}=LIBRARY_FUSION_TYPE_DOT"
IN_ONE_LOOP = "--xla_disable_hlo_passes=tree_reduction_rewriter"
IN_PLACE = "--xla_cpu_copy_insertion_use_region_analysis=true"
FIRST_LEVEL = "--xla_backend_optimization_level=1"


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """The settings that ``configure`` made; the environment has none, and a home directory of its own."""
    made = {}
    monkeypatch.setattr(jax.config, "update", made.__setitem__)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", raising=False)
    for name in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "so that what configure sets is undone")
        monkeypatch.delenv(name)
    return made


@pytest.mark.parametrize(
    ("platforms", "installed", "vendor", "expected"),
    [
        ("cpu", {"libtpu", "jax_plugins"}, "0x1ae0", True),
        ("cuda,cpu", set(), None, False),
        ("tpu", set(), None, False),
        (None, set(), "0x1ae0", True),
        ("", {"libtpu"}, "0x1ae0", False),
        ("", {"libtpu"}, "0x8086", True),
        (None, {"libtpu"}, None, True),
        (None, {"jax_plugins"}, None, False),
    ],
)
def test_platform_is_found_without_importing_it(
    monkeypatch, tmp_path, platforms, installed, vendor, expected
):
    if vendor:
        (tmp_path / "0000:00:04.0").mkdir()
        (tmp_path / "0000:00:04.0" / "vendor").write_text(f"{vendor}\n")
    monkeypatch.setattr(machine, "_PCI_DEVICES", tmp_path)
    monkeypatch.setattr(machine.util, "find_spec", lambda name: name if name in installed else None)
    assert machine.runs_on_cpu(platforms) is expected


@pytest.mark.parametrize(
    ("on_cpu", "jaxlib", "given", "expected"),
    [
        (True, "0.10.7", None, f"{SET} {IN_ONE_LOOP} {IN_PLACE} {FIRST_LEVEL}"),
        (True, "0.10.2", "--a=1", f"--a=1 {SET} {IN_ONE_LOOP} {IN_PLACE} {FIRST_LEVEL}"),
        (True, "0.10.2", f"{FLAG}=NONE", f"{FLAG}=NONE {IN_ONE_LOOP} {IN_PLACE} {FIRST_LEVEL}"),
        (
            True,
            "0.10.2",
            "--xla_disable_hlo_passes=x",
            f"--xla_disable_hlo_passes=x {SET} {IN_PLACE} {FIRST_LEVEL}",
        ),
        (
            True,
            "0.10.2",
            "--xla_backend_optimization_level=0",
            f"--xla_backend_optimization_level=0 {SET} {IN_ONE_LOOP} {IN_PLACE}",
        ),
        (True, "0.11.2", None, f"{SET} {IN_ONE_LOOP} {IN_PLACE} {FIRST_LEVEL}"),
        (True, "0.12.0", None, None),
        (True, "0.1.0", None, None),
        (False, "0.10.2", None, None),
    ],
)
def test_experimental_flag_is_for_the_tested_cpu_compiler(
    settings, monkeypatch, on_cpu, jaxlib, given, expected
):
    monkeypatch.setattr(xla, "runs_on_cpu", lambda platforms: on_cpu)
    monkeypatch.setattr(flags.metadata, "version", {"jaxlib": jaxlib}.__getitem__)
    if given is not None:
        monkeypatch.setenv("XLA_FLAGS", given)
    xla.configure()
    assert os.environ.get("XLA_FLAGS") == expected


@pytest.mark.parametrize(
    ("on_cpu", "given", "expected"), [(True, None, False), (True, "1", None), (False, None, None)]
)
def test_the_main_thread_of_a_cpu_computes(settings, monkeypatch, on_cpu, given, expected):
    monkeypatch.setattr(xla, "runs_on_cpu", lambda platforms: on_cpu)
    if given is not None:
        monkeypatch.setenv("JAX_CPU_ENABLE_ASYNC_DISPATCH", given)
    xla.configure()
    assert settings.get("jax_cpu_enable_async_dispatch") is expected


LONG_SUMS = """
import jax, jax.numpy as jnp, numpy as np
from t5lite.cli import xla
xla.configure()
from t5lite.optim.base import global_norm, per_layer_rms
from t5lite.partitioning import PartitioningConfig, make_partitioner
partitioner = make_partitioner(PartitioningConfig())
x = np.random.default_rng(0).standard_normal((2, 1024, 4096)).astype(np.float32)
exact = np.square(x, dtype=np.float64)
sharded = jax.device_put(x, partitioner.sharding(("layers", "embed", "mlp"), x.shape))
with partitioner.activate():
    found = jax.jit(global_norm)({"a": sharded, "b": x[0, 0]})
print(abs(found / np.sqrt(exact.sum() + exact[0, 0].sum()) - 1))
with partitioner.activate():
    found = jax.jit(lambda x: per_layer_rms(x, ("layers", "embed", "mlp")))(sharded)
print(np.max(np.abs(found[:, 0, 0] / np.sqrt(exact.mean((1, 2))) - 1)))
print(abs(jax.jit(lambda x: jnp.sum(x * x))(x) / exact.sum() - 1))
"""


@pytest.mark.parametrize("devices", [1, 2])
def test_long_sums_keep_their_digits(devices, tmp_path):
    """Of eight million squares, where a plain sum has lost them."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "HOME": str(tmp_path), "XLA_FLAGS": flags}
    done = subprocess.run(
        [sys.executable, "-c", LONG_SUMS], env=environment, check=True, capture_output=True, text=True
    )
    norm, rms, plain = map(float, done.stdout.split())
    assert max(norm, rms) < 1e-6
    assert plain > 1e-5


def test_the_version_the_tests_run_with_is_the_tested_one():
    assert metadata.version("jaxlib").startswith(flags._FLAGS_OF_JAXLIB)


def test_cache_of_a_cpu_is_its_own(settings, monkeypatch, tmp_path):
    xla.configure()
    directory = Path(settings["jax_compilation_cache_dir"])
    assert directory.is_dir()
    assert directory.parent == tmp_path / "home" / ".cache" / "t5lite" / "xla"
    assert directory.name == machine.fingerprint()
    monkeypatch.setattr(machine.platform, "machine", lambda: "riscv128")
    assert machine.fingerprint() != directory.name


def test_a_given_cache_directory_is_left_alone(settings, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    xla.configure()
    assert "jax_compilation_cache_dir" not in settings


def no_home(monkeypatch, tmp_path):
    def fail():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", fail)


def a_file_for_a_home(monkeypatch, tmp_path):
    (tmp_path / "home").write_text("")


def unwritable(monkeypatch, tmp_path):
    monkeypatch.setattr(xla.os, "access", lambda path, mode: False)  # root may write anywhere


@pytest.mark.parametrize("trouble", [no_home, a_file_for_a_home, unwritable])
def test_without_a_place_there_is_no_cache(settings, monkeypatch, tmp_path, trouble):
    trouble(monkeypatch, tmp_path)
    xla.configure()
    assert "jax_compilation_cache_dir" not in settings


def test_the_oldest_programs_go_first(tmp_path):
    for age, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    xla.prune(tmp_path, max_bytes=25)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        (f"--other=1 {SET}", "float32", {FLAG.lstrip("-"): ""}),
        (SET, "bfloat16", None),
        (f"{FLAG}=LIBRARY_FUSION_TYPE_REDUCE", "float32", None),
        ("", "float32", None),  # on an accelerator, or with a jaxlib whose flags are not known
    ],
)
def test_programs_that_decode_leave_out_the_library_that_was_set(monkeypatch, given, dtype, expected):
    monkeypatch.setenv("XLA_FLAGS", given)
    assert flags.options_of_decoding(dtype) == expected


def test_a_program_that_decodes_is_compiled_without_the_library(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", SET)
    x_BD, kernel_DF = jax.ShapeDtypeStruct((16, 64), "float32"), jax.ShapeDtypeStruct((64, 128), "float32")

    def program(options):
        product = jax.jit(lambda x, kernel: x @ kernel, compiler_options=options)
        return product.lower(x_BD, kernel_DF).compile().as_text()

    assert "ynn_fusion" in program({FLAG.lstrip("-"): "LIBRARY_FUSION_TYPE_DOT"})
    assert "ynn_fusion" not in program(flags.options_of_decoding("float32"))
