"""RunConfig: recipes, overrides, the JSON form, and what it refuses."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from t5lite import run_config
from t5lite.adapters import PromptTuning
from t5lite.core.errors import ConfigError
from t5lite.data.objectives.causal_lm import CausalLM
from t5lite.data.objectives.masked_lm import MaskedLM
from t5lite.data.pipeline import PairsDataConfig, PretrainingDataConfig
from t5lite.models.config import (
    DecoderOnlyConfig,
    EncoderDecoderConfig,
    EncoderOnlyConfig,
    LearnedPositions,
)
from t5lite.optim import OPTIMIZERS, SCHEDULES, AdafactorConfig, Constant, WarmupStableDecay
from t5lite.partitioning.mesh import PartitioningConfig
from t5lite.quickstart.recipes import RECIPES
from t5lite.run_config import EvaluationConfig, InitializeFrom, RunConfig
from t5lite.training.config import StepConfig, TrainingConfig
from tests.source_models import model_of_recipe

ROOT = Path(__file__).parents[2]
MODEL = EncoderDecoderConfig(
    embed_dim=8, mlp_dim=16, head_dim=4, num_heads=2, num_encoder_layers=1, num_decoder_layers=1
)
CONFIG = RunConfig(
    run_dir="runs/x",
    model=MODEL,
    data=PretrainingDataConfig(store="data/train"),
    optimizer=AdafactorConfig(),
    schedule=Constant(),
    training=TrainingConfig(total_steps=100, batch_size=8),
    evaluations={"heldout": EvaluationConfig(store="data/heldout")},
)
PAIRS = PairsDataConfig(store="data/pairs")


def named(**changes: Any) -> dict[str, EvaluationConfig]:
    """CONFIG's evaluation, changed."""
    return {"heldout": dataclasses.replace(CONFIG.evaluations["heldout"], **changes)}


STACK: dict[str, Any] = {"embed_dim": 8, "mlp_dim": 16, "head_dim": 4, "num_heads": 2, "num_layers": 1}
GPT, BERT = DecoderOnlyConfig(**STACK), EncoderOnlyConfig(**STACK)
CAUSAL = PretrainingDataConfig(store="data/train", objective=CausalLM())
MASKED = PretrainingDataConfig(store="data/train", objective=MaskedLM())


def variants() -> dict[str, RunConfig]:
    """Every shipped recipe, every class that a field may have, and fields that are usually left alone."""
    recipes = [*(ROOT / "configs").glob("*.py"), *(ROOT / "tests" / "e2e").glob("tiny_*.py")]
    configs = {path.stem: run_config.load(path, read_source=model_of_recipe) for path in recipes}
    for name, recipe in RECIPES.items():
        configs[name] = recipe.pretraining_config(Path("x"), seed=1)
        for task in recipe.tasks:
            configs[f"{name} {task}"] = recipe.finetuning_config(Path("x"), task, pretrained=True, seed=1)
    for name, optimizer in OPTIMIZERS.items():
        configs[name] = dataclasses.replace(CONFIG, optimizer=optimizer())
    required = {"peak": 0.1, "decay_steps": 10, "warmup_steps": 10}
    for name, schedule in SCHEDULES.items():
        fields = {field.name for field in dataclasses.fields(schedule)}
        values = {key: value for key, value in required.items() if key in fields}
        configs[name] = dataclasses.replace(CONFIG, schedule=schedule(**values))
    rules = (("embed", None), ("activations.length", "sequence+tensor"))
    configs["tuples"] = dataclasses.replace(CONFIG, partitioning=PartitioningConfig(extra_rules=rules))
    return configs


VARIANTS = variants()


@pytest.mark.parametrize("name", VARIANTS)
def test_json_round_trip(name, tmp_path):
    config = VARIANTS[name]
    run_config.save(config, tmp_path / "config.json")
    assert run_config.load(tmp_path / "config.json") == config


