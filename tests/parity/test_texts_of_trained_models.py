"""A run goes out, tokenizer included: transformers writes what ``generate`` does, token for token."""

from types import SimpleNamespace

import pytest
import transformers

from t5lite.data.examples.pair_examples import PairsDataConfig
from t5lite.data.examples.pretraining_examples import PretrainingDataConfig
from t5lite.data.objectives import CausalLM, SpanCorruption
from t5lite.data.vocabulary import open_vocabulary
from t5lite.interop.huggingface import import_folder
from t5lite.models.config import Execution
from t5lite.models.functional import build
from t5lite.optim import AdamWConfig, Constant
from t5lite.run_config import InitializeFrom, RunConfig
from t5lite.runner import generation, interchange
from t5lite.runner.run_directory import RunDirectory
from t5lite.training.config import TrainingConfig
from tests.parity.test_texts_of_imported_models import TEXTS, make_folder

SOURCE = InitializeFrom(run="elsewhere")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A decoder-only model whose tokenizer puts BOS before a text, as it comes."""
    folder = tmp_path_factory.mktemp("llama")
    make_folder("LlamaForCausalLM", folder)
    return import_folder(folder), open_vocabulary(folder)


@pytest.mark.parametrize(
    ("data", "source", "begins", "ends"),
    [
        (PretrainingDataConfig(store="s", objective=CausalLM()), None, False, False),
        (PretrainingDataConfig(store="s", objective=CausalLM()), SOURCE, True, False),
        (PretrainingDataConfig(store="s", objective=SpanCorruption()), None, False, True),
        (PairsDataConfig(store="s", pack=True), None, False, True),
        (PairsDataConfig(store="s"), SOURCE, False, True),
        (None, None, True, False),
    ],
)
def test_what_a_run_writes_is_what_its_export_does(data, source, begins, ends, llama, tmp_path, monkeypatch):
    """Text and pairs, packed or not, from scratch or not; and an import that comes back."""
    (config, params), vocabulary = llama
    directory = RunDirectory.at(tmp_path / "run")
    directory.write_model(config, vocabulary, execution=Execution())
    if data is not None:
        run = RunConfig(
            run_dir=str(directory.path),
            model=config,
            data=data,
            optimizer=AdamWConfig(),
            schedule=Constant(),
            training=TrainingConfig(total_steps=1, batch_size=1),
            initialize_from=source,
        )
        directory.write_config(run)
    trained = SimpleNamespace(model=build(config), params=params, vocabulary=vocabulary, step=0, origin="")
    for module in (generation, interchange):
        monkeypatch.setattr(module, "load_trained", lambda *_, **__: trained)
    ours = generation.generate(directory.path, TEXTS[1:], encoder_length=80, max_decode_length=4)
    interchange.export(directory.path, tmp_path / "exported")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "exported")
    for text, written in zip(TEXTS[1:], ours, strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        ids = [vocabulary.bos_id] * begins + vocabulary.encode(text).tolist() + [vocabulary.eos_id] * ends
        assert inputs["input_ids"][0].tolist() == ids
        (whole,) = theirs.generate(**inputs, max_new_tokens=4, do_sample=False, pad_token_id=0).tolist()
        assert written == tokenizer.decode(whole[len(ids) :], skip_special_tokens=True)
