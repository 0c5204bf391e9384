"""The pipeline through its command, in processes of its own: Daft's runner is chosen once a process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from t5lite.data.stores.token_store import TokenStore

REPOSITORY = Path(__file__).parents[2]
RECIPES = REPOSITORY / "data_pipelines" / "recipes"

RECIPE = """
import dataclasses, tyro
from data_pipelines import pipeline
from data_pipelines.expressions import MinHash
from data_pipelines.options import Cleaning, PipelineOptions
from data_pipelines.stages import C4Rules, Dropped, UnicodeRepair

pipeline._GROUP_BYTES = 1  # a group for each of the small files
pipeline._BUCKET_BYTES = (1 << 13, 1 << 13)

@dataclasses.dataclass(frozen=True)
class Longer:
    than: int

    def __call__(self, text):
        return text if len(text) > self.than else Dropped("short")

def prepare(arguments, *, command):
    options = tyro.cli(PipelineOptions, args=arguments)
    stages = (UnicodeRepair(), C4Rules(), Longer(30))
    cleaning = Cleaning(stages=stages, minhash=MinHash(ngram_size=2), repeated_spans=True)
    pipeline.run(options, cleaning, recipe="test", command=command)
    return 0
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.py"
    path.write_text(RECIPE)
    return path


def start(*arguments: object) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "t5lite.cli.main", "prepare", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def prepare(*arguments: object, code: int = 0) -> tuple[str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return out, err


@pytest.fixture(scope="module")
def job(recipe, crawl, model) -> list[object]:
    """The options of a job whose vocabulary is given."""
    return ["--recipe", recipe, "--inputs", crawl, "--vocabulary", model, "--heldout-fraction", 0.1]


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory) -> dict[str, bytes]:
    """What the job gives on this machine, when nothing stops it."""
    output = tmp_path_factory.mktemp("whole") / "out"
    prepare(*job, "--output", output)
    return content(output)


def content(output: Path) -> dict[str, bytes]:
    folders = ("train", "heldout", "vocabulary")
    return {f"{f}/{path.name}": path.read_bytes() for f in folders for path in sorted((output / f).iterdir())}


@pytest.mark.slow
def test_the_same_bytes_whatever_the_workers_and_the_order_of_files(tmp_path, crawl, recipe):
    options = ["--vocabulary-size", 120, "--heldout-fraction", 0.1]
    out, err = prepare("--recipe", recipe, "--inputs", crawl, "--output", tmp_path / "a", *options)
    files = [str(crawl / f"{number}.jsonl") for number in (2, 0, 1)]
    other = ["--recipe", recipe, "--inputs", *files, "--output", tmp_path / "b", "--workers", 1]
    # A size that is too large costs no more than the vocabulary: the one that is named goes on from there.
    _, refused = prepare(*other, "--heldout-fraction", 0.1, code=2)
    named = re.search(r"use vocabulary_size=(\d+) or less", refused)
    assert named
    assert int(named[1]) >= 120
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "b.work" / "marks").rglob("*.json")}
    assert {path.parent.name for path in finished} >= {"read", "clean", "pairs", "spans", "keep", "sample"}
    told, _ = prepare(*other, *options, "--keep-work")
    assert "what comes before the step vocabulary is kept" in told
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    shutil.rmtree(tmp_path / "b.work")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in "ab"]
    assert manifests[0]["stages"] == manifests[1]["stages"]
    assert manifests[0]["stores"] == manifests[1]["stores"]
    assert "tokenise: 100%" in err
    assert sorted(path.name for path in tmp_path.iterdir() if "work" in path.name) == []

    stages = {stage["stage"]: stage for stage in manifests[0]["stages"]}
    assert stages["read"]["documents_out"] == 120
    assert stages["exact duplicates"]["dropped"]["exact duplicates"]["documents"] == 11
    assert stages["near-duplicates"]["dropped"]["near-duplicates"]["documents"] == 11
    assert manifests[0]["repeated_spans"]["documents_shortened"] > 5
    assert re.search(r"^- near-duplicates +11 ", out, re.MULTILINE)
    train = TokenStore.open(tmp_path / "a" / "train")
    assert train.num_documents == manifests[0]["stores"]["train"]["documents"]
    assert train.num_documents + manifests[0]["stores"]["heldout"]["documents"] == 98


@pytest.mark.slow
def test_a_stopped_job_goes_on_and_gives_the_same_bytes(tmp_path, job, whole):
    process = start(*job, "--output", tmp_path / "cut", "--workers", 1)
    marks = tmp_path / "cut.work" / "marks"
    while len(list(marks.glob("clean/*.json"))) < 2:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    finished = {path: path.stat().st_mtime_ns for path in marks.rglob("*.json")}
    assert not (tmp_path / "cut").exists()

    _, err = prepare(*job, "--output", tmp_path / "cut", "--seed", 1, code=2)
    assert "holds what is finished of another job (other options); delete it" in err
    prepare(*job, "--output", tmp_path / "cut", "--keep-work")
    assert content(tmp_path / "cut") == whole
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content_of_file", "options", "message", "code"),
    [
        (
            '{"txt": "a"}',
            [],
            "a.jsonl:1 has no field 'text'; it has 'txt': did you mean 'txt'? name one of them",
            2,
        ),
        ('{"text": "One two."}', [], "no document is left, the recipe drops them all: stage", 2),
        ('{"text": 3}', ["--inputs", "missing.txt"], "missing.txt does not exist", 2),
        ('{"text": "a"}', ["--workers", "0"], "workers=0 must be at least 1", 2),
        ('{"text": "a"}', ["--ray", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1", 75),
    ],
)
def test_bad_input_is_one_line(tmp_path, recipe, model, content_of_file, options, message, code):
    (tmp_path / "a.jsonl").write_text(content_of_file)
    inputs = ["--inputs", tmp_path / "a.jsonl", "--vocabulary", model, "--output", tmp_path / "out"]
    _, err = prepare("--recipe", recipe, *inputs, *options, code=code)
    last = err.rstrip("\n").rpartition("\n")[2]
    assert last.startswith("t5lite prepare: ")
    assert message in last
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe"], "--recipe needs the path of a recipe"),
        (["--recipe", "no.py"], "the recipe no.py is not a Python file"),
        (["--recipe", "empty.py"], "does not define prepare"),
        (["--recipe", "imports.py"], "needs no_such_module, which is not installed"),
    ],
)
def test_recipes_that_are_none(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.py").touch()
    (tmp_path / "imports.py").write_text("import no_such_module")
    assert message in prepare(*arguments, code=2)[1]


@pytest.mark.parametrize("name", ["english_web", "deduplicated_text"])
def test_the_recipes_explain_themselves(name):
    out, _ = prepare("--recipe", RECIPES / f"{name}.py", "--help")
    assert "--vocabulary-sample-mib" in out


CLUSTER = """
import sys, ray
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.mark.slow
def test_a_ray_cluster_of_two_workers_gives_the_same_bytes(tmp_path, job, whole):
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": path, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    try:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        prepare(*job, "--output", tmp_path / "ray", "--ray", address)
    finally:
        cluster.communicate("", timeout=60)
    assert content(tmp_path / "ray") == whole
