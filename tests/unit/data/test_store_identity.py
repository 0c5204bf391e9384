"""A copy, a link and another spelling of the path are the same store; the same sizes are not enough."""

import shutil

import pytest

from t5lite.core.errors import DataError
from t5lite.data.prepare import write_pair_store, write_text_store
from t5lite.data.stores.store_identity import store_identity


@pytest.mark.parametrize("kind", ["text_store", "pair_store"])
def test_a_store_is_the_same_wherever_it_lies(kind, request, tmp_path):
    store = request.getfixturevalue(kind)
    shutil.copytree(store, tmp_path / "copy")
    (tmp_path / "link").symlink_to(store)
    for other in (store, f"{store}/", tmp_path / "copy", tmp_path / "link", f"file://{store}"):
        assert store_identity(str(other)) == store_identity(str(store))


def test_other_tokens_and_other_documents_are_another_store(tmp_path, vocabulary, text_store, pair_store):
    texts = {"a": ["ba ke", "ba"], "swapped": ["ke ba", "ba"], "joined": ["ba", "ke ba"]}
    pairs = {"pairs": [("ba", "ke")], "other inputs": [("ke", "ke")], "other targets": [("ba", "ba")]}
    for name, each in texts.items():
        write_text_store(each, vocabulary, tmp_path / name)
    for name, each in pairs.items():
        write_pair_store(each, vocabulary, tmp_path / name)
    stores = [str(tmp_path / name) for name in (*texts, *pairs)] + [str(text_store), str(pair_store)]
    assert len({store_identity(store) for store in stores}) == len(stores)


def test_what_is_not_there_is_no_store(tmp_path):
    with pytest.raises(DataError, match=r"index\.json"):
        store_identity(str(tmp_path / "gone"))
