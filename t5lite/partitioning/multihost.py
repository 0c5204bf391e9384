"""Start-up of a run that spans several processes, and what they must agree on."""

import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from t5lite.core.errors import ConfigError, TransientError
from t5lite.core.process_end import waits_at_exit
from t5lite.partitioning.lost_processes import end_aborts_as_transient

_ONE_TPU_HOST = "TPU_PROCESS_BOUNDS=1,1,1 TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1"
"""What tells libtpu to use the four chips of one host of a slice and no other host."""
_NO_CLUSTER = "coordinator_address should be defined."
"""What JAX says where it detects no cluster."""
_METADATA = "/computeMetadata/v1/instance/attributes/"
_WORKER_NUMBER = "agent-worker-number"
"""The metadata by which JAX knows a Cloud TPU VM."""
_WORKERS = "worker-network-endpoints"
"""Those by which it knows all of a slice."""


@dataclass(frozen=True, kw_only=True)
class JoiningConfig:
    """How long the processes of a run wait for each other, in seconds."""

    join_seconds: int = 300
    """For the others at the start, and for the coordinator: hosts of a pod do not come up together."""
    silent_seconds: int = 60
    """Until a process that sends no heartbeat any more is taken for gone, which ends the others."""

    def __post_init__(self) -> None:
        for each in fields(self):
            if getattr(self, each.name) < 1:
                raise ConfigError(f"joining.{each.name}={getattr(self, each.name)} must be 1 or more")


def initialize(
    *,
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    config: JoiningConfig | None = None,
) -> None:
    """Join this process to the run. Call before anything that asks JAX for devices.

    With all three arguments the processes are joined as told; ``num_processes=1`` is a no-op. Without
    any, JAX's own detection is used where a cluster is seen (Cloud TPU, GKE, Slurm, Open MPI), and a
    process that stands alone is left alone. A second call does nothing.

    Under Slurm, JAX gives every task the one local device of its rank (``SLURM_LOCALID``): start one task
    a GPU, or name the devices of a task in ``JAX_LOCAL_DEVICE_IDS``.

    Args:
      coordinator_address: ``host:port`` of process 0, reachable from every process.
      num_processes: processes of the whole run.
      process_id: this one, from 0.
      config: how long to wait for the others.

    Raises:
      ConfigError: for incomplete or contradictory arguments, or a cluster that does not say enough.
      TransientError: where joining fails for another reason. Where JAX gives up in native code, the process
        ends with the same exit code.
    """
    given = {
        "coordinator_address": coordinator_address,
        "num_processes": num_processes,
        "process_id": process_id,
    }
    if jax.distributed.is_initialized() or num_processes == 1:
        return
    if all(value is None for value in given.values()):
        cluster = detected_cluster()
        if cluster:
            _join_cluster(cluster, config or JoiningConfig())
        return
    if coordinator_address is None or num_processes is None or process_id is None:
        missing = ", ".join(name for name, value in given.items() if value is None)
        raise ConfigError(
            "a run of several processes needs coordinator_address, num_processes and process_id together; "
            f"missing {missing}"
        )
    if not 0 <= process_id < num_processes:
        raise ConfigError(
            f"process_id={process_id} must be in 0..{num_processes - 1} for num_processes={num_processes}"
        )
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(
            f"coordinator_address={coordinator_address!r} must be host:port, e.g. 10.0.0.2:8476"
        )
    _join(config or JoiningConfig(), **given)


def detected_cluster() -> str | None:
    """Return the name of the cluster whose environment this process runs in, None when it stands alone.

    JAX's detection raises the same error for "no cluster" and for some faults of a cluster, so what we
    hand to it is decided here, by the variables that it reads.
    """
    environment = os.environ
    if "SLURM_STEP_NODELIST" in environment and int(environment.get("SLURM_NTASKS", "1")) > 1:
        return "Slurm"
    if "OMPI_MCA_orte_hnp_uri" in environment:
        return "Open MPI"
    # `import jax` sets TPU_SKIP_MDS_QUERY on a machine without TPU chips.
    if "TPU_SKIP_MDS_QUERY" not in environment:
        return "Cloud TPU"
    if "TPU_WORKER_HOSTNAMES" in environment or "TPU_PROCESS_ADDRESSES" in environment:
        return "GKE TPU"
    if "KUBERNETES_SERVICE_HOST" in environment and "JOB_COMPLETION_INDEX" in environment:
        return "Kubernetes Job"
    return None


def joined_cluster() -> str | None:
    """Return the name of the cluster where ``initialize`` without arguments waits for other processes.

    Raises:
      TransientError: if a Cloud TPU VM's metadata server does not say of what slice it is.
    """
    cluster = detected_cluster()
    alone = {"Open MPI": ("OMPI_COMM_WORLD_SIZE", "1"), "Kubernetes Job": ("JOB_COMPLETION_INDEX", "0")}
    if cluster in alone:  # the first of a job may be the only one: nothing tells it
        name, number = alone[cluster]
        return None if os.environ.get(name) == number else cluster
    if cluster in ("Cloud TPU", "GKE TPU"):
        hosts = os.environ.get("TPU_WORKER_HOSTNAMES") or os.environ.get("TPU_PROCESS_ADDRESSES")
        if hosts is None and cluster == "Cloud TPU":
            hosts = _metadata(_WORKERS)
        return cluster if "," in (hosts or "") else None
    return cluster


