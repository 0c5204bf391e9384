"""Files of before a model's parts were kinds, as their version wrote them, describe what they described."""

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.core.errors import ConfigError
from t5lite.core.strict_json import StrictJson
from t5lite.data.vocabulary import ByteVocabulary
from t5lite.models.config import (
    PARTS,
    AttentionConfig,
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    Execution,
    GatedMLP,
    LayerNorm,
    ModelConfig,
    NormalInitializer,
    PlainMLP,
    RelativePositions,
    RMSNorm,
    SinusoidalPositions,
    XavierInitializer,
)
from t5lite.models.config.migration import with_kinds
from t5lite.models.presets import preset
from t5lite.runner.earlier_run import earlier_run
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "flat_configurations.json").read_text())
JSON = StrictJson(unions=(*PARTS, ModelConfig))
SIZES: dict[str, Any] = {"embed_dim": 8, "mlp_dim": 10, "head_dim": 4, "num_heads": 2}
VARIANTS: dict[str, ModelConfig] = {
    "encoder-decoder": EncoderDecoderConfig(**SIZES, num_encoder_layers=1, num_decoder_layers=2),
    "encoder-only": EncoderOnlyConfig(**SIZES, num_layers=2),
    "decoder-only": DecoderOnlyConfig(**SIZES, num_layers=2),
    "executed": EncoderDecoderConfig(**SIZES, num_encoder_layers=1, num_decoder_layers=2, dropout_rate=0.1),
    "odd": DecoderOnlyConfig(
        **SIZES,
        num_layers=2,
        positions=RelativePositions(num_buckets=8, max_distance=20),
        norm=LayerNorm(epsilon=1e-3),
        mlp=GatedMLP(activation="gelu_tanh", bias=True),
        attention=AttentionConfig(scaled=False, biases="all"),
        initializer=NormalInitializer(std=0.1),
        prefix_attention="bidirectional",
        num_kv_heads=1,
    ),
    "classifier": EncoderOnlyConfig(
        **SIZES,
        num_layers=2,
        head="sequence_classification",
        num_labels=3,
        norm=RMSNorm(epsilon=1e-12),
        positions=SinusoidalPositions(),
        mlp=PlainMLP(activation="gelu_tanh"),
        attention=AttentionConfig(scaled=True),
        initializer=XavierInitializer(),
    ),
}
EXECUTED = Execution(
    compute_dtype="bfloat16",
    param_dtype="bfloat16",
    scan_unroll=-1,
    remat="save",
    remat_names=("query", "key"),
    attention="reference",
)
DEFAULTS = {GOLDEN["variants"][name]["type"]: GOLDEN["variants"][name] for name in list(VARIANTS)[:3]}
MODELS = {
    **{name: (flat, preset(name)) for name, flat in GOLDEN["presets"].items()},
    **{name: (flat, VARIANTS[name]) for name, flat in GOLDEN["variants"].items()},
}


def read(flat: dict[str, Any]) -> tuple[ModelConfig, Execution]:
    model, execution = with_kinds(flat, name="model")
    return JSON.structure(model, ModelConfig, name="model"), JSON.structure(
        execution, Execution, name="model"
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_flat_model_is_the_one_that_it_was(name: str):
    """Also where the file leaves out what was the default."""
    flat, expected = MODELS[name]
    assert read(flat) == (expected, EXECUTED if name == "executed" else Execution())
    defaults = {key: value for key, value in DEFAULTS[flat["type"]].items() if key not in ("type", *SIZES)}
    short = {key: value for key, value in flat.items() if key not in defaults or value != defaults[key]}
    layers = {key: value for key, value in flat.items() if "layers" in key}
    assert read({**short, **layers}) == read(flat)


@pytest.mark.parametrize("path", GOLDEN["runs"])
def test_a_run_of_before_goes_on_as_the_recipe_says(path: str, tmp_path: Path):
    config = run_config.load(ROOT / path)
    saved_config = run_config.from_values(GOLDEN["runs"][path])
    assert (saved_config.model, saved_config.execution) == (config.model, config.execution)
    directory = RunDirectory.at(tmp_path)
    vocabulary = ByteVocabulary()
    directory.write_model(config.model, vocabulary, execution=config.execution)
    saved = json.loads(directory.model_file.read_text())
    del saved["execution"]
    directory.model_file.write_text(
        json.dumps({**saved, "version": 1, "config": GOLDEN["runs"][path]["model"]})
    )
    found = Snapshot(directory)
    assert (found.model.config, found.model.execution) == (config.model, config.execution)
    earlier_run(found).check(directory, config.model, vocabulary)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("positions", "rotarry", "unknown value 'rotarry'; did you mean 'rotary'? allowed: learned, "),
        (
            "mlp_activation",
            "swigluu",
            "unknown value 'swigluu'; did you mean 'swiglu'? allowed: gated_gelu, ",
        ),
        ("norm", None, "unknown value None; allowed: layer, rms"),
        ("initializer", ["t5"], "unknown value ['t5']"),
        ("biases", "all", "'all' is not of type bool"),
        ("relpos_buckets", 3.5, "3.5 is not of type int"),
        ("rotary_base", "5", "'5' is not of type float"),
    ],
)
@pytest.mark.parametrize("model", DEFAULTS)
def test_what_a_field_of_before_could_not_be_is_refused_by_its_name(
    model: str, field: str, value: Any, message: str
):
    """Whether or not the model has a part that would read it."""
    changed = {**DEFAULTS[model], field: value}
    saved = {**GOLDEN["runs"][next(iter(GOLDEN["runs"]))], "model": changed}
    with pytest.raises(ConfigError, match=re.escape(f"config.json: model: {field}: {message}")):
        run_config.from_values(saved, name="config.json")


@settings(deadline=None, max_examples=100)
@given(
    flat=st.sampled_from([flat for flat, _ in MODELS.values()]),
    data=st.data(),
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.floats(),
        st.text(max_size=3),
        st.just([]),
        st.just({}),
    ),
)
def test_what_is_damaged_is_refused_by_the_reader(flat: dict[str, Any], data: st.DataObject, value: Any):
    name = data.draw(st.sampled_from(sorted({*flat} - {"type"})))
    with contextlib.suppress(ConfigError):
        read({**flat, name: value})
