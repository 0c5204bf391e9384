"""What the tests of the platforms share."""

from pathlib import Path

import pytest

from t5lite.launching.job import Job
from tests.launch_jobs import Programs, make_job


@pytest.fixture(scope="session")
def job() -> Job:
    return make_job()


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    directory = tmp_path / "bin"
    directory.mkdir()
    return Programs(directory, tmp_path / "record")
