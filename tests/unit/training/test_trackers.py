"""Trackers: what they are told, that they go on with the same run, and that none of them ends a training.

The packages are not installed here; stand-ins record the calls of their documented interfaces.
"""

import json
import threading
from types import SimpleNamespace
from typing import get_args

import pytest

from t5lite.core.errors import ConfigError
from t5lite.training.trackers import MlflowConfig, TrackerConfig, TrackioConfig, WandbConfig, reporting
from t5lite.training.trackers.reporting import TRACKERS_FILE, Trackers

CONFIGS = (WandbConfig(project="p"), MlflowConfig(experiment="p"), TrackioConfig(project="p"))


class Recorder:
    """Takes any call, and notes it by its name."""

    def __init__(self, calls: list, **answers) -> None:
        self._calls, self._answers = calls, answers

    def __getattr__(self, name):
        def call(*args, **kwargs):
            assert threading.current_thread() is not threading.main_thread()
            self._calls.append((name, args, kwargs))
            return self._answers.get(name)

        return call


@pytest.fixture
def services(monkeypatch) -> dict[str, list]:
    """The calls that each service gets."""
    calls: dict[str, list] = {"wandb": [], "mlflow": [], "trackio": []}
    experiment = SimpleNamespace(experiment_id="e1")
    created = SimpleNamespace(info=SimpleNamespace(run_id="m1"))
    client = Recorder(calls["mlflow"], create_run=created, get_experiment_by_name=experiment)
    modules = {
        "wandb": Recorder(calls["wandb"], init=Recorder(calls["wandb"])),
        "mlflow": SimpleNamespace(MlflowClient=lambda tracking_uri: client),
        "mlflow.entities": SimpleNamespace(Metric=lambda *values: values),
        "trackio": Recorder(calls["trackio"], init=Recorder(calls["trackio"])),
    }
    monkeypatch.setattr("importlib.import_module", modules.__getitem__)
    return calls


def trackers(directory, say=print, configs=CONFIGS) -> Trackers:
    return Trackers(configs, directory, name="run", config={"seed": 1}, say=say)


def named(calls, name):
    return [(args, kwargs) for called, args, kwargs in calls if called == name]


def test_every_tracker_is_told_the_metrics_and_how_it_ended(services, tmp_path):
    with trackers(tmp_path) as told:
        told.log("train", 5, {"loss": 2.5, "peak_source": "measured", "mfu": float("nan")})
        told.finish("preempted")
    wandb, mlflow, trackio = services.values()
    assert named(wandb, "log") == [(({"train/loss": 2.5, "step": 5},), {})]
    assert named(wandb, "define_metric")[-1] == (("*",), {"step_metric": "step"})
    assert named(wandb, "finish") == [((), {"exit_code": 0})]
    (((run_id,), logged),) = named(mlflow, "log_batch")
    assert (run_id, [(name, value, step) for name, value, _, step in logged["metrics"]]) == (
        "m1",
        [("train/loss", 2.5, 5)],
    )
    assert named(mlflow, "set_terminated") == [(("m1",), {"status": "KILLED"})]
    assert named(trackio, "log") == [(({"train/loss": 2.5},), {"step": 5})]
    assert named(trackio, "finish") == [((), {})]


def test_a_run_that_goes_on_is_the_same_run_there(services, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DIR", "/kept")  # where what is offline waits to be sent
    for _ in range(2):
        with trackers(tmp_path) as told:
            told.finish("finished")
    wandb, mlflow, trackio = services.values()
    first, second = (kwargs for _, kwargs in named(wandb, "init"))
    assert first["id"] == second["id"]
    assert first["dir"] == "/kept"
    assert (second["resume"], second["project"], second["config"]) == ("allow", "p", {"seed": 1})
    assert len(named(mlflow, "create_run")) == 1
    assert named(mlflow, "update_run") == [(("m1",), {"status": "RUNNING"})]
    assert [kwargs["name"] for _, kwargs in named(trackio, "init")] == ["run", "run"]
    saved = json.loads((tmp_path / TRACKERS_FILE).read_bytes())
    assert saved == {"version": 1, "tracked_as": {"wandb": first["id"], "mlflow": "m1", "trackio": "run"}}


def test_an_error_of_the_run_is_told(services, tmp_path):
    told = trackers(tmp_path).__enter__()
    told.finish("finished")
    told.__exit__(ValueError, ValueError(), None)
    assert named(services["wandb"], "finish") == [((), {"exit_code": 1})]
    assert named(services["mlflow"], "set_terminated") == [(("m1",), {"status": "FAILED"})]


class Fails:
    """A tracker whose service does not answer."""

    def __init__(self, at: str) -> None:
        self._at = at

    def start(self, run):
        self._fail("start")
        return "x"

    def log(self, step, values):
        self._fail("log")

    def finish(self, reason):
        self._fail("finish")

    def _fail(self, where):
        if where == self._at:
            raise SystemExit("no\nnetwork")


@pytest.mark.fault("the service of a tracker fails", "said once and counted; the run goes on", 0)
@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("start", ["tracker wandb: SystemExit: no network; it shows nothing of this attempt"]),
        (
            "log",
            [
                "tracker wandb: SystemExit: no network; training goes on without",
                "tracker wandb: failed 3 times; metrics.jsonl has everything",
            ],
        ),
        ("finish", ["tracker wandb: SystemExit: no network; training goes on without"]),
    ],
)
def test_a_service_that_fails_ends_no_run_and_is_said_once_with_a_count(
    services, tmp_path, monkeypatch, at, said
):
    monkeypatch.setattr(WandbConfig, "open", lambda _: Fails(at))
    lines: list[str] = []
    with trackers(tmp_path, lines.append) as told:
        for step in (1, 2, 3):
            told.log("train", step, {"loss": 1.0})
    assert lines == said
    assert len(named(services["trackio"], "log")) == 3  # the others go on


@pytest.mark.fault(
    "the service of a tracker hangs",
    "no step waits; the run ends 60 s late at most, and says what was left out",
    0,
)
def test_a_service_that_hangs_holds_up_neither_a_step_nor_the_end_and_costs_entries(tmp_path, monkeypatch):
    hanging = threading.Event()
    tracker = Fails("never")
    monkeypatch.setattr(tracker, "start", lambda run: hanging.wait() and "x")
    monkeypatch.setattr(WandbConfig, "open", lambda _: tracker)
    monkeypatch.setattr(reporting, "_FINISH_SECONDS", 0.05)
    monkeypatch.setattr(reporting, "_MAX_WAITING", 2)
    lines: list[str] = []
    with trackers(tmp_path, lines.append, configs=CONFIGS[:1]) as told:
        for step in range(5):
            told.log("train", step, {"loss": 1.0})
    hanging.set()
    assert lines == [
        "trackers: not all was sent within 0.05 s; metrics.jsonl has it",
        "trackers: 3 entries were left out, for a service did not keep up",
    ]


def test_a_damaged_file_of_ids_is_said(services, tmp_path):
    (tmp_path / TRACKERS_FILE).write_text("{")
    lines: list[str] = []
    with trackers(tmp_path, lines.append):
        pass
    assert len(lines) == 1
    assert "trackers.json cannot be used" in lines[0]
    assert json.loads((tmp_path / TRACKERS_FILE).read_bytes())["tracked_as"]["mlflow"] == "m1"


@pytest.mark.parametrize("kind", get_args(TrackerConfig))
def test_a_package_that_is_not_installed_is_named_with_its_extra(kind, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=rf"{kind.key} is not installed; pip install 't5lite\[{kind.key}\]'"
    ):
        kind().check()
