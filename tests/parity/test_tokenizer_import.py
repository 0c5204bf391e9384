"""A vocabulary of an imported folder gives the ids that transformers' AutoTokenizer gives on it."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from t5lite.core.errors import DataError
from t5lite.data.vocabulary import Frame, open_vocabulary, train_vocabulary
from tests.small_tokenizers import (
    write_bpe,
    write_bpe_with_bos,
    write_bpe_with_byte_fallback,
    write_gemma,
    write_llama3,
    write_modernbert,
    write_qwen,
    write_roberta,
    write_unigram_with_sentinels,
    write_wordpiece,
)

LINES = (Path(__file__).parent / "real_lines.txt").read_text(encoding="utf-8").splitlines()
TEXTS = [
    *LINES[:10],
    "",
    "  Two  spaces\tand\na line ",
    "ÀÉÎ nin\u0303o Straße ŻÓŁĆ İ",
    "日本語 text中 🤖 \u00a0no-break\u3000wide",
    "ﬁnancial Ⅷ ① \u0001 control\u0085 next",
    "a b  ab\ta",
    "12345 3.14 CAN'T we'll\n\n\n  y    z\r\n",
]
MAKERS = {
    "bert": lambda folder: write_wordpiece(folder, [*LINES, "日本語 ÀÉÎ àéî"], size=500),
    "gpt2": lambda folder: write_bpe(folder, LINES, size=400),
    "opt": lambda folder: write_bpe(folder, LINES, size=400),
    "roberta": lambda folder: write_roberta(folder, LINES),
    "bart": lambda folder: write_bpe_with_bos(folder, LINES, size=400),
    "gpt_neox": lambda folder: write_bpe(folder, LINES, size=400),
    "code_llama": lambda folder: write_bpe_with_byte_fallback(folder, LINES),
    "electra": lambda folder: write_wordpiece(folder, LINES, size=500),
    "llama": lambda folder: write_bpe_with_byte_fallback(folder, LINES),
    "llama_3": lambda folder: write_llama3(folder, LINES),
    "mistral": lambda folder: write_llama3(folder, LINES),
    "qwen2": lambda folder: write_qwen(folder, LINES),
    "qwen3": lambda folder: write_qwen(folder, LINES),
    "modernbert": lambda folder: write_modernbert(folder, LINES),
    "t5gemma": lambda folder: write_gemma(folder, LINES),
    "t5": lambda folder: write_unigram_with_sentinels(folder, sentinels=4),
    "umt5": lambda folder: write_unigram_with_sentinels(folder, sentinels=4),
}
CLASSES = {
    "bert": "BertTokenizer",
    "gpt2": "GPT2Tokenizer",
    "opt": "GPT2Tokenizer",
    "roberta": "RobertaTokenizer",
    "bart": "BartTokenizer",
    "gpt_neox": "GPTNeoXTokenizer",
    "code_llama": "CodeLlamaTokenizer",
    "electra": "ElectraTokenizer",
    "llama": "LlamaTokenizer",
    "llama_3": "LlamaTokenizer",
    "mistral": "LlamaTokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
    "modernbert": "PreTrainedTokenizerFast",
    "t5gemma": "GemmaTokenizer",
    "t5": "T5Tokenizer",
    "umt5": "T5Tokenizer",
}
MODEL_TYPES = {"code_llama": "llama", "llama_3": "llama"}
"""Where it is not the name of the case."""
UNNAMED = {"code_llama": []}  # no type of model has this class unless it is named
OPTIONS = (
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "add_prefix_space",
    "add_bos_token",
    "add_eos_token",
    "legacy",
    "split_special_tokens",
    "clean_up_tokenization_spaces",
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The tokenizer.json of a folder for each type of model."""
    return {name: make(tmp_path_factory.mktemp(name)) / "tokenizer.json" for name, make in MAKERS.items()}


def assert_equal_to_transformers(folder, tmp_path, texts=TEXTS):
    """AutoTokenizer on the folder, the vocabulary, and one that was stored elsewhere agree."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    vocabulary = open_vocabulary(folder)
    assert [ids.tolist() for ids in vocabulary.encode_batch(texts)] == expected
    frame = vocabulary.own_frame or Frame()
    if vocabulary.kind == "sentencepiece":  # whose file has no rules for what stands around a text
        frame = Frame(after=(vocabulary.eos_id,))
    assert tokenizer("a b")["input_ids"] == frame.around(vocabulary.encode("a b"), 100).tolist()
    assert vocabulary.prompt_prefix == frame.before
    tmp_path.mkdir(exist_ok=True)
    vocabulary.write(tmp_path)
    stored = open_vocabulary(tmp_path)
    assert stored.fingerprint == vocabulary.fingerprint
    assert [ids.tolist() for ids in stored.encode_batch(texts)] == expected
    return tokenizer, vocabulary


@st.composite
def folders(draw):
    """A type of model, its tokenizer_config.json, and what differs in a BERT's tokenizer.json."""
    kind = draw(st.sampled_from(sorted(MAKERS)))
    config = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(OPTIONS, st.booleans())))
    named = CLASSES[kind]
    if chosen := draw(
        st.sampled_from([*UNNAMED.get(kind, [None]), named, f"{named}Fast", "PreTrainedTokenizerFast"])
    ):
        config["tokenizer_class"] = chosen
    normalizer = {
        "lowercase": draw(st.booleans()),
        "strip_accents": draw(st.sampled_from([None, True, False])),
    }
    return kind, config, normalizer if kind in ("bert", "electra") else {}


