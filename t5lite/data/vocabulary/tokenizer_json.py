"""Any tokenizer in Hugging Face's ``tokenizer.json``: BERT's WordPiece, the BPE of GPT-2, and so on."""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cached_property
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np

from t5lite.core.errors import ConfigError, DataError, UserError
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.data.vocabulary.base import USUAL_NAMES, SpecialToken, Vocabulary, VocabularyKind
from t5lite.data.vocabulary.chat_templates import CHAT_TEMPLATE, further_files, kept, templates
from t5lite.data.vocabulary.json_files import TOKENIZER_CONFIG, json_object, read_file
from t5lite.data.vocabulary.lost_characters import LostCharacters
from t5lite.data.vocabulary.tokenizer_classes import (
    AS_IT_IS,
    Json,
    added_tokens,
    additional_special_tokens,
    as_it_is_remedy,
    as_loaded,
    class_of,
    dropout_caveat,
    is_known,
    pieces,
    rules,
    special_names,
    with_hidden,
    without_dropout,
)
from t5lite.data.vocabulary.tokenizer_frames import frame, separators

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONFIG_FILES = (TOKENIZER_CONFIG, "special_tokens_map.json")
ADDED_FILE = "added_tokens.json"
_MODEL_CONFIG = "config.json"
_MAX_SIZE = 1 << 24
_OF_ANOTHER_STRUCTURE = (AttributeError, LookupError, TypeError, ValueError)
_EMPTY_MODEL = {"type": "WordLevel", "vocab": {}, "unk_token": ""}
_DROPPED: tuple[SpecialToken, ...] = ("pad", "eos", "bos", "cls", "sep")


