"""Runs and folders that evaluate, generate, export and import refuse: one line, nothing written."""

import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Refused, write


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--store", "nowhere"], r"nowhere is not a token store"),
        (["--step", 3], r"holds no checkpoint of step 3; available: 30, 40"),
        (["--max-examples", 0], r"max_examples=0 must be positive"),
        (["--batch-size", 0], r"batch_size=0 must be positive"),
        (["--run", "nowhere"], r"nowhere is not a run directory \(no model\.json\)"),
        (["--predictions", "full"], r"full is a directory; give the name of a file"),
        (["--predictions", "file"], r"--predictions file: JSON lines are written; give a name in \.jsonl"),
        (["--predictions", "new.jsonl"], r"the evaluation heldout has no task, so that nothing is predicted"),
    ],
)
def test_evaluate_options(options, message, refused: Refused, pretrained: Path):
    refused(["evaluate", "--run", pretrained, *options], message)


def test_evaluate_needs_a_heldout_store(refused: Refused, run_copy: Path, imported: Path):
    refused(["evaluate", "--run", imported], r"was imported and names no held-out store; give one by --store")
    values = json.loads((run_copy / "config.json").read_text())
    values["evaluations"] = {}
    write(run_copy / "config.json", json.dumps(values))
    refused(
        ["evaluate", "--run", run_copy], "has no held-out store in its configuration; give one by --store"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"exactly one of --text and --input-file"),
        (["--text", "a", "--input-file", "file"], r"exactly one of --text and --input-file"),
        (["--input-file", "nowhere.txt"], r"nowhere\.txt cannot be read \(No such file"),
        (["--text", "caf\udce9"], r"--text 'caf.*' is not valid UTF-8; .*--on-invalid-utf8 replace"),
        (["--text", "a", "--step", 7], r"no checkpoint of step 7; available: 30, 40"),
        (["--text", "a", "--batch-size", -1], r"batch_size=-1 must be 1 or more"),
        (["--text", "a", "--encoder-length", 0], r"encoder_length=0 must be 1 or more"),
        (["--text", "a", "--max-decode-length", 0], r"max_decode_length=0 must be 1 or more"),
        (["--text", "a", "--output-file", "full"], r"is a directory; give the name of a file"),
        (["--text", "a", "--output-file", "file/out.txt"], r"cannot be made \(a file is in its place\)"),
        (["--text", "a", "--run", "nowhere"], r"nowhere is not a run directory \(no model\.json\)"),
    ],
)
def test_generate_options(options, message, refused: Refused, pretrained: Path):
    refused(["generate", "--run", pretrained, *options], message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no text; give one input a line"),
        (b"good\ncaf\xe9\n", r":2 is not valid UTF-8 .*--on-invalid-utf8 replace"),
        (b"\0\1\n", ":1 contains a NUL byte"),
    ],
)
def test_generate_inputs(content, message, refused: Refused, pretrained: Path, tmp_path: Path, monkeypatch):
    refused(["generate", "--run", pretrained, "--input-file", write(tmp_path / "in.txt", content)], message)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
    refused(["generate", "--run", pretrained, "--input-file", "-"], f"standard input.*{message}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "file"], r"is a file; give the name of a directory"),
        (["--output", "file/new"], r"cannot be made"),
        (["--output", "full"], r"exists and is not empty; choose another directory, or .*--overwrite"),
        (
            ["--output", "full", "--overwrite"],
            r"has no .*\.json, so it was not written by this command",
        ),
        (["--format", "hugginface"], r"unknown format 'hugginface'; did you mean 'huggingface'"),
        (["--step", 4], r"no checkpoint of step 4; available: 30, 40"),
        (["--run", "nowhere"], r"nowhere is not a run directory"),
    ],
)
def test_export_options(options, message, refused: Refused, pretrained: Path, tmp_path: Path):
    refused(["export", "--run", pretrained, "--output", tmp_path / "new", *options], message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("spiece.model", "", r"spiece\.model is not a SentencePiece model"),
        ("config.json", None, r"config\.json is missing; give a folder that save_pretrained wrote"),
        ("config.json", "{", r"config\.json is damaged"),
        ("config.json", "[]", r"config\.json is damaged \(not a JSON object\)"),
        ("config.json", {"model_type": "bart"}, r"model_type='bart' is not supported; allowed: 't5'"),
        ("config.json", {"architectures": 3}, r"architectures=3 is not supported"),
        ("config.json", {"d_ff": 48}, r"wrong shape: .*wi_0"),
        ("config.json", {"d_model": "big"}, r"d_model='big' must be an integer"),
        ("model.safetensors", b"", r"model\.safetensors is damaged or truncated"),
        ("model.safetensors", None, r"has neither model\.safetensors nor .*write it with save_pretrained"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"a": {}}}, r"the added tokens of .* are damaged"),
    ],
)
def test_folders_that_are_no_models(name, content, message, refused: Refused, exported: Path, tmp_path: Path):
    folder = Path(shutil.copytree(exported, tmp_path / "hf"))
    if isinstance(content, dict):
        content = json.dumps(json.loads((folder / name).read_text()) | content)
    (folder / name).unlink()
    if content is not None:
        write(folder / name, content)
    refused(["import", "--from", folder, "--output", tmp_path / "new"], message)


def test_a_folder_without_a_vocabulary(refused: Refused, exported: Path, tmp_path: Path):
    folder = Path(shutil.copytree(exported, tmp_path / "hf"))
    for name in ("spiece.model", "tokenizer.json"):
        (folder / name).unlink()
    refused(["import", "--from", folder, "--output", tmp_path / "new"], "has no vocabulary that t5lite reads")


def test_import_from_and_to_the_wrong_places(
    refused: Refused, exported: Path, pretrained: Path, tmp_path: Path
):
    refused(
        ["import", "--from", pretrained, "--output", tmp_path / "new"], "has neither model.safetensors nor"
    )
    refused(
        ["import", "--from", tmp_path / "no", "--output", tmp_path / "new"], "no is not a directory; give"
    )
    refused(
        ["import", "--from", exported, "--output", pretrained],
        "exists and is not empty; choose another directory or delete it first",
    )