def test_json_names_the_class_where_several_are_possible():
    values = run_config.to_json(CONFIG)
    tags = {
        name: value["type"] for name, value in values.items() if isinstance(value, dict) and "type" in value
    }
    assert tags == {
        "model": "EncoderDecoderConfig",
        "data": "PretrainingDataConfig",
        "optimizer": "AdafactorConfig",
        "schedule": "Constant",
        "adapter": "NoAdapter",
    }
    assert values["data"]["objective"]["type"] == "SpanCorruption"


def changed(**changes: object) -> str:
    """Return CONFIG's JSON with fields (``section__field``) replaced, or removed by ``...``."""
    values = run_config.to_json(CONFIG)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = values
        for parent in parents:
            node = node[parent]
        if value is ...:
            del node[last]
        else:
            node[last] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"training__total_step": 3},
            "unknown field 'training.total_step'; did you mean 'total_steps'? allowed:",
        ),
        ({"trainin": 3}, "unknown field 'trainin'; did you mean 'training'? allowed:"),
        ({"optimizer__decay": 3}, "unknown field 'optimizer.decay'; allowed:"),
        ({"data__objective__density": 3}, "unknown field 'data.objective.density'"),
        ({"training__total_steps": "many"}, "training.total_steps: 'many' is not of type int"),
        ({"training__total_steps": 2.5}, "training.total_steps: 2.5 is not of type int"),
        ({"training__eval_every_steps": "x"}, "training.eval_every_steps: 'x' is not of type int"),
        ({"seed": True}, "seed: True is not of type int"),
        ({"run_dir": 3}, "run_dir: 3 is not of type str"),
        (
            {"evaluations__heldout__encoder_use": "false"},
            "evaluations.heldout.encoder_use: 'false' is not of type bool",
        ),
        ({"step__z_loss": float("nan")}, "step.z_loss: nan is not a finite number"),
        (
            {"partitioning__style": "fdsp"},
            "partitioning.style: unknown value 'fdsp'; did you mean 'fsdp'? allowed:",
        ),
        (
            {"evaluations__heldout__task": 3},
            "evaluations.heldout.task: 3 is not of type str",
        ),
        ({"evaluations__heldout__stor": "x"}, "unknown field 'evaluations.heldout.stor'; did you mean"),
        ({"evaluations__heldout__store": ...}, "field 'evaluations.heldout.store' is missing"),
        ({"evaluations": []}, "evaluations: [] is not an object"),
        ({"training": None}, "training: None is not an object with the fields of TrainingConfig"),
        ({"initialize_from": "x"}, "initialize_from: 'x' is not an object with the fields of InitializeFrom"),
        (
            {"optimizer__type": "AdamConfig"},
            "optimizer: unknown type 'AdamConfig'; did you mean 'AdamWConfig'? allowed:",
        ),
        (
            {"optimizer__type": ...},
            "optimizer: needs an object whose 'type' is one of AdafactorConfig, AdamW",
        ),
        ({"schedule": 3}, "schedule: needs an object whose 'type' is one of Constant, InverseSqrt"),
        ({"partitioning__extra_rules": "ab"}, "partitioning.extra_rules: 'ab' is not a list"),
        ({"partitioning__extra_rules": [["a"]]}, "partitioning.extra_rules: ['a'] has 1 items; it needs 2"),
        ({"training__total_steps": 0}, "name: training.total_steps=0 must be 1 or more"),
        ({"model__embed_dim": 0}, "model: embed_dim=0 must be at least 1"),
        ({"data__inputs_length": 10**12}, "the encoder reads 1000000000000 tokens; they must be at most 21"),
        ({"training__batch_size": 1 << 31}, "training.batch_size=2147483648 must be at most 2147483647"),
        (
            {"model__positions__type": "Rotations"},
            "model.positions: unknown type 'Rotations'; did you mean 'RotaryPositions'? allowed:",
        ),
        ({"model__norm__bias": True}, "unknown field 'model.norm.bias'; allowed: epsilon, one_plus"),
    ],
    ids=str,
)
def test_json_that_does_not_fit(changes, message):
    with pytest.raises(ConfigError) as refusal:
        run_config.from_json(changed(**changes), name="name")
    assert str(refusal.value).startswith("name: ")
    assert message in str(refusal.value)


