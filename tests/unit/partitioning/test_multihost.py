"""Start-up: what is handed to JAX, and when a process is left alone."""

import contextlib
import http.server
import threading

import jax
import numpy as np
import pytest

from t5lite.core.errors import ConfigError, TransientError
from t5lite.partitioning import multihost
from t5lite.partitioning.multihost import JoiningConfig

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
    monkeypatch.setattr(jax.distributed, "initialize", lambda **arguments: calls.append(arguments))
    monkeypatch.setattr(multihost, "end_aborts_as_transient", lambda: None)
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
    where = {"coordinator_address": "10.0.0.2:8476", "num_processes": 4, "process_id": 3}
    multihost.initialize(**where, config=JoiningConfig(join_seconds=7, silent_seconds=9))
    assert joined == [
        {
            **where,
            "initialization_timeout": 7,
            "heartbeat_timeout_seconds": 9,
            "shutdown_timeout_seconds": 9,
        }
    ]


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
    assert len(joined) == (cluster is not None)


@pytest.mark.parametrize(
    ("variables", "cluster"),
    [
        ({}, None),
        ({"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "2"}, "Slurm"),
        ({"SLURM_STEP_NODELIST": "node1", "SLURM_NTASKS": "1"}, None),
        ({"OMPI_MCA_orte_hnp_uri": "1", "OMPI_COMM_WORLD_SIZE": "1"}, None),
        ({"OMPI_MCA_orte_hnp_uri": "1", "OMPI_COMM_WORLD_SIZE": "4"}, "Open MPI"),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "GKE TPU"),
        ({"TPU_WORKER_HOSTNAMES": "a"}, None),
        ({"TPU_PROCESS_ADDRESSES": "a:1,b:1"}, "GKE TPU"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}, "Kubernetes Job"),
    ],
)
def test_a_cluster_in_which_others_would_be_waited_for(joined, monkeypatch, variables, cluster):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert multihost.joined_cluster() == cluster


@pytest.mark.parametrize(
    ("status", "content", "cluster"),
    [(200, b"w:0:10.0.0.1,w:1:10.0.0.2", "Cloud TPU"), (200, b"w:0:10.0.0.1", None), (404, b"", None)],
)
def test_a_tpu_vm_waits_for_the_others_of_its_slice(joined, metadata, status, content, cluster):
    metadata.update(status=status, content=content)
    assert multihost.joined_cluster() == cluster


def test_tpu_chips_are_a_cluster(joined, monkeypatch):
    monkeypatch.delenv("TPU_SKIP_MDS_QUERY")
    assert multihost.detected_cluster() == "Cloud TPU"


def test_a_cluster_that_says_too_little_is_not_taken_for_a_single_process(joined, monkeypatch):
    def fail(**arguments):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    with pytest.raises(
        ConfigError, match=r"Kubernetes Job run, but JAX could not join.*pass coordinator_address"
    ):
        multihost.initialize()


@pytest.fixture
def metadata(monkeypatch):
    """A metadata server; the dictionary says with which ``status`` and ``content`` it answers."""
    answer = {"status": 200, "content": b""}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(answer["status"])
            self.end_headers()
            self.wfile.write(answer["content"])

        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        monkeypatch.setenv("GCE_METADATA_IP", f"127.0.0.1:{server.server_port}")
        monkeypatch.delenv("TPU_SKIP_MDS_QUERY")
        yield answer
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (404, "coordinator_address should be defined.", None),
        (200, "coordinator_address should be defined.", ConfigError),
        (503, "coordinator_address should be defined.", TransientError),
        (404, "invalid literal for int() with base 10: 'None'", ConfigError),
    ],
)
def test_only_a_machine_that_is_in_no_slice_trains_alone_with_its_chips(
    joined, metadata, monkeypatch, status, said, expected
):
    def fail(**arguments):
        raise ValueError(said)

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    metadata["status"] = status
    with contextlib.nullcontext() if expected is None else pytest.raises(expected, match="alone"):
        multihost.initialize()


@pytest.mark.fault(
    "a host of a TPU slice cannot join, or its metadata server fails",
    "an error; it never trains alone",
    "2, 75",
)
def test_a_pod_of_gke_never_trains_alone(joined, monkeypatch):
    def fail(**arguments):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a,b")
    with pytest.raises(ConfigError, match="a GKE TPU run, but JAX could not join it"):
        multihost.initialize()


def test_a_coordinator_that_is_not_there_is_transient(joined, monkeypatch):
    def fail(**arguments):
        raise RuntimeError("Failed to recognize coordinator address a")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(TransientError, match=r"could not be joined \(Failed to recognize.*start all of them"):
        multihost.initialize(coordinator_address="a:1", num_processes=2, process_id=1)


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


def test_the_leader_alone_answers(monkeypatch):
    assert [multihost.as_the_leader_says(answer) for answer in (True, False)] == [True, False]
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        multihost.multihost_utils, "broadcast_one_to_all", lambda of_the_leader: np.array(True)
    )
    assert multihost.as_the_leader_says(False) is True
