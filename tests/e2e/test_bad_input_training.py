"""Training that cannot go well: refused in one line, before anything is written or compiled."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from t5lite.cli.main import main
from t5lite.runner.run_directory import FILES, FOLDERS
from tests.e2e.conftest import REPOSITORY, Refused, write


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--training.total-steps", 0], r"training\.total_steps=0 must be 1 or more"),
        (
            ["--training.total-steps", 12],
            r"warmup_steps \+ decay_steps=15 is more than training\.total_steps=12",
        ),
        (["--training.profile-start-step", 40], r"profile_start_step=40 must be in 0\.\.39, or None"),
        (
            ["--trainable", "decodr/*"],
            r"'decodr/\*' matches none of the 29 arrays; near: decoder, .*groups: decoder, encoder, logits",
        ),
        (["--trainable", "encoder", "!*"], r"leaves nothing to train of 29 arrays"),
        (["--trainable"], r"trainable=\(\) trains nothing"),
        (["--learning-rate-factors", "encoder", "nan"], r"nan of 'encoder' must be a finite number above 0"),
        (["--learning-rate-factors", "encodr", 0.1], r"'encodr' matches nothing .*near: encoder"),
        (["--seed", -1], r"seed=-1 must be in 0\.\."),
        (["--seed", 1 << 40], r"seed=1099511627776 must be in 0\.\."),
        (["--step.z-loss", "nan"], r"step\.z_loss=nan must be a finite number"),
        (["--schedule.peak", "nan"], r"schedule\.peak=nan must be a finite number"),
        (["--step.num-microbatches", 3], r"batch_size=8 is not divisible by .*=3; use 6 or 9"),
        (["--partitioning.fsdp", 3], r"mesh fsdp=3 needs 3 devices but 1 are there"),
        (["--partitioning.tensor", 4], r"does not divide 1 devices"),
        (
            ["--partitioning.extra-rules", "emb", "fsdp"],
            r"unknown parameter axis 'emb'; did you mean 'embed'",
        ),
        (
            ["--partitioning.compiler-options", "xla_nope", 1],
            r"partitioning\.compiler_options for cpu: No such compile option: 'xla_nope'",
        ),
        (
            ["--model.vocab-size", 300],
            r"vocab_size=300 has no row for .* 600 ids .*set model\.vocab_size=640",
        ),
        (["--data.inputs-length", 100_000], r"has \d+ tokens, one chunk .*use more text or a shorter"),
        (["--data.inputs-length", 2000], r"uses 111 sentinels, the vocabulary has extra_ids=100"),
        (["--data.max-epochs", 1, "--training.total-steps", 4000], r"max_epochs=1 .*at most \d+ steps"),
        (
            ["--data.max-epochs", 1, "--training.batch-size", 8000],
            r"max_epochs=1 .* less than one batch of 8",
        ),
        (["--execution.param-dtype", "bfloat16"], r"param_dtype='bfloat16' cannot be trained: .*use float32"),
        (["--evaluations.heldout.batch-size", 1], r"heldout\.batch_size=1 must be at least 2"),
        (
            ["--evaluations.heldout.max-examples", 1],
            r"only 1 of evaluations\.heldout\.store=.* is used; evaluate more",
        ),
        (
            ["--evaluations.heldout.task", "translation"],
            r"heldout\.task='translation' .*leave the task out",
        ),
        (
            ["--evaluations.heldout.store", "nowhere"],
            r"nowhere is not a token store: .*give a directory that",
        ),
        (["--data.store", "nowhere"], r"nowhere is not a token store"),
        (["--initialize-from.run", "nowhere"], r"nowhere is not a run directory .*`t5lite train` and"),
        (["--initialize-from.step", 3], r"say where from by --initialize-from\.run RUN"),
        (["--process-id", 1], r"needs coordinator_address, num_processes and process_id together"),
        (["--run-dir", "file"], r"run_dir=/.*file is a file; give a directory"),
        (
            ["--run-dir", "."],
            r"is not a run .* and holds .*file.*; move them .* the run a .* of its own, such as /.*new",
        ),
        (["--run-dir", "file/new"], r"the directory /.* cannot be made"),
        (["--run-dir", "/proc/nowhere/run"], r"the directory /proc/nowhere/run cannot be made"),
    ],
)
def test_training_settings(overrides, message, refused: Refused, train: list[str]):
    refused([*train, *overrides], message)


def damage_missing(store: Path) -> None:
    (store / "tokens-00000.bin").unlink()


def damage_truncated(store: Path) -> None:
    with open(store / "tokens-00000.bin", "r+b") as shard:
        shard.truncate(1000)


def damage_index(store: Path) -> None:
    write(store / "index.json", "{")


def damage_index_value(store: Path) -> None:
    index = json.loads((store / "index.json").read_text())
    index["vocabulary"]["extra_ids"] = "many"
    del index["index_crc32"]  # which earlier versions did not write
    write(store / "index.json", json.dumps(index))


def damage_vocabulary(store: Path) -> None:
    (store / "spiece.model").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing, r"tokens-00000\.bin is missing .*; copy the store again or rebuild it with `t5lite"),
        (damage_truncated, r"tokens-00000\.bin has 1000 bytes, the index says \d+: it was truncated"),
        (damage_index, r"index\.json is not valid JSON .*; copy the store again"),
        (damage_index_value, r"index\.json is damaged .*many.*; copy the store again"),
        (damage_vocabulary, r"cannot read the vocabulary /.*spiece\.model"),
    ],
)
def test_damaged_store(damage, message, refused: Refused, train: list[str], text_data: Path, tmp_path: Path):
    store = Path(shutil.copytree(text_data / "train", tmp_path / "store"))
    damage(store)
    refused([*train, "--data.store", store], message)


def test_a_flipped_bit_is_found_when_its_page_is_read(train, text_data, tmp_path, capfd):
    store = Path(shutil.copytree(text_data / "heldout", tmp_path / "store"))
    shard = store / "tokens-00000.bin"
    content = bytearray(shard.read_bytes())
    content[0] ^= 1
    shard.write_bytes(content)
    assert main([*train, "--evaluations.heldout.store", str(store)]) == 2
    last = capfd.readouterr().err.rstrip("\n").rpartition("\n")[2]
    assert re.match(
        r"t5lite train: page 0 of /.*tokens-00000\.bin does not match its CRC-32: .*rebuild", last
    )


def test_stores_of_other_vocabularies_and_kinds(
    refused: Refused, train: list[str], pretrained: Path, text_data, pair_data: Path, other_data: Path
):
    heldout = ["--evaluations.heldout.store", other_data / "heldout"]
    other = ["--data.store", other_data / "train", *heldout]
    refused([*train, *heldout], r"another vocabulary than the model's; prepare it with --vocabulary")
    is_pairs = r"is not a token store: by its pairs\.json, it is a pair store; give .*prepare text` wrote"
    refused([*train, "--data.store", pair_data / "train"], is_pairs)
    refused([*train, "--evaluations.heldout.store", pair_data / "train"], is_pairs)
    refused(["evaluate", "--run", pretrained, "--store", pair_data / "train"], is_pairs)
    refused([*train, "--data.store", text_data], "is not a token store: .*such as OUTPUT/train")
    refused(
        [*train, *other, "--initialize-from.run", pretrained],
        r"another vocabulary than /.*; prepare it again with --vocabulary /.*spiece\.model",
    )
    refused([*train, *other, "--run-dir", pretrained], "holds a run of another model .*use another run_dir")
    refused(
        ["evaluate", "--run", pretrained, "--store", other_data / "heldout"],
        "another vocabulary than the model",
    )


def test_a_run_directory_of_another_model(refused: Refused, train: list[str], pretrained: Path):
    other_shape = ["--model.mlp-dim", 128]
    refused(
        [*train, "--run-dir", pretrained, *other_shape],
        r"holds a run of another model \(config\.mlp_dim: 64 → 128\); use another run_dir",
    )
    refused(
        [*train, "--initialize-from.run", pretrained, *other_shape],
        r"has another shape: model\.mlp_dim=128, there 64; take its shape by --model",
    )
    refused([*train, "--initialize-from.run", pretrained, "--initialize-from.step", 7], "available: 30, 40")
    refused([*train, "--run-dir", pretrained, "--initialize-from.run", pretrained], "is run_dir itself")


def test_damaged_metrics_are_found_before_a_run_goes_on(refused: Refused, train: list[str], run_copy: Path):
    write(run_copy / "metrics.jsonl", '{"st\n{}')
    overrides = ["--run-dir", run_copy, "--training.total-steps", 42]
    refused([*train, *overrides], r"metrics\.jsonl, line 1 is not an entry .*move the file away")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_fewer_steps_than_are_done(num_workers: int, refused: Refused, train: list[str], pretrained: Path):
    refused(
        [*train, "--run-dir", pretrained, "--training.total-steps", 30, "--loader.num-workers", num_workers],
        r"is at step 40, beyond training\.total_steps=30; use more than 40 steps to train on, or another run",
    )


def test_a_checkpoint_of_another_optimizer_leaves_the_run_as_it_was(
    refused: Refused, run_copy: Path, tmp_path
):
    values = json.loads((run_copy / "config.json").read_text())
    values |= {"run_dir": str(run_copy), "optimizer": {"type": "AdamWConfig"}}
    recipe = write(tmp_path / "adamw.json", json.dumps(values))
    refused(
        ["train", "--config", recipe],
        r"does not fit the model in \d+ of \d+ arrays .*use the optimizer configuration it was saved",
    )


def test_a_run_directory_with_the_users_own_files(refused: Refused, train: list[str], tmp_path: Path):
    write(tmp_path / "run" / "README.txt", "mine")
    refused(train, r"is not a run \(no model\.json\) and has README\.txt, which would be overwritten")


@pytest.mark.parametrize("name", ["mixture.json", "metrics.jsonl", "evaluation.json", "tensorboard/mine"])
def test_nothing_of_a_runs_names_is_taken_from_the_user(name, refused: Refused, train, tmp_path: Path):
    write(tmp_path / "run" / name, "mine")
    refused(train, rf"is not a run .* and has {name.partition('/')[0]}, which would be overwritten")


def test_all_that_a_run_writes_is_known_by_name(pretrained: Path):
    known = re.compile("|".join([*map(re.escape, FILES), *(f"{name}/{FOLDERS[name]}" for name in FOLDERS)]))
    names = [str(path.relative_to(pretrained)) for path in pretrained.rglob("*") if path.is_file()]
    assert len(names) > 8
    assert [name for name in names if not known.fullmatch(name)] == []


def test_a_run_without_checkpoints_initializes_nothing(refused: Refused, train: list[str], imported: Path):
    shutil.rmtree(imported / "checkpoints")
    refused([*train, "--initialize-from.run", imported], "holds no finished checkpoint; give a run that has")
    refused(["generate", "--run", imported, "--text", "a"], "holds no finished checkpoint")


def damage_flipped_bit(checkpoint: Path) -> None:
    for file in (checkpoint / "state").rglob("d/*"):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        file.write_bytes(content)


def damage_cut(checkpoint: Path) -> None:
    for file in (checkpoint / "state").rglob("d/*"):
        os.truncate(file, file.stat().st_size // 2)


def damage_no_state(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint / "state")


def damage_fingerprints(checkpoint: Path) -> None:
    write(checkpoint / "fingerprints" / "metadata", "[]")


@pytest.mark.parametrize("damage", [damage_flipped_bit, damage_cut, damage_no_state, damage_fingerprints])
def test_damaged_checkpoint(damage, refused: Refused, train: list[str], run_copy: Path, tmp_path: Path):
    damage(run_copy / "checkpoints" / "40")
    message = r"checkpoints/40 cannot be read: .*; go back to step 30 \(--step, of train --from-step\)"
    refused([*train, "--run-dir", run_copy, "--checkpoints.on-damage", "stop"], message)
    refused([*train, "--run-dir", tmp_path / "new", "--initialize-from.run", run_copy], message)
    refused(["generate", "--run", run_copy, "--text", "a"], message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.json", "{", r"model\.json is not JSON"),
        ("model.json", "{}", r"model\.json: field 'architecture' is missing; field 'config' is missing"),
        ("spiece.model", "junk", r"spiece\.model is not a SentencePiece model"),
        ("config.json", "{", r"config\.json (is not JSON|is damaged)"),
    ],
)
def test_damaged_run_directory(name, content, message, refused: Refused, train: list[str], run_copy: Path):
    write(run_copy / name, content)
    refused(["evaluate", "--run", run_copy], message)
    if name != "spiece.model":  # which train writes again, from the store
        refused([*train, "--run-dir", run_copy], message)


DEVICES = """
import sys
from t5lite.cli.main import main
for words in sys.stdin.read().splitlines():
    assert main(words.split()) == 2