def test_each_missing_field_is_named_once():
    with pytest.raises(ConfigError) as refusal:
        run_config.from_json(changed(training__total_steps=..., model=...), name="name")
    message = "field 'training.total_steps' is missing; field 'model' is missing"
    assert str(refusal.value) == f"name: {message}"


def test_everything_wrong_is_said_at_once():
    with pytest.raises(ConfigError) as refusal:
        run_config.from_json(changed(seed="x", training__batch_size="y", loader__prefetch=0))
    assert all(name in str(refusal.value) for name in ("seed", "training.batch_size", "loader.prefetch=0"))


def test_an_integer_is_a_float():
    assert run_config.from_json(changed(step__z_loss=1)).step.z_loss == 1.0


def recipe(tmp_path: Path, config: RunConfig) -> Path:
    run_config.save(config, tmp_path / "recipe.json")
    return tmp_path / "recipe.json"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--seed", "3"], {"seed": 3}),
        (["--training.total-steps", "7"], {"training": dataclasses.replace(CONFIG.training, total_steps=7)}),
        (["--training.total_steps=7"], {"training": dataclasses.replace(CONFIG.training, total_steps=7)}),
        (
            ["--training.eval-every-steps", "None"],
            {"training": dataclasses.replace(CONFIG.training, eval_every_steps=None)},
        ),
        (["--schedule.value", "0.5"], {"schedule": Constant(value=0.5)}),
        (["--optimizer.weight-decay", "0.1"], {"optimizer": AdafactorConfig(weight_decay=0.1)}),
        (
            ["--data.store", "other", "--data.objective.noise-density", "0.3"],
            {
                "data": dataclasses.replace(
                    CONFIG.data,
                    store="other",
                    objective=dataclasses.replace(
                        PretrainingDataConfig(store="s").objective, noise_density=0.3
                    ),
                )
            },
        ),
        (["--evaluations.heldout.store", "other"], {"evaluations": named(store="other")}),
        (["--evaluations.heldout.no-encoder-use"], {"evaluations": named(encoder_use=False)}),
        (["--evaluations.heldout.encoder_use=False"], {"evaluations": named(encoder_use=False)}),
        (
            ["--step.skip-nonfinite", "False", "--evaluations.heldout.encoder-use", "true"],
            {"step": StepConfig(skip_nonfinite=False)},
        ),
        (["--evaluations.heldout.store", "other", "--evaluations", "None"], {"evaluations": {}}),
        (
            ["--partitioning.extra-rules", "embed", "None", "mlp", "tensor"],
            {"partitioning": PartitioningConfig(extra_rules=(("embed", None), ("mlp", "tensor")))},
        ),
        (["--initialize-from.run", "old"], {"initialize_from": InitializeFrom(run="old")}),
        (
            ["--initialize-from.step", "5", "--initialize_from.run=old"],
            {"initialize_from": InitializeFrom(run="old", step=5)},
        ),
    ],
    ids=" ".join,
)
def test_overrides(words, expected, tmp_path):
    config = run_config.load(recipe(tmp_path, CONFIG), words)
    assert config == dataclasses.replace(CONFIG, **expected)


def test_an_override_keeps_what_the_recipe_says_beside_it(tmp_path):
    config = dataclasses.replace(CONFIG, initialize_from=InitializeFrom(run="old", step=5))
    overridden = run_config.load(recipe(tmp_path, config), ["--initialize-from.run", "new"])
    assert overridden.initialize_from == InitializeFrom(run="new", step=5)


