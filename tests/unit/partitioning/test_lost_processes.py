"""How one of several processes ends."""

import errno
import signal

import jax
import pytest

from t5lite.cli.main import main
from t5lite.core import process_end
from t5lite.core.errors import ConfigError, TransientError
from t5lite.core.exit_codes import ExitCode
from t5lite.partitioning.lost_processes import explained, failing_fast

GONE = {
    "openxla/xla coordination_service.cc, by jax-ml/jax#23599": (
        "UNAVAILABLE: Task /job:jax_worker/replica:0/task:0 heartbeat timeout. This indicates that the "
        "remote task "
        "has failed, got preempted, or crashed unexpectedly. Check the task logs for an earlier error"
    ),
    "docs.jax.dev, fault_tolerance": (
        "UNAVAILABLE: Failed to send RPC to coordination service. Either the leader task was "
        "preempted/died/restarted "
        "unexpectedly or this task is experiencing network issues."
    ),
    "marin-community/marin#1933": (
        "DEADLINE_EXCEEDED: Barrier timed out. Barrier_id: multihost_broadcast_sync0. Timed out task "
        "names:\n"
        "/job:jax_worker/replica:0/task:3"
    ),
    "marin-community/marin#5319": "DEADLINE_EXCEEDED: GetKeyValue() timed out with key: "
    "cpu:global_topology/cpu",
    "AI-Hypercomputer/gpu-recipes#2": (
        "Original error: DEADLINE_EXCEEDED: Barrier timed out. Id: [Init]Wait_for_all_tasks_to_register::0."
    ),
    "marin-community/marin#7650": (
        "ABORTED: /job:jax_worker/replica:0/task:1 unexpectedly tried to connect with a different "
        "incarnation."
    ),
    "jax-ml/jax#19307": (
        "INTERNAL: external/xla/xla/service/gpu/nccl_utils.cc:216: NCCL operation async_err failed: "
        "remote process "
        "exited or there was a network error"
    ),
    "jax-ml/jax#22747": (
        "INTERNAL: external/xla/xla/service/gpu/nccl_utils.cc:305: NCCL operation ncclCommInitRank(&comm, "
        "nranks, id, "
        "rank) failed: unhandled system error (run with NCCL_DEBUG=INFO for details). Last NCCL "
        "warning(error) log "
        "entry (may be unrelated) 'socketTryAccept: Accept failed: Bad file descriptor'."
    ),
    "NVIDIA/nccl#2076": (
        "NCCL error: remote process exited or there was a network error, NCCL version 2.21.5 "
        "ncclRemoteError: A call "
        "failed possibly due to a network error or a remote process exiting prematurely."
    ),
    "jax-ml/jax#40831, a peer that ended": (
        "UNKNOWN: Gloo ReduceScatter failed: "
        "[external/xla++third_party_ext+gloo/gloo/transport/tcp/pair.cc:547] "
        "Connection closed by peer [::1]:2475"
    ),
    "jax-ml/jax#40831, a peer that is late": (
        "UNKNOWN: Gloo ReduceScatter failed: "
        "[external/xla++third_party_ext+gloo/gloo/transport/tcp/buffer.cc:72] "
        "Read timeout [::1]:38624"
    ),
    "openxla.org/xla/megascale/debugging_workflow": (
        "Megascale hang detected: Timed out waiting for 4 graphs to complete at launch_id 13650. Already "
        "completed: "
        "100. StepGloballyInProgress: true. Timeout: 1m"
    ),
}
"""Messages that people met where a process, or the network to it, was gone; by where they told of them."""
FULL = {
    "google-deepmind/gemma#85": (
        "RESOURCE_EXHAUSTED: Error allocating device buffer: Attempting to allocate 15.65G. That was not "
        "possible. "
        "There are 11.08G free.; (0x0x0_HBM0)"
    ),
    "LargeWorldModel/LWM#60": (
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used "
        "21.95G of "
        "15.48G hbm.\n Exceeded hbm capacity by 6.47G."
    ),
    "XLA on a GPU": "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 34359738368 bytes.",
}
"""The same of devices that have too little memory."""
NEITHER = {
    "jax-ml/jax#18391, no library": (
        "INTERNAL: Failed to execute XLA Runtime executable: run time error: custom call "
        "'xla.gpu.all_reduce' failed: "
        "external/xla/xla/service/gpu/nccl_utils.cc:133: NCCL operation ncclGetUniqueId(&id) failed: "
        "Unable to load "
        "NCCL library. Multi-GPU collectives will not work.;"
    ),
    "jax-ml/jax#17399, the own device": (
        "INTERNAL: external/xla/xla/service/gpu/nccl_utils.cc:275: NCCL operation ncclCommInitRank(&comm, "
        "nranks, id, "
        "rank) failed: unhandled cuda error"
    ),
    "marin-community/marin#5319, processes that run different programs": (
        "INTERNAL: scheckne: An unexpected peer shows up in the launch group with a different launch id"
    ),
    "pytorch/xla#8459, a kernel": "FAILED_PRECONDITION: The program continuator has halted unexpectedly.",
    "jax-ml/jax#9642, a chip or its compiler": (
        "INTERNAL: Core halted unexpectedly: No error message available as no compiler metadata was provided."
    ),
    "jax-ml/jax#25002, a kernel": (
        "INTERNAL: Failed to retrieve branch_index value on stream 0x5583cca477e0: CUDA error: Could not "
        "synchronize "
        "CUDA stream: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered."
    ),
    "a bug": "INVALID_ARGUMENT: Executable expected parameter 0 of size 64 but got buffer with "
    "incompatible size 32",
    "a program that the backend lacks": "UNIMPLEMENTED: Multiprocess computations aren't implemented on "
    "this backend.",
    "gRPC": "RESOURCE_EXHAUSTED: Received message larger than max (5243035 vs. 4194304)",
}


