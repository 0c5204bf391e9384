"""Start-up: what is handed to JAX, and when a process is left alone."""

import jax
import numpy as np
import pytest

from t5lite.core.errors import ConfigError
from t5lite.partitioning import multihost

CLUSTER_VARIABLES = (
    "SLURM_STEP_NODELIST",
    "SLURM_NTASKS",
    "OMPI_MCA_orte_hnp_uri",
    "TPU_WORKER_HOSTNAMES",
    "TPU_PROCESS_ADDRESSES",
    "KUBERNETES_SERVICE_HOST",
    "JOB_COMPLETION_INDEX",
)


@pytest.fixture
def joined(monkeypatch):
    """The calls of ``jax.distributed.initialize``, in an environment without any cluster."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args: calls.append(args))
    for name in CLUSTER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "1")
    return calls


def test_a_process_alone_is_left_alone(joined):
    multihost.initialize()
    multihost.initialize(num_processes=1)
    multihost.barrier("nothing to wait for")
    assert joined == []
    assert multihost.is_leader()


def test_explicit_arguments_are_passed_on(joined):
    multihost.initialize(coordinator_address="10.0.0.2:8476", num_processes=4, process_id=3)
    assert joined == [("10.0.0.2:8476", 4, 3)]


@pytest.mark.parametrize(
    ("variables", "note"),
    [
        ({}, None),
        ({"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "2"}, "one task of the Slurm run only"),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "set JAX_PLATFORMS=cpu, or TPU_PROCESS_BOUNDS=1,1,1"),
        ({"TPU_WORKER_HOSTNAMES": "a"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "JAX_PLATFORMS": "cpu"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "TPU_PROCESS_BOUNDS": "1,1,1"}, None),
    ],
)
def test_a_command_of_one_process_says_what_to_set_on_a_host_of_several(joined, monkeypatch, variables, note):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.delenv("TPU_PROCESS_BOUNDS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    said = multihost.one_process_note()
    assert said is None if note is None else note in (said or "")


@pytest.mark.parametrize(
    ("variables", "cluster"),
    [
        ({"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "2"}, "Slurm"),
        ({"SLURM_STEP_NODELIST": "node1", "SLURM_NTASKS": "1"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "GKE TPU"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}, "Kubernetes Job"),
    ],
)
def test_detected_cluster_is_left_to_jax(joined, monkeypatch, variables, cluster):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert multihost.detected_cluster() == cluster
    multihost.initialize()
    assert joined == ([()] if cluster else [])


def test_tpu_chips_are_a_cluster(joined, monkeypatch):
    monkeypatch.delenv("TPU_SKIP_MDS_QUERY")
    assert multihost.detected_cluster() == "Cloud TPU"


def test_a_cluster_that_says_too_little_is_not_taken_for_a_single_process(joined, monkeypatch):
    def fail():
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    with pytest.raises(
        ConfigError, match=r"Kubernetes Job run, but JAX could not join.*pass coordinator_address"
    ):
        multihost.initialize()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_processes": 2}, "missing coordinator_address, process_id"),
        (
            {"coordinator_address": "a:1", "num_processes": 2, "process_id": 2},
            r"process_id=2 must be in 0\.\.1",
        ),
        ({"coordinator_address": "a", "num_processes": 2, "process_id": 0}, "must be host:port"),
    ],
)
def test_wrong_arguments(joined, arguments, message):
    with pytest.raises(ConfigError, match=message):
        multihost.initialize(**arguments)
    assert joined == []


@pytest.mark.parametrize(
    ("error", "code", "printed"),
    [
        (ConfigError("batch_size=3"), 2, "t5lite: process 0: batch_size=3\n"),
        (KeyboardInterrupt(), 130, "t5lite: process 0: interrupted\n"),
        (ZeroDivisionError("a bug"), 1, "ZeroDivisionError: a bug\n"),
    ],
)
def test_one_process_of_several_ends_at_once(monkeypatch, capsys, error, code, printed):
    class Ended(BaseException):
        pass

    def end(code):
        raise Ended(code)

    monkeypatch.setattr(multihost.os, "_exit", end)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(Ended) as ended, multihost.failing_fast():
        raise error
    assert ended.value.args == (code,)
    assert capsys.readouterr().err.endswith(printed)


def test_a_process_alone_raises(monkeypatch):
    with pytest.raises(KeyboardInterrupt), multihost.failing_fast():
        raise KeyboardInterrupt


def test_the_leader_alone_answers(monkeypatch):
    assert [multihost.as_the_leader_says(answer) for answer in (True, False)] == [True, False]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        multihost.multihost_utils, "broadcast_one_to_all", lambda of_the_leader: np.array(True)
    )
    assert multihost.as_the_leader_says(False) is True