@pytest.mark.parametrize("words", [["--initialize-from", "None"], ["--initialize_from=None"]], ids=" ".join)
@pytest.mark.parametrize("source", [None, InitializeFrom(run="old", step=5)])
def test_an_override_takes_initialize_from_back(words, source, tmp_path):
    config = dataclasses.replace(CONFIG, initialize_from=source)
    overridden = run_config.load(recipe(tmp_path, config), ["--seed", "3", *words, "--run-dir", "other"])
    assert overridden == dataclasses.replace(CONFIG, seed=3, run_dir="other")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--initialize-from", "runs/old"], r"takes None, to start anew; say where from by --initialize"),
        (["--initialize-from"], "takes None"),
        (["--initialize-from", "None", "--initialize-from.step", "5"], "contradict each other"),
    ],
    ids=str,
)
def test_initialize_from_takes_nothing_else(words, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run_config.load(recipe(tmp_path, CONFIG), words)


def test_the_shape_of_another_model_leaves_how_the_recipe_runs_it(tmp_path):
    other = dataclasses.replace(CONFIG.model, mlp_dim=3 * CONFIG.model.mlp_dim, dropout_rate=0.5)
    config = run_config.load(recipe(tmp_path, CONFIG), model=other)
    expected = dataclasses.replace(CONFIG.model, mlp_dim=other.mlp_dim)
    assert config == dataclasses.replace(CONFIG, model=expected)


def test_encoder_use_alone_needs_a_batch_of_two(tmp_path):
    """And it is asked of encoder-decoders only."""
    alone = named(batch_size=1)
    with pytest.raises(ConfigError, match=r"heldout\.batch_size=1 must be at least 2: .*encoder_use=False"):
        dataclasses.replace(CONFIG, evaluations=alone)
    dataclasses.replace(CONFIG, evaluations=named(batch_size=1, encoder_use=False))
    decoder = DecoderOnlyConfig(embed_dim=8, mlp_dim=16, head_dim=4, num_heads=2, num_layers=1)
    data = PretrainingDataConfig(store="store", objective=CausalLM())
    dataclasses.replace(CONFIG, model=decoder, data=data, evaluations=alone)


def test_initialize_from_needs_a_run(tmp_path):
    with pytest.raises(
        ConfigError, match=r"the recipe has no initialize_from; say .* --initialize-from\.run RUN"
    ):
        run_config.load(recipe(tmp_path, CONFIG), ["--initialize-from.step", "5"])


def test_an_unknown_override_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(ConfigError, match=r"--training\.total-step, 5; perhaps .*: --training\.total-steps"):
        run_config.load(recipe(tmp_path, CONFIG), ["--training.total-step", "5"])


def test_an_overridden_value_is_checked_like_any_other(tmp_path):
    with pytest.raises(ConfigError, match=r"training\.total_steps=0 must be 1 or more"):
        run_config.load(recipe(tmp_path, CONFIG), ["--training.total-steps", "0"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"training": TrainingConfig(total_steps=9, batch_size=9), "step": {"num_microbatches": 2}},
            "use 8 or 10",
        ),
        ({"schedule": WarmupStableDecay(peak=1, warmup_steps=60, decay_steps=60)}, "=120 is more than"),
        ({"seed": -1}, "seed=-1 must be in"),
        ({"step": {"max_gradient_norm": float("nan")}}, "step.max_gradient_norm=nan must be a finite number"),
        (
            {"training": TrainingConfig(total_steps=9, batch_size=1), "step": {"num_microbatches": 2}},
            "use 2$",
        ),
        ({"initialize_from": InitializeFrom(run="./runs/../runs/x")}, "is run_dir itself"),
        ({"evaluations": named(task="translation")}, "leave the task out"),
    ],
    ids=str,
)
def test_components_that_contradict_each_other(changes, message):
    if "step" in changes:
        changes["step"] = dataclasses.replace(CONFIG.step, **changes["step"])
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_a_classifier_writes_no_text_that_a_task_could_score():
    model = dataclasses.replace(BERT, head="sequence_classification")
    config = dataclasses.replace(CONFIG, data=PAIRS, model=model)
    with pytest.raises(ConfigError, match=r"an encoder-only model writes none; set it to None"):
        dataclasses.replace(config, evaluations=named(task="classification"))


def test_a_task_is_fine_with_pairs():
    config = dataclasses.replace(CONFIG, data=PAIRS, evaluations=named(task="translation"))
    assert config.evaluations["heldout"].task == "translation"