@settings(deadline=None, max_examples=60, derandomize=True)
@given(drawn=folders())
def test_options_of_the_class_overrule_tokenizer_json(sources, tmp_path_factory, drawn):
    kind, config, normalizer = drawn
    description = json.loads(sources[kind].read_text())
    if normalizer:
        description["normalizer"] = description["normalizer"] | normalizer
    folder = tmp_path_factory.mktemp("folder")
    (folder / "tokenizer.json").write_text(json.dumps(description))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": MODEL_TYPES.get(kind, kind)}))
    assert_equal_to_transformers(folder, folder / "stored")


ADDED = ["<city>", "Paris", "two words", "ß!"]
SPELLED = ["in <city> and Paris, two words of Paris<city>", "Straße!ß! <CITY> two  words", *TEXTS]


@pytest.mark.parametrize("model_type", sorted(MAKERS.keys() - UNNAMED.keys()))
def test_tokens_that_a_user_added_are_tokens(model_type, tmp_path):
    source, model_type = (
        MAKERS[model_type](tmp_path / "source"),
        MODEL_TYPES.get(model_type, model_type),
    )
    (source / "config.json").write_text(json.dumps({"model_type": model_type}))
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    tokenizer.add_tokens(ADDED)
    tokenizer.add_tokens(["<sep2>"], special_tokens=True)
    tokenizer.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_text(json.dumps({"model_type": model_type}))
    tokenizer, vocabulary = assert_equal_to_transformers(tmp_path / "saved", tmp_path / "stored", SPELLED)
    assert vocabulary.size == len(tokenizer)
    assert tokenizer.convert_tokens_to_ids("<city>") in vocabulary.encode("in <city>")
    assert tokenizer.convert_tokens_to_ids("<sep2>") not in vocabulary.encode("<sep2>")
    assert tokenizer.convert_tokens_to_ids("<sep2>") in vocabulary.encode("<sep2>", parse_sentinels=True)
    assert vocabulary.decode(vocabulary.encode("<city>")).strip() == "<city>"
    for index in range(vocabulary.extra_ids):
        assert vocabulary.sentinel(index) == tokenizer.convert_tokens_to_ids(f"<extra_id_{index}>")


added_tokens = st.fixed_dictionaries(
    {"content": st.sampled_from(["<city>", "the", "The", " of", "É", "Ġthe", "##s", "日", "of the", "  "])}
    | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), st.booleans())
)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    model_type=st.sampled_from(["bert", "gpt2", "gpt_neox", "llama", "t5", "umt5"]),
    tokens=st.lists(added_tokens, min_size=1, max_size=3, unique_by=lambda token: token["content"]),
    listed_in=st.sampled_from(["added_tokens_decoder", "added_tokens.json", "tokenizer.json"]),
    gap=st.integers(0, 2),
)
def test_added_tokens_count_wherever_they_are_listed(
    sources, tmp_path_factory, model_type, tokens, listed_in, gap
):
    """Each file overrules or completes the others as the class has it, and ids follow each other."""
    folder = tmp_path_factory.mktemp("folder")
    description = json.loads(sources[model_type].read_text())
    vocab = description["model"]["vocab"]
    ids = vocab if isinstance(vocab, dict) else {piece: index for index, (piece, _) in enumerate(vocab)}
    size = gap + max(len(vocab), 1 + max(token["id"] for token in description["added_tokens"]))
    new = [token["content"] for token in tokens if token["content"] not in ids]
    places = ids | {name: size + index for index, name in enumerate(new)}
    listed = {places[token["content"]]: token | {"special": False} for token in tokens}
    config = {}
    if listed_in == "added_tokens.json":
        added = {token["content"]: index for index, token in listed.items()}
        (folder / listed_in).write_text(json.dumps(added))
    elif listed_in == "tokenizer.json":
        description["added_tokens"] += [{"id": index, **token} for index, token in listed.items()]
    else:
        config[listed_in] = listed
    (folder / "tokenizer.json").write_text(json.dumps(description))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    texts = ["in the <city> of The city Été É the theof", "of the  and  日日本<city>", " The, the; s ss"]
    assert_equal_to_transformers(folder, folder / "stored", [*texts, *SPELLED[:2]])