"""


@pytest.mark.slow
def test_batches_and_meshes_that_eight_devices_refuse(train: list[str], pretrained: Path):
    cases = {
        "--training.batch-size 12": r"batch_size=12 is not divisible by mesh axis 'fsdp'=8; use 8 or 16",
        "--step.num-microbatches 2": r"batch_size=8 is not divisible by num_microbatches=2 x .*= 16; use 16",
        "--evaluations.heldout.batch-size 12": r"batch_size=12 is not divisible by .*; use 8 or 16",
        "--partitioning.fsdp 3": r"mesh fsdp=3 needs 3 devices but 8 are there",
        "--partitioning.tensor 3": r"mesh tensor=3 = 3 does not divide 8 devices; .*one of 1, 2, 4, 8",
        "--partitioning.tensor 2": r"no rule of this style uses mesh axis 'tensor'=2.*change style",
        "--partitioning.tensor 4 --partitioning.style tensor_parallel": r"num_heads=2 is not divisible by",
    }
    commands = [" ".join([*train, overrides]) for overrides in cases]
    commands.append(f"evaluate --run {pretrained} --batch-size 12")
    messages = [*cases.values(), r"batch_size=12 is not divisible by .*; use 8 or 16"]
    done = subprocess.run(
        [sys.executable, "-c", DEVICES],
        input="\n".join(commands),
        cwd=REPOSITORY,
        env=os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(messages), done.stderr
    for line, message in zip(lines, messages, strict=True):
        assert re.search(message, line), line
