"""What transformers' classes make of a tokenizer.json.

Most classes of transformers 5 take the pieces and merges of a tokenizer.json, and build the rest anew from
the options of tokenizer_config.json, so that these overrule the file: a BERT tokenizer without
``do_lower_case`` there lowers case whatever tokenizer.json says. Those of the models here are built alike;
a few take the file as it is. Added tokens have their own rules. Everything here is about plain JSON values,
so that neither library is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from t5lite.data.vocabulary.tokenizer_model_types import NAMED_IN_VAIN, REGISTERED

Json = dict[str, Any]

AS_IT_IS = "PreTrainedTokenizerFast"
"""The class that every version of transformers has for a tokenizer.json that is taken as it is."""
_SAME = (
    *(AS_IT_IS, "PreTrainedTokenizer", "PythonBackend", "TokenizersBackend"),
    *("BloomTokenizer", "FNetTokenizer", "ParakeetTokenizer"),
)


def class_of(config: Json, model_config: Json, description: Json) -> str | None:
    """Return the class that ``AutoTokenizer`` loads, None where no file says one.

    One that takes a tokenizer.json as it is goes by the name ``AS_IT_IS``.

    Args:
      config: tokenizer_config.json.
      model_config: config.json.
      description: tokenizer.json.
    """
    named = config.get("tokenizer_class") or model_config.get("tokenizer_class")
    name = named if named in (None, AS_IT_IS) else str(named).removesuffix("Fast")
    model_type = str(model_config.get("model_type"))
    registered = REGISTERED.get(model_type)
    name = registered if name is None or model_type in NAMED_IN_VAIN else name
    if name in _SAME or registered in _SAME:
        return AS_IT_IS
    # Llama 3 has the bytes of GPT-2 under the class of Llama 2, which knows none.
    byte_level = any(_has_byte_level(description.get(key)) for key in ("pre_tokenizer", "decoder"))
    return AS_IT_IS if name == "LlamaTokenizer" and byte_level else name


def is_known(name: str | None) -> bool:
    """Whether ``as_loaded`` does what the class does, and not what any other class might."""
    return name in (None, AS_IT_IS) or name in _REBUILT


def as_it_is_remedy(model_config: Json) -> str:
    """Return what makes ``AutoTokenizer`` take a tokenizer.json as it is, as the rest of "set …"."""
    apart = ", in a folder without config.json" if model_config.get("model_type") in NAMED_IN_VAIN else ""
    return f'"tokenizer_class": "{AS_IT_IS}" in tokenizer_config.json{apart}'


def class_in_place_of(description: Json, config: Json, model_type: str) -> str | None:
    """Return the class that ``AutoTokenizer`` takes for a type of model whatever class the files name.

    None where it takes the named one, or the other has the same rules.
    """
    registered = class_of(config, {"model_type": model_type}, description)
    if model_type not in NAMED_IN_VAIN or registered == class_of(config, {}, description):
        return None
    try:
        rebuilt = as_loaded(description, registered, config)
    except ValueError:
        return registered
    return None if rules(rebuilt, {}) == rules(description, {}) else registered


def as_loaded(description: Json, name: str | None, config: Json) -> Json:
    """Return the tokenizer.json that the class ``name`` builds; added tokens are left to ``added_tokens``.

    Raises:
      ValueError: if the class cannot be built on the model of this tokenizer.json.
    """
    if name not in _REBUILT:
        return description
    kind, rebuild = _REBUILT[name]
    model = description["model"]
    if model.get("type", kind) != kind:
        raise ValueError(
            f"tokenizer_class {name} is for a {kind} model, but tokenizer.json has a {model['type']} model"
        )
    return description | rebuild(description, config)


def added_tokens(description: Json, name: str | None, config: Json, added: Json) -> list[Json]:
    """Return the added tokens, as a tokenizer.json has them, in the order in which they get their ids.

    Args:
      description: tokenizer.json; its own ones count unless the class builds it anew from a
        tokenizer_config.json that lists them.
      name: the class.
      config: tokenizer_config.json, whose ``added_tokens_decoder`` has the last word.
      added: added_tokens.json, which counts where tokenizer_config.json lists none: ids by token.
    """
    own = {int(token["id"]): token for token in description.get("added_tokens") or []}
    if "added_tokens_decoder" in config:
        listed = {int(index): token for index, token in config["added_tokens_decoder"].items()}
        tokens = [] if name in _REBUILT else [own[index] for index in sorted(own)]
    else:
        listed = {int(index): {"content": token} for token, index in added.items()} | own
        tokens = []
    tokens += [_DEFAULT_FLAGS | listed[index] | {"id": index} for index in sorted(listed)]
    return list({token["content"]: token for token in tokens}.values())


def additional_special_tokens(config: Json) -> list[str]:
    """Return the names of special tokens that tokenizer_config.json lists besides pad, EOS, and so on."""
    listed = [config.get(key) for key in ("additional_special_tokens", "extra_special_tokens")]
    tokens = [token for each in listed if isinstance(each, list) for token in each]
    tokens += [token for each in listed if isinstance(each, dict) for token in each.values()]
    names = [token.get("content") if isinstance(token, dict) else token for token in tokens]
    return [name for name in names if isinstance(name, str)]


def pieces(description: Json) -> set[str]:
    """Return the names of all tokens."""
    vocab = description["model"]["vocab"]
    own = (piece for piece, _ in vocab) if isinstance(vocab, list) else vocab
    return {*own, *(token["content"] for token in description["added_tokens"])}


def with_hidden(description: Json, hidden: Mapping[str, str]) -> Json:
    """Return the tokenizer.json with tokens under other names, and without the merges that make them.

    Args:
      description: the file.
      hidden: new names by old; such tokens are special.
    """
    model = dict(description["model"])
    if isinstance(model["vocab"], list):
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in model["vocab"]]
    else:
        model["vocab"] = {hidden.get(piece, piece): index for piece, index in model["vocab"].items()}
    if model.get("unk_token") is not None:
        model["unk_token"] = hidden.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if not _makes(merge, hidden)]
    tokens = [
        token | {"content": hidden[token["content"]], "special": True}
        if token["content"] in hidden
        else token
        for token in description["added_tokens"]
    ]
    return description | {"model": model, "added_tokens": tokens}


def _makes(merge: str | list[str], names: Mapping[str, str]) -> bool:
    """Whether a merge has to do with one of the tokens."""
    pair = merge.split(" ") if isinstance(merge, str) else merge
    return not names.keys().isdisjoint((*pair, "".join(pair)))


def without_dropout(description: Json) -> Json:
    """Return the tokenizer.json with a BPE that cuts a text in one way."""
    model = description["model"]
    return description | {"model": model | {"dropout": None}} if model.get("dropout") else description


def dropout_caveat(description: Json, path: object) -> str:
    """Return what to say of a BPE that cuts at random, empty if it does not."""
    if not (dropout := description["model"].get("dropout")):
        return ""
    return f"{path} has a dropout of {dropout}, by which merges are left out at random; it is taken as 0"


def rules(description: Json, hidden: Mapping[str, str]) -> Json:
    """Return what decides about the ids of a text besides pieces and merges, equal for equal rules."""
    model = {key: value for key, value in description["model"].items() if key not in ("vocab", "merges")}
    tokens = [token for token in description.get("added_tokens") or [] if token["content"] not in hidden]
    steps = {key: description.get(key) for key in ("normalizer", "pre_tokenizer")}
    return _without_defaults({"model": model, "added_tokens": tokens, **steps})


_DEFAULT_FLAGS = {
    **dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), False),
    "normalized": True,
}


def _has_byte_level(component: Any) -> bool:
    """Whether a component of a tokenizer.json is of type ByteLevel, or holds one."""
    if isinstance(component, dict):
        return component.get("type") == "ByteLevel" or any(map(_has_byte_level, component.values()))
    return isinstance(component, list) and any(map(_has_byte_level, component))


def _without_defaults(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _without_defaults(item) for key, item in value.items() if key != "trim_offsets"}
        return {key: item for key, item in kept.items() if item not in (None, False, "", [], {})}
    return [_without_defaults(item) for item in value] if isinstance(value, list) else value


def special_names(name: str | None) -> Mapping[str, tuple[str, ...]]:
    """Return what a class calls its special tokens ("cls", …) where no file says."""
    return {token: (named,) for token, named in _NAMES.get(name or "", {}).items()}


def template(
    before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]], *, second_type: int = 0
) -> Json:
    """Return the post-processor that puts tokens before a first text and after each.

    Args:
      before: names and ids.
      after: names and ids.
      second_type: the token type of the second text of a pair.
    """

    def token(name: str, type_id: int) -> Json:
        return {"SpecialToken": {"id": name, "type_id": type_id}}

    def text(letter: str, type_id: int) -> list[Json]:
        sequence = {"Sequence": {"id": letter, "type_id": type_id}}
        return [sequence, *(token(name, type_id) for name, _ in after)]

    single = [*(token(name, 0) for name, _ in before), *text("A", 0)]
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, *text("B", second_type)],
        "special_tokens": {
            name: {"id": name, "ids": [index], "tokens": [name]} for name, index in (*before, *after)
        },
    }


def _named(description: Json, config: Json, name: str, *tokens: str) -> list[tuple[str, int]] | None:
    """Return names and ids of special tokens of a class; None where one is not there."""
    vocab = description["model"]["vocab"]
    ids = vocab if isinstance(vocab, dict) else {piece: index for index, (piece, _) in enumerate(vocab)}
    ids = ids | {token["content"]: int(token["id"]) for token in description.get("added_tokens") or []}
    named = []
    for token in tokens:
        said = config.get(f"{token}_token", _NAMES[name][token])
        said = said.get("content") if isinstance(said, dict) else said
        if said not in ids:
            return None
        named.append((said, ids[said]))
    return named


def _bert(description: Json, config: Json) -> Json:
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
        "strip_accents": config.get("strip_accents"),
        "lowercase": config.get("do_lower_case", True),
    }
    model = description["model"] | {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    framing = _named(description, config, "BertTokenizer", "cls", "sep")
    return {
        "post_processor": template(framing[:1], framing[1:], second_type=1) if framing else None,
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": model,
    }


def _gpt2(description: Json, config: Json) -> Json:
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    prefixed = {"add_prefix_space": config.get("add_prefix_space", False)}
    return {
        "normalizer": None,
        "pre_tokenizer": byte_level | prefixed,
        "decoder": byte_level | {"add_prefix_space": True},
        "model": description["model"] | _PLAIN_BPE,
    }


def _roberta(description: Json, config: Json) -> Json:
    framing = _named(description, config, "RobertaTokenizer", "cls", "sep")
    options = {"trim_offsets": True, "add_prefix_space": False}
    processor = {"type": "RobertaProcessing", "cls": framing[0], "sep": framing[1]} if framing else None
    return _gpt2(description, config) | {"post_processor": processor and processor | options}


def _qwen2(description: Json, config: Json) -> Json:
    words = {"type": "Split", "pattern": {"Regex": _QWEN2_WORDS}, "behavior": "Isolated", "invert": False}
    prefixed = config.get("add_prefix_space") or False
    as_bytes = {"type": "ByteLevel", "add_prefix_space": prefixed, "trim_offsets": True, "use_regex": False}
    return _gpt2(description, config) | {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [words, as_bytes]},
    }


def _gemma(description: Json, config: Json) -> Json:
    unknown = config.get("unk_token", _NAMES["GemmaTokenizer"]["unk"])
    unknown = unknown.get("content") if isinstance(unknown, dict) else unknown
    pattern = {"pattern": {"String": " "}}
    return {
        "normalizer": {"type": "Replace", **pattern, "content": "▁"},
        "pre_tokenizer": {"type": "Split", **pattern, "behavior": "MergedWithPrevious", "invert": False},
        "decoder": {"type": "Sequence", "decoders": _SPACED},
        "model": description["model"]
        | _PLAIN_BPE
        | {"fuse_unk": True, "byte_fallback": True, "unk_token": unknown},
    }


def _gpt_neox(description: Json, config: Json) -> Json:
    return _gpt2(description, config) | {"normalizer": {"type": "NFC"}, "post_processor": None}


def _code_llama(description: Json, config: Json) -> Json:
    prefixed = config.get("add_prefix_space") is not False
    built = _llama(description, config | {"add_prefix_space": prefixed, "legacy": False})
    named = description["model"].get("unk_token") or "<unk>"
    return built | {"model": built["model"] | {"unk_token": named}}


def _llama(description: Json, config: Json) -> Json:
    prefixed = config.get("add_prefix_space")
    prefixed = True if prefixed is None else prefixed
    scheme = "never" if not prefixed else "always" if config.get("legacy", False) else "first"
    decoders = [*_SPACED, {"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefixed else _SPACED
    return {
        "normalizer": None,
        "pre_tokenizer": _METASPACE | {"prepend_scheme": scheme, "split": False},
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": description["model"] | _PLAIN_BPE | {"fuse_unk": True, "byte_fallback": True},
    }


def _t5(description: Json, config: Json) -> Json:
    ended = _named(description, config, "T5Tokenizer", "eos")
    normalizer = description.get("normalizer") or {}
    steps = normalizer["normalizers"] if normalizer.get("type") == "Sequence" else [normalizer]
    charsmap = next((step for step in steps if step.get("type") == "Precompiled"), None)
    metaspace = _METASPACE | {"prepend_scheme": "always", "split": True}
    splits = [{"type": "WhitespaceSplit"}, metaspace]
    return {
        "normalizer": charsmap,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits},
        "post_processor": template((), ended) if ended else None,
        "decoder": metaspace,
        "model": description["model"] | {"unk_id": 2, "byte_fallback": False},
    }


_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_SPACED: list[Json] = [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
]
"""How ``▁`` and bytes become text again."""
_METASPACE = {"type": "Metaspace", "replacement": "▁"}
_PLAIN_BPE: Json = {
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}
_REBUILT: dict[str, tuple[str, Callable[[Json, Json], Json]]] = {
    **dict.fromkeys(
        (
            "BertTokenizer",
            "DistilBertTokenizer",
            "ElectraTokenizer",
            "LayoutLMTokenizer",
            "LxmertTokenizer",
            "MobileBertTokenizer",
            "SqueezeBertTokenizer",
        ),
        ("WordPiece", _bert),
    ),
    **dict.fromkeys(
        (
            "BartTokenizer",
            "LEDTokenizer",
            "LongformerTokenizer",
            "MvpTokenizer",
            "RobertaTokenizer",
        ),
        ("BPE", _roberta),
    ),
    "CodeLlamaTokenizer": ("BPE", _code_llama),
    "GPT2Tokenizer": ("BPE", _gpt2),
    "GPTNeoXTokenizer": ("BPE", _gpt_neox),
    "GemmaTokenizer": ("BPE", _gemma),
    "LlamaTokenizer": ("BPE", _llama),
    "Qwen2Tokenizer": ("BPE", _qwen2),
    "T5Tokenizer": ("Unigram", _t5),
}
"""The kind of model that a class is for, and what it makes of a tokenizer.json; aliases are listed too."""
_ROBERTA = {name: f"<{name}>" for name in ("unk", "pad", "mask")} | {
    **dict.fromkeys(("bos", "cls"), "<s>"),
    **dict.fromkeys(("eos", "sep"), "</s>"),
}
_NAMES: dict[str, Mapping[str, str]] = {
    "BertTokenizer": {name: f"[{name.upper()}]" for name in ("cls", "sep", "unk", "pad", "mask")},
    "GemmaTokenizer": {name: f"<{name}>" for name in ("bos", "eos", "unk", "pad", "mask")},
    "Qwen2Tokenizer": dict.fromkeys(("eos", "unk", "pad"), "<|endoftext|>"),
    "T5Tokenizer": {"eos": "</s>", "unk": "<unk>", "pad": "<pad>"},
    **{name: _ROBERTA for name, (_, rebuild) in _REBUILT.items() if rebuild is _roberta},
}
"""What classes call their special tokens where no file says."""
