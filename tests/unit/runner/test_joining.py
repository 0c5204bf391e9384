"""All processes begin a run, or none does, whatever keeps their leader from its directory."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from t5lite.core import machine_errors
from t5lite.core.exit_codes import ExitCode
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.models.config import EncoderDecoderConfig
from t5lite.optim import AdamWConfig, Constant
from t5lite.run_config import RunConfig
from t5lite.runner.joining import joined
from t5lite.training.config import TrainingConfig
from tests.process_threads import in_processes


def config(run_dir: Path) -> RunConfig:
    sizes: dict[str, Any] = {"vocab_size": 300, "embed_dim": 8, "mlp_dim": 8, "head_dim": 4, "num_heads": 2}
    return RunConfig(
        run_dir=str(run_dir),
        model=EncoderDecoderConfig(**sizes, num_encoder_layers=1, num_decoder_layers=1),
        data=PretrainingDataConfig(store="store"),
        optimizer=AdamWConfig(),
        schedule=Constant(),
        training=TrainingConfig(total_steps=1, batch_size=1),
    )


@pytest.mark.parametrize("folder", [".", "lease"])
@pytest.mark.parametrize(
    ("number", "code"), [(errno.EACCES, ExitCode.USER_ERROR), (errno.EIO, ExitCode.TRANSIENT)]
)
def test_what_the_leader_cannot_list_ends_all(folder, number, code, tmp_path, monkeypatch):
    """The others waited for its answer."""
    iterdir, listed = Path.iterdir, tmp_path / folder

    def fails(path):
        if path == listed:
            raise OSError(number, os.strerror(number), str(path))
        return iterdir(path)

    def run(process):
        supervision: Any = SimpleNamespace()
        try:
            with joined(config(tmp_path), supervision, print):
                return None
        except OSError as error:
            return error

    monkeypatch.setattr(Path, "iterdir", fails)
    leader, *others = in_processes(3, run)
    said = machine_errors.description(leader)
    assert os.strerror(number) in said
    assert {str(each) for each in others} == {f"process 0: {said}"}
    assert {machine_errors.exit_code(each) for each in (leader, *others)} == {code}
