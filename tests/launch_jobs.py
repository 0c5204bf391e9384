"""Jobs for every platform, and stand-ins for the programs that platforms call."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t5lite import run_config
from t5lite.core import command_line
from t5lite.launching.job import Job
from t5lite.launching.platform import Platform
from t5lite.launching.platforms import PLATFORMS

RECIPE = Path(__file__).parent / "e2e" / "tiny_recipe.py"
_SLICES = ["--chips", "v5e-32", "--num-slices", "2"]
OPTIONS: dict[str, list[str]] = {
    "tpu": [*_SLICES, "--zone", "us-west4-a", "--package", "t5lite[tpu,gcs]>=0.1"],
    "gke": [*_SLICES, "--image", "europe-docker.pkg.dev/p/r/t5lite:1.0"],
    "xpk": [*_SLICES, "--image", "gcr.io/p/t5lite:1", "--cluster", "pods"],
    "slurm": ["--nodes", "2", "--gpus-per-node", "8"],
    "ssh": ["--hosts", "ann@one,two"],
    "local": ["--num-processes", "2", "--devices-per-process", "4"],
}
"""What each platform must be told of a run on several hosts."""


def platform(name: str, *options: str) -> Platform:
    """Return a platform, by default that of ``OPTIONS``."""
    return command_line.parse(PLATFORMS[name], options or OPTIONS[name])


def make_job(*overrides: str, **changes: Any) -> Job:
    """Return the tiny recipe as a job."""
    config = run_config.load(RECIPE, ["--run-dir", "gs://bucket/a b'c\"d", *overrides])
    return Job(**{"name": "my-run", "config": config, "max_restarts": 3, **changes})


def linter(name: str) -> str:
    """Return the path of a linter that is installed beside Python, whether that is on PATH or not."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert found is not None, f"{name} is not installed: pip install -e '.[test]'"
    return found


@dataclass
class Programs:
    """Stand-ins that come first on PATH; what they note in ``$RECORD`` is ``record``."""

    directory: Path
    record_file: Path

    def add(self, name: str, script: str) -> Path:
        path = self.directory / name
        path.write_text(f"#!/usr/bin/env bash\n{script}\n")
        path.chmod(0o755)
        return path

    @property
    def record(self) -> list[str]:
        return self.record_file.read_text().splitlines() if self.record_file.exists() else []

    def environment(self, **more: str) -> dict[str, str]:
        path = f"{self.directory}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "RECORD": str(self.record_file), **more}

    def run(self, script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a rendered script to its end."""
        process = self.start(script, **environment)
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(self, script: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a rendered script in a session of its own."""
        path = self.directory.parent / "rendered"
        path.write_text(script)
        return subprocess.Popen(
            ["bash", path],
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