def one_process_note() -> str | None:
    """Return what a command that runs in one process must say on a machine that belongs to several.

    Such a command never joins the others. On Slurm or Open MPI it is then alone with the devices of its
    host; on the hosts of a TPU slice libtpu would wait for the others, unless it is told not to.

    Returns:
      One line, or None where there is nothing to say.
    """
    cluster = detected_cluster()
    if cluster is None or os.environ.get("JAX_PLATFORMS") == "cpu" or "TPU_PROCESS_BOUNDS" in os.environ:
        return None
    if cluster not in ("Cloud TPU", "GKE TPU"):
        return f"this command runs in one process: start it in one task of the {cluster} run only"
    hosts = os.environ.get("TPU_WORKER_HOSTNAMES")
    if hosts is not None and "," not in hosts:
        return None
    return (
        "this command runs on one host; should it wait for the others of a TPU slice, set JAX_PLATFORMS=cpu, "
        f"or {_ONE_TPU_HOST} for the chips of this host"
    )


def is_leader() -> bool:
    """Whether this process writes what only one may write (metrics, reports, console output)."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Wait until every process has reached the barrier of this name; a no-op for a single process."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def as_the_leader_says(answer: bool) -> bool:
    """Return the leader's answer in every process: for what it alone can know, such as a file it writes."""
    if jax.process_count() == 1:
        return answer
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(answer)))


def leaders_value(value: Any) -> Any:
    """Return the leader's ``value``, JSON-able, in every process."""
    if jax.process_count() == 1:
        return value
    content = _encoded(value)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    padded = np.resize(content, size)  # of the others nothing but the size is used
    return _decoded(multihost_utils.broadcast_one_to_all(padded))


def every_process(value: Any) -> list[Any]:
    """Return the ``value``, JSON-able, of each process, in every process."""
    if jax.process_count() == 1:
        return [value]
    content = _encoded(value)
    sizes = np.asarray(multihost_utils.process_allgather(np.int32(len(content)))).ravel()
    padded = np.pad(content, (0, int(sizes.max()) - len(content)))
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [_decoded(row[:size]) for row, size in zip(rows, sizes, strict=True)]


def _encoded(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _decoded(content: Any) -> Any:
    return json.loads(np.asarray(content).tobytes())


def any_process(answer: bool) -> bool:
    """Return, in every process, whether the answer of any is yes."""
    if jax.process_count() == 1:
        return answer
    return bool(multihost_utils.process_allgather(np.asarray(answer)).any())


def _join(config: JoiningConfig, **arguments: Any) -> None:
    end_aborts_as_transient()
    waits_at_exit(config.silent_seconds)  # JAX waits for the others there
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=config.join_seconds,
            heartbeat_timeout_seconds=config.silent_seconds,
            shutdown_timeout_seconds=config.silent_seconds,
        )
    except (RuntimeError, OSError) as error:  # addresses, ports, metadata servers, and all that is gRPC's
        reason = str(error).splitlines()[0][:200]
        raise TransientError(
            f"the other processes could not be joined ({reason}); start all of them again"
        ) from error


def _join_cluster(cluster: str, config: JoiningConfig) -> None:
    try:
        _join(config)
    except ValueError as error:
        if cluster == "Cloud TPU" and str(error) == _NO_CLUSTER and not _is_in_a_slice():
            return
        raise ConfigError(
            f"this looks like a process of a {cluster} run, but JAX could not join it ({error}); pass "
            "coordinator_address, num_processes and process_id, or num_processes=1 to run alone"
        ) from error


def _is_in_a_slice() -> bool:
    """Return whether the machine's metadata say that its chips are those of a Cloud TPU VM.

    A notebook machine has chips, and no such metadata.

    Raises:
      TransientError: if the metadata server answers neither yes nor no.
    """
    return _metadata(_WORKER_NUMBER) is not None


def _metadata(attribute: str) -> str | None:
    """Return what the machine's metadata say; None: nothing.

    Raises:
      TransientError: if the metadata server answers neither yes nor no.
    """
    request = urllib.request.Request(
        f"http://{os.environ.get('GCE_METADATA_IP', 'metadata.google.internal')}{_METADATA}{attribute}",
        headers={"Metadata-Flavor": "Google"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        if error.code == HTTPStatus.NOT_FOUND:
            return None
        reason = str(error)
    except OSError as error:
        reason = str(error)
    raise TransientError(
        f"this machine has TPU chips, but its metadata server does not say of what slice ({reason}); start "
        "again, or pass num_processes=1 to run alone"
    )