@pytest.mark.parametrize("source", GONE)
def test_what_people_met_where_a_process_was_gone_is_known(monkeypatch, source):
    error = jax.errors.JaxRuntimeError(GONE[source])
    assert explained(error) is error  # a process that is alone has no other
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    told = explained(error)
    assert isinstance(told, TransientError)
    assert GONE[source].splitlines()[0][:60] in str(told)
    assert "\n" not in str(told)


@pytest.mark.fault(
    "the devices have too little memory for a step, or for compiling it",
    "ends with what XLA said and what to change; not started again",
    3,
)
@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize("source", FULL)
def test_devices_without_memory_are_no_lost_process(monkeypatch, source, num_processes):
    monkeypatch.setattr(jax, "process_count", lambda: num_processes)
    told = explained(jax.errors.JaxRuntimeError(FULL[source]))
    assert told.exit_code == ExitCode.DOES_NOT_FIT
    assert FULL[source].splitlines()[0] in str(told)


@pytest.mark.parametrize("source", NEITHER)
def test_what_says_nothing_of_other_processes_keeps_its_traceback(monkeypatch, source):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    error = jax.errors.JaxRuntimeError(NEITHER[source])
    assert explained(error) is error


LOST = ValueError("UNKNOWN: Gloo AllGather failed\nby peer")


@pytest.mark.parametrize(
    ("error", "number", "code", "printed"),
    [
        (ConfigError("batch_size=3"), None, 2, "t5lite: process 0: batch_size=3\n"),
        (ConfigError("batch_size=3"), signal.SIGTERM, 2, "t5lite: process 0: batch_size=3\n"),
        (OSError(errno.ENOSPC, "disk full"), None, 75, "permissions and limits, then run again\n"),
        (LOST, None, 75, "go on from the newest checkpoint\n"),
        (LOST, signal.SIGTERM, 143, "go on from the newest checkpoint\n"),
        (LOST, signal.SIGHUP, 129, "go on from the newest checkpoint\n"),
        (jax.errors.JaxRuntimeError(FULL["XLA on a GPU"]), signal.SIGTERM, 3, "predicts what fits\n"),
        (KeyboardInterrupt(), None, 130, "t5lite: process 0: interrupted\n"),
        (ZeroDivisionError("a bug"), signal.SIGTERM, 1, "ZeroDivisionError: a bug\n"),
    ],
)
def test_one_process_of_several_ends_at_once(monkeypatch, capsys, error, number, code, printed):
    class Ended(BaseException):
        pass

    def end(code):
        raise Ended(code)

    monkeypatch.setattr(process_end.os, "_exit", end)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(Ended) as ended, failing_fast(lambda: number):
        raise error
    assert ended.value.args == (code,)
    assert capsys.readouterr().err.endswith(printed)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError("a bug"), ConfigError("x")])
def test_a_process_alone_raises(error):
    with pytest.raises(type(error)) as raised, failing_fast():
        raise error
    assert raised.value is error


@pytest.mark.parametrize("command", ["evaluate", "generate", "train", "import"])
def test_every_command_says_what_does_not_fit(monkeypatch, capsys, command):
    def run(_):
        with failing_fast():
            raise jax.errors.JaxRuntimeError(FULL["XLA on a GPU"])

    monkeypatch.setattr(f"t5lite.cli.{command}_command.run", run)
    assert main([command]) == ExitCode.DOES_NOT_FIT
    said = capsys.readouterr().err
    assert said.startswith(f"t5lite {command}: the devices have too little memory (RESOURCE_EXHAUSTED: ")
    assert "34359738368 bytes" in said
    assert said.count("\n") == 1