@pytest.fixture(scope="module")
def spiece(tmp_path_factory):
    path = tmp_path_factory.mktemp("spiece") / "spiece.model"
    train_vocabulary([*LINES, "<city> 0123456789 _"], path, size=300)
    return path


def _save_t5(spiece, folder, added):
    """What T5Tokenizer of transformers 4 writes: spiece.model, and added tokens elsewhere."""
    folder.mkdir()
    (folder / "spiece.model").write_bytes(spiece.read_bytes())
    (folder / "config.json").write_text(json.dumps({"model_type": "t5"}))
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    tokens = {index: f"<extra_id_{399 - index}>" for index in range(300, 400)} | added
    config = {
        "tokenizer_class": "T5Tokenizer",
        "extra_ids": 100,
        "added_tokens_decoder": {
            str(index): {"content": name, **flags, "special": name.startswith("<extra")}
            for index, name in tokens.items()
        },
        "additional_special_tokens": [f"<extra_id_{index}>" for index in range(100)],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "added_tokens.json").write_text(json.dumps({name: index for index, name in tokens.items()}))
    return folder


def test_a_sentencepiece_model_that_knows_every_token_is_read(spiece, tmp_path):
    folder = _save_t5(spiece, tmp_path / "folder", {})
    _, vocabulary = assert_equal_to_transformers(folder, tmp_path / "stored", [*LINES[:20], "a  b"])
    assert vocabulary.kind == "sentencepiece"


def test_a_sentencepiece_model_that_lacks_added_tokens_is_refused_with_a_remedy_that_works(spiece, tmp_path):
    folder = _save_t5(spiece, tmp_path / "folder", {400: "<city>", 401: "Paris"})
    with pytest.raises(
        DataError, match=r"does not know \(<city>, Paris\); write a tokenizer\.json"
    ) as refusal:
        open_vocabulary(folder)
    assert open_vocabulary(folder / "spiece.model").size == 400  # to do without them
    assert str(folder / "spiece.model") in str(refusal.value)
    AutoTokenizer.from_pretrained(folder, local_files_only=True).save_pretrained(folder)
    texts = ["in <city> and Paris", *LINES[:20]]
    _, vocabulary = assert_equal_to_transformers(folder, tmp_path / "stored", texts)
    assert vocabulary.sentinel_ids.tolist() == list(range(399, 299, -1))
    assert 400 in vocabulary.encode("in <city>")


def test_sentinels_with_ids_that_ascend_are_found_by_name(sources, tmp_path):
    tokenizer_json = write_bpe(tmp_path / "source", LINES, size=400)
    (tokenizer_json / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_json, local_files_only=True)
    tokenizer.add_tokens([f"<extra_id_{index}>" for index in range(5)] + ["<city>"])
    tokenizer.save_pretrained(tmp_path / "saved")
    vocabulary = open_vocabulary(tmp_path / "saved")
    expected = [tokenizer.convert_tokens_to_ids(f"<extra_id_{index}>") for index in range(5)]
    assert vocabulary.sentinel_ids.tolist() == expected == sorted(expected)
    assert len(vocabulary.text_ids) == vocabulary.size - 5
    prompt = vocabulary.encode("a <extra_id_1> b", parse_sentinels=True)
    assert vocabulary.sentinel(1) in prompt
    assert vocabulary.decode(prompt) == "a <extra_id_1> b"


@pytest.mark.parametrize(
    ("kind", "model_type", "message"),
    [
        ("gpt2", "bert", r'BertTokenizer is for a WordPiece model.*set "tokenizer_class"'),
        (
            "bert",
            "qwen2",
            r'Qwen2Tokenizer is for a BPE.*set "token.*, in a folder without config',
        ),
    ],
)
def test_a_class_that_does_not_fit_is_refused_with_a_remedy_that_works(
    kind, model_type, message, sources, tmp_path
):
    (tmp_path / "tokenizer.json").write_text(sources[kind].read_text())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(DataError, match=message):
        open_vocabulary(tmp_path)
    config = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    if "folder without" in message:
        (tmp_path / "config.json").unlink()
    assert_equal_to_transformers(tmp_path, tmp_path / "stored")


