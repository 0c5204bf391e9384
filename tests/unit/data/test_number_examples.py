import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.examples.number_examples import NumbersDataConfig, written
from t5lite.data.examples.word_label_examples import WordLabelsDataConfig
from t5lite.data.pipeline import PairsDataConfig, Pipeline, open_pipeline
from t5lite.data.prepare import write_pair_store
from t5lite.data.vocabulary import ByteVocabulary

LENGTH = 16


def opened(path, targets, **options) -> Pipeline:
    texts = [f"text {number} " + "and more " * (number % 3) for number in range(len(targets))]
    write_pair_store(zip(texts, targets, strict=True), ByteVocabulary(), path)
    config = NumbersDataConfig(store=str(path), **{"inputs_length": LENGTH, **options})
    return open_pipeline(config, architecture="encoder_only", shuffle=False)


@settings(max_examples=20, deadline=None)
@given(numbers=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5))
def test_targets_are_the_numbers_that_they_spell(tmp_path_factory, numbers):
    pipeline = opened(tmp_path_factory.mktemp("numbers") / "store", [repr(number) for number in numbers])
    batch = pipeline.batch(0, batch_size=len(numbers))
    np.testing.assert_array_equal(batch["sequence_numbers"], np.array(numbers, np.float32))
    assert pipeline.answered is not None
    for index, number in enumerate(numbers):
        described = pipeline.answered.described(index)
        assert float(described.reference) == pytest.approx(number, rel=1e-6)
        assert described.inputs.startswith("text")
    outputs = {"sequence": np.array([numbers[0]], np.float32)}
    assert list(pipeline.answered.predictions([(0, outputs)])) == [(0, written(np.float32(numbers[0])))]


def test_rows_that_fill_up_a_batch_have_no_number(tmp_path):
    pipeline = opened(tmp_path / "store", ["1", "-2", "3.5"])
    (batch,) = pipeline.eval_batches(5)
    assert np.isnan(batch["sequence_numbers"]).sum() == 2
    assert pipeline.report["truncated"] == 2


@pytest.mark.parametrize("kind", [NumbersDataConfig, WordLabelsDataConfig, PairsDataConfig])
def test_held_out_rows_are_cut_and_none_is_left_out(kind):
    given = kind(store="train", inputs_length=LENGTH, overlong="drop", max_epochs=1)
    held_out = given.held_out("elsewhere")
    assert held_out == kind(store="elsewhere", inputs_length=LENGTH, overlong="truncate")
    assert not held_out.drops_overlong


def test_what_is_no_number_is_listed_with_a_remedy(tmp_path):
    said = (
        r"2 of 4 targets of .* are no finite numbers, such as 'nan', 'good'; to predict numbers, give pairs"
    )
    with pytest.raises(DataError, match=said):
        opened(tmp_path / "store", ["1", "nan", "good", "2"])


def test_only_the_head_for_numbers_is_trained_by_them():
    config = NumbersDataConfig(store="nowhere")
    config.check_model("encoder_only", "sequence_regression")
    with pytest.raises(ConfigError, match="with head='sequence_regression', and has no labels"):
        config.check_model("encoder_only", "masked_lm")
    with pytest.raises(ConfigError, match="trains encoder-only models; this one is decoder_only"):
        config.lengths("decoder_only")
    with pytest.raises(ConfigError, match="inputs_length=2 must be at least 3"):
        NumbersDataConfig(store="nowhere", inputs_length=2)
