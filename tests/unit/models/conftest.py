from typing import Any

import pytest
from tiny_models import make_config, make_params

from t5lite.models.functional import FunctionalModel, build


@pytest.fixture(scope="session")
def model() -> FunctionalModel:
    return build(make_config())


@pytest.fixture(scope="session")
def params(model: FunctionalModel) -> Any:
    return make_params(model)