AS_THEY_ARE = [
    *("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", "PythonBackend"),
    *("BloomTokenizerFast", "FNetTokenizer", "ParakeetTokenizer"),
]
ANEW = [
    *("XLMRobertaTokenizer", "CamembertTokenizer", "MBartTokenizer", "PegasusTokenizer", "XLNetTokenizer"),
    *("BigBirdTokenizer", "RemBertTokenizer", "NllbTokenizer", "ReformerTokenizer", "CohereTokenizer"),
    *("SeamlessM4TTokenizer", "Qwen3_5TokenizerFast", "MPNetTokenizer"),
    *("OpenAIGPTTokenizer", "WhisperTokenizer", "ConvBertTokenizer", "SomebodysOwnTokenizer"),
]


def write_with_own_rules(folder: Path, config: dict[str, str], model_config: dict[str, str]) -> None:
    """A tokenizer.json with rules that no class would build."""
    write_unigram_with_sentinels(folder, sentinels=2)
    description = json.loads((folder / "tokenizer.json").read_text())
    description["normalizer"] = {"type": "Replace", "pattern": {"String": "q"}, "content": "b"}
    description["pre_tokenizer"]["prepend_scheme"] = "never"
    (folder / "tokenizer.json").write_text(json.dumps(description))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps(model_config))


RULED = ["qab q a", "aq bb", ""]


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_classes_that_take_the_file_as_it_is_are_taken_without_a_word(name, tmp_path, caplog):
    write_with_own_rules(tmp_path, {"tokenizer_class": name}, {})
    assert_equal_to_transformers(tmp_path, tmp_path / "stored", RULED)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("config", "model_config"),
    [*(({"tokenizer_class": name}, {}) for name in ANEW), ({}, {"model_type": "xlm-roberta"})],
)
def test_other_classes_are_said_with_a_remedy_that_works(config, model_config, tmp_path, caplog):
    write_with_own_rules(tmp_path, config, model_config)
    vocabulary = open_vocabulary(tmp_path)
    assert "Tokenizer may build its tokenizer anew by rules of its own" in caplog.text
    caplog.clear()
    vocabulary.write(tmp_path / "stored")
    stores = [open_vocabulary(tmp_path / "stored"), open_vocabulary(tmp_path, kind="tokenizer_json")]
    assert [store.fingerprint for store in stores] == [vocabulary.fingerprint] * 2
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    _, remedied = assert_equal_to_transformers(tmp_path, tmp_path / "again", RULED)
    assert remedied.fingerprint == vocabulary.fingerprint
    assert caplog.text == ""


def test_where_the_type_of_model_decides_alone_the_remedy_works_too(tmp_path, caplog):
    taken = {"tokenizer_class": "PreTrainedTokenizerFast"}
    write_with_own_rules(tmp_path, taken, {"model_type": "qwen3_5"})
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert type(loaded).__name__ == "Qwen3_5Tokenizer"
    vocabulary = open_vocabulary(tmp_path)
    assert "tokenizer_class Qwen3_5Tokenizer may build" in caplog.text
    assert (
        'set "tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json, in a folder without'
        in (caplog.text)
    )
    caplog.clear()
    (tmp_path / "config.json").unlink()
    _, remedied = assert_equal_to_transformers(tmp_path, tmp_path / "stored", RULED)
    assert remedied.fingerprint == vocabulary.fingerprint
    assert caplog.text == ""


@pytest.mark.parametrize("model_type", ["gpt_bigcode", "phi3", "pegasus_x"])
def test_a_type_of_model_may_take_the_file_as_it_is_whatever_class_is_named(model_type, tmp_path, caplog):
    write_with_own_rules(tmp_path, {"tokenizer_class": "T5Tokenizer"}, {"model_type": model_type})
    assert_equal_to_transformers(tmp_path, tmp_path / "stored", RULED)
    assert caplog.text == ""


@pytest.mark.parametrize(
    "config",
    [
        {"eos_token": "</s>", "bos_token": "<s>"},
        {"eos_token": "</s>", "pad_token": None},
        {"eos_token": "</s>", "bos_token": "<s>", "added_tokens_decoder": {}},
        {"added_tokens_decoder": {}, "unk_token": "<unk>"},
        None,
    ],
)
def test_special_tokens_where_the_map_says_another(config, tmp_path):
    write_bpe_with_bos(tmp_path, LINES[:5])
    says = {"eos_token": {"content": "<mask>", "lstrip": False}, "pad_token": "<s>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(says))
    if config is not None:
        config = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    vocabulary, tokenizer = open_vocabulary(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    named = (config or {}) | ({} if "added_tokens_decoder" in (config or {}) else says)
    for key in named.keys() & {"eos_token", "pad_token", "bos_token", "unk_token"}:  # others: by usual names
        expected = getattr(tokenizer, f"{key}_id")
        assert getattr(vocabulary, f"{key.removesuffix('_token')}_id") == expected, key
    assert vocabulary.pad_id == tokenizer.pad_token_id