class TokenizerJsonVocabulary(Vocabulary):
    """A ``tokenizer.json``, read by the ``tokenizers`` library (``pip install 't5lite[tokenizers]'``).

    Which tokens are pad, EOS, and so on is said by tokenizer_config.json or special_tokens_map.json beside
    it; a token that neither mentions is looked for by its usual names, such as ``[PAD]`` and ``<pad>``. One
    that is not there stays None: BERT has CLS and SEP and no EOS, GPT-2 has an EOS and no pad. Sentinels are
    the tokens ``<extra_id_i>``, from ``<extra_id_0>`` on without a gap, wherever their ids are.

    The ids of a text are those of ``AutoTokenizer`` of transformers 5 on the same folder, unless the text
    spells a special token: where its class builds a tokenizer anew from tokenizer_config.json (BERT's,
    GPT-2's, Llama's, T5's), that is what counts, and not tokenizer.json. Tokens that were added and are not
    special are tokens. The class is named by tokenizer_config.json, or follows from the model's config.json;
    ``files`` names it in any case. Of a class whose rules are not known here, tokenizer.json counts, and
    ``caveat`` says so.

    Attributes:
      special_tokens: the names of those special tokens that there are.
      additional_special_tokens: the names of further ones that tokenizer_config.json lists, or
        special_tokens_map.json; tokenizer.json may not flag them as special.

    Padding, truncation and special tokens that the file would add to a text are left out: adding them is
    up to the objectives. The special tokens are ``own_frame``.

    Args:
      path: the ``tokenizer.json``.
      extra_ids: the number of sentinels it must have; None accepts any.

    Raises:
      UserError: if the ``tokenizers`` library is missing.
      DataError: if a file is missing or damaged, or names a special token that tokenizer.json does not have.
      ConfigError: if ``extra_ids`` is another number than it has.
    """

    kind: ClassVar[VocabularyKind] = "tokenizer_json"
    FILE: ClassVar[str] = "tokenizer.json"
    FILES: ClassVar[tuple[str, ...]] = (FILE, *_CONFIG_FILES, ADDED_FILE, CHAT_TEMPLATE)

    def __init__(self, path: str | os.PathLike[str], extra_ids: int | None = None):
        self.path = place(path)
        contents = {self.FILE: read_file(self.path)}
        for name in self.FILES[1:]:
            if (self.path.parent / name).is_file():
                contents[name] = read_file(self.path.parent / name)
        contents = _with_further_templates(contents, self.path)
        with _said_as_damage(self.path):
            self._build(contents, extra_ids)

    def _build(self, contents: Mapping[str, bytes], extra_ids: int | None) -> None:
        written = json_object(contents[self.FILE], self.path)
        caveats = (_caveat(contents, written, self.path), dropout_caveat(written, self.path))
        self.caveat = "; ".join(filter(None, caveats))
        self.files = _naming_its_class(contents, written, self.path)
        as_in_file = dict(written)  # those of a class that takes the file get other added tokens now
        description = _as_loaded(self.files, written, self.path)
        there = pieces(description)
        config = _options(self.files, self.path)
        of_class = special_names(class_of(config, {}, written))
        self.special_tokens = _special_tokens(config, of_class, there, self.path)
        listed = additional_special_tokens(config)
        self.additional_special_tokens = tuple(name for name in dict.fromkeys(listed) if name in there)
        named = {*self.special_tokens.values(), *_sentinels(there), *self.additional_special_tokens}
        hidden = _hidden_names(description, named)
        self._tokenizer = _load(with_hidden(description, hidden), self.path)
        self._tokenizer.encode_special_tokens = True  # as ordinary text, that is
        shown = {new: old for old, new in hidden.items()}
        ids = {shown.get(n, n): i for n, i in self._tokenizer.get_vocab(with_added_tokens=True).items()}
        self.size = max(ids.values(), default=-1) + 1
        if self.size > _MAX_SIZE:
            raise DataError(f"{self.path} has the id {self.size - 1}; allowed: up to {_MAX_SIZE - 1}")
        self.sentinel_ids = np.array([ids[name] for name in _sentinels(ids)], np.int32)
        if extra_ids not in (None, self.extra_ids):
            raise ConfigError(
                f"extra_ids={extra_ids}, but {self.path} has {self.extra_ids} sentinels; sentinels cannot be "
                "added to a tokenizer.json: leave extra_ids out"
            )
        specials = {token: ids[name] for token, name in self.special_tokens.items()}
        for token, index in specials.items():
            setattr(self, f"{token}_id", index)
        self.own_frame, self.own_separators = frame(self._tokenizer), separators(self._tokenizer)
        names = (self.special_tokens.get(token) for token in _DROPPED)
        self._dropped = {ids[name] for name in names if name in hidden}  # others stand in texts
        known = {*self.special_tokens.values(), *_sentinels(there)}
        other_rules = _other_rules(written, description, hidden, self.path)
        other_rules += _other_names(as_in_file, hidden.keys() - known)

        def digest(specials: Mapping[str, int]) -> str:
            said = json.dumps(specials, sort_keys=True).encode()
            return hashlib.sha256(b"tokenizer_json\0" + contents[self.FILE] + said + other_rules).hexdigest()

        self.fingerprint = digest(specials)
        # An older version knew no names that a class gives.
        usual = _special_tokens(config, {}, there, self.path)
        earlier = {token: ids[name] for token, name in usual.items()}
        named = {*usual.values(), *_sentinels(there), *self.additional_special_tokens}
        cuts_alike = _hidden_names(description, named) == hidden
        if cuts_alike and _only_names_more(specials, earlier, extra_ids=self.extra_ids):
            self.earlier_fingerprint = digest(earlier)

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenizerJsonVocabulary, (self.path, self.extra_ids)

    @property
    def takes_extra_ids(self) -> bool:
        """False: sentinels are named in the file."""
        return False

    def token_text(self, token: int) -> str:
        """Return the token as the file has it; empty where it has none."""
        return self._parsing_tokenizer.id_to_token(token) or ""

    def encode(self, text: str, *, parse_sentinels: bool = False) -> np.ndarray:
        """Return the ids of ``text``."""
        tokenizer = self._parsing_tokenizer if parse_sentinels else self._tokenizer
        return np.asarray(tokenizer.encode(text, add_special_tokens=False).ids, np.int32)

    def encode_batch(self, texts: Sequence[str], num_threads: int | None = None) -> list[np.ndarray]:
        """Return the ids of each text.

        The library knows one thread (``num_threads=1``) or as many as its environment variable
        RAYON_NUM_THREADS says, by default all cores.
        """
        if num_threads == 1:
            return [self.encode(text) for text in texts]
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.asarray(encoding.ids, np.int32) for encoding in encoded]

    def encode_with_offsets(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of ``text``, and where each begins, as the library keeps account of it."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        begins = np.array([begin for begin, _ in encoding.offsets], np.int64)
        return np.asarray(encoding.ids, np.int32), np.maximum.accumulate(begins)

    def decode(self, ids: Iterable[int] | np.ndarray) -> str:
        """Return the text of ``ids``; ids beyond the vocabulary become UNK, or vanish where there is none."""
        kept = [token for token in map(int, ids) if token not in self._dropped]
        if self.unk_id is not None and self.unk_id not in self._dropped:
            kept = [token if 0 <= token < self.size else self.unk_id for token in kept]
        return self._parsing_tokenizer.decode(
            [token for token in kept if 0 <= token < self.size], skip_special_tokens=False
        )

    def num_open(self, ids: Sequence[int]) -> int:
        """Return how many ids the bytes at the end are, which one that is amiss makes no characters."""
        num_open = 0
        for number, token in enumerate(reversed(ids), 1):
            if token in self._byte_ids:
                num_open = number
            elif token not in self._dropped:
                break
        return num_open

    @cached_property
    def _byte_ids(self) -> frozenset[int]:
        """The ids of bytes, where runs of them are decoded as one (``ByteFallback``)."""
        decoder = json.dumps(json.loads(self.rules).get("decoder"))
        if '"ByteFallback"' not in decoder:
            return frozenset()
        ids = (self._parsing_tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
        return frozenset(token for token in ids if token is not None)

    @cached_property
    def loses_characters(self) -> bool:
        """Whether there are characters that leave no trace."""
        return self._lost.are_possible

    def num_lost(self, text: str) -> int:
        """Return how many characters of ``text`` no token stands for, each looked at by itself."""
        return self._lost.count(text)

    @cached_property
    def _lost(self) -> LostCharacters:
        return LostCharacters(self._is_lost)

    def _is_lost(self, char: str) -> bool:
        normalizer = self._tokenizer.normalizer
        if char.isspace() or (normalizer is not None and not normalizer.normalize_str(char).strip()):
            return False
        return not self.decode(self.encode(char)).strip()

    @property
    def known_ids(self) -> np.ndarray:
        """Array bool [size], true of the ids that the file names."""
        known = np.zeros(self.size, bool)
        known[list(self._tokenizer.get_vocab(with_added_tokens=True).values())] = True
        return known

    def _continuations(self) -> list[bool]:
        model = json.loads(self.files[self.FILE])["model"]
        names = [self._parsing_tokenizer.id_to_token(token) or "" for token in range(self.size)]
        if model.get("type") == "WordPiece":
            prefix = model.get("continuing_subword_prefix") or "##"
            return [name.startswith(prefix) for name in names]
        # The others mark the space before a word: byte-level BPE by Ġ (a letter to Python), Unigram by ▁.
        return [name[:1].isalnum() and not name.startswith("Ġ") for name in names]

    @property
    def rules(self) -> str:
        """The tokenizer.json by which texts are cut, without padding and truncation."""
        return self._parsing_tokenizer.to_str()

    @cached_property
    def _parsing_tokenizer(self) -> "Tokenizer":
        """The tokenizer to which special tokens and sentinels are what they are called."""
        written = json_object(self.files[self.FILE], self.path)
        return _load(_as_loaded(self.files, written, self.path), self.path)

    def _special_remedy(self, token: SpecialToken) -> str:
        return f", or name its {token}_token in tokenizer_config.json and prepare the text again"


@contextmanager
def _said_as_damage(path: StoragePath) -> Iterator[None]:
    """Turn what a file of another structure brings about into a DataError."""
    try:
        yield
    except BaseException as error:
        # A panic of the library in Rust is a BaseException whose class no module has.
        if not isinstance(error, _OF_ANOTHER_STRUCTURE) and type(error).__name__ != "PanicException":
            raise
        raise DataError(
            f"{path}, with the files beside it, is not a usable tokenizer.json ({error!r}); fetch all again"
        ) from error


def _with_further_templates(contents: dict[str, bytes], path: StoragePath) -> dict[str, bytes]:
    """Return the files with chat templates that lie in a folder beside them, where files have no folders."""
    if not (names := further_files(path.parent)):
        return contents
    config, further = _config(contents, path), {name: read_file(path.parent / name) for name in names}
    own_file, said = kept(templates({**contents, **further}, config))
    others = {name: content for name, content in contents.items() if name != CHAT_TEMPLATE}
    return {**others, _CONFIG_FILES[0]: _written(config | said), **own_file}


def _written(config: Json) -> bytes:
    """Return the content of a tokenizer_config.json."""
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "surrogatepass")


def _config(contents: Mapping[str, bytes], path: StoragePath) -> Json:
    """Return tokenizer_config.json, an empty dict where there is none."""
    name = _CONFIG_FILES[0]
    return json_object(contents[name], path.parent / name) if name in contents else {}


def _options(contents: Mapping[str, bytes], path: StoragePath) -> Json:
    """Return tokenizer_config.json as classes get it: with what special_tokens_map.json names instead.

    The latter is read only where the former lists no added tokens, as those of older transformers do not.
    """
    config, name = _config(contents, path), _CONFIG_FILES[1]
    if name not in contents:
        return config
    named = json_object(contents[name], path.parent / name)
    if "added_tokens_decoder" in config:
        return config
    listed = list(dict.fromkeys([*additional_special_tokens(config), *additional_special_tokens(named)]))
    said = {key: value for key, value in named.items() if key.endswith("_token")}
    return config | said | ({"additional_special_tokens": listed} if listed else {})


def _model_config(path: StoragePath) -> Json:
    """Return the config.json of the model beside a tokenizer.json, an empty dict where there is none."""
    beside = path.parent / _MODEL_CONFIG
    return json_object(read_file(beside), beside) if beside.is_file() else {}


def _caveat(contents: Mapping[str, bytes], written: Json, path: StoragePath) -> str:
    """Return what to say of a class whose rules are not known here."""
    model_config = _model_config(path)
    name = class_of(_config(contents, path), model_config, written)
    if is_known(name):
        return ""
    return (
        f"tokenizer_class {name} may build its tokenizer anew by rules of its own, in transformers 5, but "
        f"{path} is taken as it is, so that ids may differ; compare some, and where the file is right set "
        f"{as_it_is_remedy(model_config)}, by which transformers takes it so too"
    )


def _naming_its_class(contents: Mapping[str, bytes], written: Json, path: StoragePath) -> Mapping[str, bytes]:
    """Return the files with a tokenizer_config.json that names the class that ``AutoTokenizer`` takes.

    A store and a run have no config.json of the model, from which it may follow. Instead of a class whose
    rules are not known here, the one is named that takes the file as it is, as is done with it.
    """
    config, model_config = _config(contents, path), _model_config(path)
    name = class_of(config, model_config, written)
    name = name if is_known(name) else AS_IT_IS
    if class_of(config, {}, written) == name:
        return contents
    return {**contents, _CONFIG_FILES[0]: _written({**config, "tokenizer_class": name})}


def _as_loaded(contents: Mapping[str, bytes], written: Json, path: StoragePath) -> Json:
    """Return the tokenizer.json that the class of transformers makes of the files."""
    config = _options(contents, path)
    added = json_object(contents[ADDED_FILE], path.parent / ADDED_FILE) if ADDED_FILE in contents else {}
    name = class_of(config, {}, written)
    try:
        loaded = as_loaded(written, name, config)
        loaded |= {"added_tokens": added_tokens(written, name, config, added)}
        pieces(loaded)  # which must be there
    except ValueError as error:
        raise DataError(
            f"{path} cannot be used: {error}; set {as_it_is_remedy(_model_config(path))}, by which the file "
            "is taken as it is"
        ) from error
    return loaded


def _sentinels(names: Collection[str]) -> list[str]:
    return list(takewhile(names.__contains__, (f"<extra_id_{index}>" for index in count())))


def _hidden_names(description: Json, named: Collection[str]) -> dict[str, str]:
    """Return what special tokens and sentinels are called where a text cannot spell them.

    Left alone, the library cuts them out of a text as added tokens, or finds them among the pieces of its
    model. No pre-tokenizer leaves a space within a word. A single character that someone made a special
    token, such as GPT-2's ``!`` for padding, stays what it is: without it, texts could not be said.
    """
    added = (token["content"] for token in description["added_tokens"] if token.get("special"))
    return {name: f" \0{name}\0 " for name in (*named, *added) if len(name) > 1}


def _other_rules(description: Json, loaded: Json, hidden: Mapping[str, str], path: StoragePath) -> bytes:
    """Return by which rules a text is cut if not by those of tokenizer.json: a part of the fingerprint."""
    found = rules(_written_out(loaded, path), hidden)
    if found == rules(_written_out(description, path), hidden):
        return b""
    return json.dumps(found, sort_keys=True).encode()


def _other_names(description: Json, names: Set[str]) -> bytes:
    """Return which of its tokens no text can spell though tokenizer.json flags them not: as the rules."""
    added = description.get("added_tokens") or []
    flagged = {token["content"] for token in added if token.get("special")}
    found = (pieces(description | {"added_tokens": added}) & names) - flagged
    return json.dumps(sorted(found)).encode() if found else b""


def _written_out(description: Json, path: StoragePath) -> Json:
    """Return a tokenizer.json with its normalizer and pre-tokenizer as the library writes them."""
    steps = {key: description.get(key) for key in ("normalizer", "pre_tokenizer")}
    without_model = {"version": "1.0", "added_tokens": [], "model": _EMPTY_MODEL, **steps}
    written = json.loads(_load(without_model, path).to_str())
    return description | {key: written[key] for key in steps}


def _load(description: Json, path: StoragePath) -> "Tokenizer":
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UserError(
            f"reading {path} needs the tokenizers library; pip install 't5lite[tokenizers]'"
        ) from error
    try:
        tokenizer = Tokenizer.from_str(json.dumps(without_dropout(description), ensure_ascii=False))
    except Exception as error:  # the library raises plain Exceptions
        raise DataError(f"{path} is not a usable tokenizer.json ({error}); fetch it again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _special_tokens(
    named: Json,
    of_class: Mapping[str, Sequence[str]],
    names: Collection[str],
    path: StoragePath,
) -> dict[SpecialToken, str]:
    """Return the names of the special tokens that there are: as the files say, the class, or as usual."""
    specials: dict[SpecialToken, str] = {}
    for token in get_args(SpecialToken):
        key = f"{token}_token"
        candidates = (*of_class.get(token, ()), *USUAL_NAMES[token])
        usual = next((name for name in candidates if name in names), None)
        name = named.get(key, usual)
        name = name.get("content") if isinstance(name, dict) else name
        if name is None:
            continue
        if not isinstance(name, str) or name not in names:
            raise DataError(
                f"{path.parent / _CONFIG_FILES[0]} names the {key} {name!r}, which {path} does not have; "
                "save both again with transformers' save_pretrained, or correct the name"
            )
        specials[token] = name
    return specials


def _only_names_more(specials: Mapping[str, int], earlier: Mapping[str, int], *, extra_ids: int) -> bool:
    """Whether special tokens are those that there were, and others that changed no row of any store.

    What stood for [CLS], [SEP] and [MASK] where an encoder-only model could do without would be another.
    """
    added = specials.keys() - earlier.keys()
    had_stand_ins = extra_ids > 0 or "cls" in earlier
    return earlier.items() < specials.items() and not (had_stand_ins and added & {"cls", "sep", "mask"})
