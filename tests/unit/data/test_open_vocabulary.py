"""Which vocabulary a path stands for, and that stores keep each kind."""

import json
import re

import numpy as np
import pytest
import sentencepiece
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from t5lite.core.errors import ConfigError, DataError
from t5lite.data.prepare import PrepareTextConfig, prepare_text, write_pair_store, write_text_store
from t5lite.data.stores.pair_store import PairStore
from t5lite.data.stores.token_store import TokenStore
from t5lite.data.vocabulary import SentencePieceVocabulary, open_vocabulary
from t5lite.data.vocabulary.special_tokens import special_tokens
from tests.small_tokenizers import write_bpe, write_wordpiece


@pytest.fixture(scope="module", params=["sentencepiece", "bytes", "wordpiece", "bpe"])
def any_vocabulary(request, tmp_path_factory, vocabulary, prose):
    folder = tmp_path_factory.mktemp("any")
    match request.param:
        case "sentencepiece":
            return vocabulary
        case "bytes":
            return open_vocabulary("bytes")
        case "wordpiece":
            return open_vocabulary(write_wordpiece(folder, prose(100, seed=0)))
        case _:
            return open_vocabulary(write_bpe(folder, prose(100, seed=0)))


def test_what_was_written_opens_equal(any_vocabulary, tmp_path):
    any_vocabulary.write(tmp_path)
    again = open_vocabulary(tmp_path)
    assert type(again) is type(any_vocabulary)
    assert (again.fingerprint, again.size) == (any_vocabulary.fingerprint, any_vocabulary.size)
    main = tmp_path / next(iter(again.files))
    assert open_vocabulary(main).fingerprint == any_vocabulary.fingerprint
    assert open_vocabulary(tmp_path, kind=again.kind).fingerprint == any_vocabulary.fingerprint


def test_stores_keep_it(any_vocabulary, tmp_path, prose):
    texts = prose(20, seed=3)
    write_text_store(texts, any_vocabulary, tmp_path / "text")
    store = TokenStore.open(tmp_path / "text", any_vocabulary.fingerprint)
    again = store.vocabulary()
    assert again.fingerprint == any_vocabulary.fingerprint
    assert [again.decode(store.document(i)) for i in range(3)] == [
        any_vocabulary.decode(any_vocabulary.encode(text)) for text in texts[:3]
    ]
    write_pair_store(zip(texts, texts, strict=True), any_vocabulary, tmp_path / "pairs")
    assert PairStore.open(tmp_path / "pairs").vocabulary().fingerprint == any_vocabulary.fingerprint


def test_a_store_from_before_there_were_kinds_is_read(vocabulary, tmp_path, prose):
    write_text_store(prose(5, seed=1), vocabulary, tmp_path / "old")
    index = json.loads((tmp_path / "old" / "index.json").read_text())
    del index["vocabulary"]["kind"], index["index_crc32"]
    (tmp_path / "old" / "index.json").write_text(json.dumps(index))
    assert TokenStore.open(tmp_path / "old").vocabulary().fingerprint == vocabulary.fingerprint
    index["vocabulary"]["kind"] = "words"
    (tmp_path / "old" / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="is damaged"):
        TokenStore.open(tmp_path / "old")


def test_prepare_takes_every_kind(any_vocabulary, tmp_path, prose):
    (tmp_path / "text.txt").write_text("\n\n".join(prose(40, seed=4)))
    any_vocabulary.write(tmp_path / "given")
    given = "bytes" if any_vocabulary.kind == "bytes" else str(tmp_path / "given")
    config = PrepareTextConfig(
        inputs=(str(tmp_path / "text.txt"),),
        output=str(tmp_path / "out"),
        vocabulary=given,
        heldout_fraction=0.2,
    )
    report = prepare_text(config)
    assert report["vocabulary"]["kind"] == any_vocabulary.kind
    assert (tmp_path / "out" / "vocabulary" / report["vocabulary"]["file"]).is_file()
    train = TokenStore.open(tmp_path / "out" / "train", any_vocabulary.fingerprint)
    assert train.num_documents == report["stores"]["train"]["examples"]


def test_a_folder_of_byt5_is_bytes(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "ByT5Tokenizer", "extra_ids": 7})
    )
    vocabulary = open_vocabulary(tmp_path)
    assert (vocabulary.kind, vocabulary.extra_ids) == ("bytes", 7)


def test_a_folder_without_a_vocabulary(tmp_path):
    with pytest.raises(DataError, match="has no vocabulary"):
        open_vocabulary(tmp_path)


def _with_own_sentinels(vocabulary: SentencePieceVocabulary, count: int) -> bytes:
    """Append user-defined pieces to the serialized model, as mT5's has them: field 1 of the message."""
    content = vocabulary.model_bytes
    for index in reversed(range(count)):
        name = f"▁<extra_id_{index}>".encode()
        piece = bytes([0x0A, len(name)]) + name + b"\x15" + np.float32(0).tobytes() + b"\x18\x04"
        content += bytes([0x0A, len(piece)]) + piece
    return content


def test_a_model_with_sentinels_of_its_own_gets_no_others(vocabulary, tmp_path):
    path = tmp_path / "own.model"
    path.write_bytes(_with_own_sentinels(vocabulary, 5))
    own = SentencePieceVocabulary(path)
    assert (own.extra_ids, own.size) == (5, 155)
    assert own.has_own_sentinels
    assert not vocabulary.has_own_sentinels
    ids = own.encode("bake <extra_id_1> limo", parse_sentinels=True)
    assert own.sentinel(1) == 153
    assert 153 in ids
    assert own.decode(ids) == "bake <extra_id_1> limo"
    assert SentencePieceVocabulary(path, 0).fingerprint == SentencePieceVocabulary(path, 5).fingerprint
    with pytest.raises(ConfigError, match=r"extra_ids=100, but .* has 5 sentinels among its pieces"):
        SentencePieceVocabulary(path, 100)


def test_a_model_of_other_conventions_is_read_from_the_tokenizer_json_beside_it(tmp_path, prose):
    train = sentencepiece.SentencePieceTrainer.train
    train(
        sentence_iterator=iter(prose(100, seed=0)),
        model_prefix=str(tmp_path / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    refusal = (
        rf"pad, EOS ids \(-1, 2\), .*from_pretrained\('{tmp_path}'\).*--vocabulary {tmp_path}/tokenizer.json"
    )
    with pytest.raises(DataError, match=refusal):
        open_vocabulary(tmp_path)
    write_bpe(tmp_path, prose(100, seed=0))
    assert open_vocabulary(tmp_path).kind == "tokenizer_json"
    with pytest.raises(DataError, match=refusal):
        open_vocabulary(tmp_path / "spiece.model")


def test_a_tokenizer_without_mask_names_it_and_a_remedy_that_works(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}, unk_token="[UNK]"))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(tmp_path)
    lacking = {"mask_token": "[MASK]"}
    with pytest.raises(ConfigError, match=re.escape(f"add_special_tokens({lacking})")) as refusal:
        special_tokens(open_vocabulary(tmp_path))
    assert "has no [MASK], and too few" in str(refusal.value)
    assert "extra_ids of" not in str(refusal.value)
    fast.add_special_tokens(lacking)
    fast.save_pretrained(tmp_path)
    assert special_tokens(open_vocabulary(tmp_path)) == (4, 1, 2)