@pytest.mark.parametrize(
    ("model", "data", "message"),
    [
        (
            BERT,
            CONFIG.data,
            "trains encoder_decoder and decoder_only models, but model is encoder_only; use MaskedLM,",
        ),
        (
            MODEL,
            CAUSAL,
            "CausalLM trains decoder_only models, .* encoder_decoder; use Deshuffling or IidDenoising or",
        ),
        (
            dataclasses.replace(BERT, head="pretraining"),
            MASKED,
            "no labels for model.head='pretraining'; use head='masked_lm', or set .*next_sentence=True",
        ),
        (
            BERT,
            dataclasses.replace(MASKED, objective=MaskedLM(next_sentence=True)),
            "for model.head='masked_lm'; use head='pretraining', or set data.objective.next_sentence=False",
        ),
        (
            dataclasses.replace(BERT, head="pretraining", num_token_types=1),
            dataclasses.replace(MASKED, objective=MaskedLM(next_sentence=True)),
            "model.num_token_types=1; use 2, or 0",
        ),
        (BERT, PAIRS, "with head='sequence_classification', and has no labels for model.head='masked_lm'"),
        (
            dataclasses.replace(BERT, head="sequence_classification"),
            dataclasses.replace(PAIRS, pack=True),
            "classifies a row as a whole; set data.pack=False",
        ),
        (
            dataclasses.replace(BERT, head="sequence_classification"),
            dataclasses.replace(PAIRS, inputs_length=2),
            "inputs_length=2 must be at least 3",
        ),
        (
            dataclasses.replace(BERT, max_length=100),
            MASKED,
            "512 tokens is longer than the 100 rows that the learned position table has for it",
        ),
        (
            dataclasses.replace(GPT, positions=LearnedPositions()),
            PAIRS,
            "639 tokens is longer than the 512 rows",
        ),
    ],
    ids=str,
)
def test_a_model_and_data_that_do_not_go_together(model, data, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, model=model, data=data)


def test_rows_that_a_prompt_leaves_no_positions_for():
    positioned = dataclasses.replace(GPT, positions=LearnedPositions(), max_length=640)
    config = dataclasses.replace(CONFIG, model=positioned, data=PAIRS, adapter=PromptTuning(num_tokens=1))
    with pytest.raises(
        ConfigError, match=r"639 tokens .* 638 positions that adapter\.num_tokens=2 leaves of"
    ):
        dataclasses.replace(config, adapter=PromptTuning(num_tokens=2))


@pytest.mark.parametrize(("model", "data"), [(GPT, CAUSAL), (BERT, MASKED), (GPT, PAIRS)], ids=str)
def test_other_architectures_are_overridden_and_saved_like_the_first(model, data, tmp_path):
    config = dataclasses.replace(CONFIG, model=model, data=data)
    words = ["--model.num-layers", "3", "--data.store", "other"]
    assert run_config.load(recipe(tmp_path, config), words) == dataclasses.replace(
        config,
        model=dataclasses.replace(model, num_layers=3),
        data=dataclasses.replace(data, store="other"),
    )


def test_the_settings_of_an_objective_are_overridden(tmp_path):
    config = dataclasses.replace(CONFIG, model=BERT, data=MASKED)
    words = ["--data.objective.mask-probability", "0.3", "--model.head", "masked_lm"]
    loaded = run_config.load(recipe(tmp_path, config), words)
    assert loaded.data == dataclasses.replace(MASKED, objective=MaskedLM(mask_probability=0.3))


def test_help_shows_the_model_of_the_recipe_alone(tmp_path, capsys):
    path = recipe(tmp_path, dataclasses.replace(CONFIG, model=BERT, data=MASKED))
    with pytest.raises(SystemExit) as stop:
        run_config.load(path, ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--model.head" in text
    assert "--data.objective.mask-probability" in text
    assert "--model.num-encoder-layers" not in text
    assert "--data.objective.noise-density" not in text
