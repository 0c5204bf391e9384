"""A configuration and parameters to a Hugging Face folder."""

import dataclasses
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t5lite.core.errors import CheckpointError, UserError
from t5lite.core.files import make_directory, new_directory, write_bytes, write_json
from t5lite.core.registry import lookup
from t5lite.core.storage.addresses import StoragePath, place
from t5lite.core.types import Tree
from t5lite.data.vocabulary import Frame, Vocabulary
from t5lite.data.vocabulary.chat_templates import further_files
from t5lite.data.vocabulary.json_files import read_file
from t5lite.data.vocabulary.tokenizer_classes import class_in_place_of
from t5lite.interop.departure import DTYPES, Cast, Export
from t5lite.interop.finiteness import check_finite
from t5lite.interop.huggingface.families import family_of
from t5lite.interop.huggingface.family import Family, Tokens
from t5lite.interop.huggingface.importing import CONFIG
from t5lite.interop.huggingface.sentence_files import sentence_files
from t5lite.interop.huggingface.tensor_rules import Placeholder, Tensor, plan
from t5lite.interop.huggingface.tokenizer_files import tokenizer_files
from t5lite.interop.huggingface.usage import config_with, generation_with
from t5lite.interop.huggingface.weights import tensor_stream
from t5lite.interop.safetensors_files import plan_files, write_file, write_index
from t5lite.interop.trees import Shape, check_fit, flatten, listed
from t5lite.interop.usage import Usage
from t5lite.models.config import ModelConfig
from t5lite.models.functional import build

logger = logging.getLogger(__name__)

MARK = "generation_config.json"
"""File by which an exported folder is known; a run directory, which has a config.json too, lacks it."""
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "bytes.json",
    "chat_template.jinja",
)
"""What a tokenizer may consist of: kept beside an imported model, and written out again as it was."""
_TOKENIZER_CONFIG = "tokenizer_config.json"
MAX_SHARD_BYTES = 5 * 10**9
"""Size above which the weights are divided into several files, as ``save_pretrained`` divides them."""


def export_folder(
    params: Tree,
    config: ModelConfig,
    out_dir: str | os.PathLike[str],
    *,
    vocabulary: Vocabulary | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    kept_files: Mapping[str, bytes] | None = None,
    usage: Usage | None = None,
    frame: Frame | None = None,
) -> Export:
    """Write a folder that transformers' ``from_pretrained`` loads offline, tokenizer included.

    The folder appears whole or not at all, and is written one tensor at a time. Casting to float16 may
    overflow: the tensors are named in a warning and in the result. Even without, T5's activations overflow
    in float16 more easily than its weights do; bfloat16 is the safe half precision.

    Args:
      params: nested dict of parameters, on the host or (sharded or not) on devices of this process.
      config: the model they belong to.
      out_dir: a new or empty directory.
      vocabulary: the tokenizer to write along; None writes the model alone.
      dtype: of the exported weights, a key of ``DTYPES``.
      overwrite: replace ``out_dir`` if it is such a folder, with nothing in it but what was exported.
      max_shard_bytes: size of one file of weights; more go into several, with an index.
      kept_files: tokenizer files of an imported model by name: if ``AutoTokenizer`` needs no others, they go
        out as they came in, instead of those that would be made from ``vocabulary``.
      usage: names of classes, further ids that end a text, and what texts to embed are cut to.
      frame: what the tokenizer puts around a text, as the model was trained; None: what the vocabulary's own
        rules do, or for an encoder [CLS] and [SEP].

    Raises:
      UserError: for a model that transformers does not have, an unknown ``dtype``, or an ``out_dir`` that
        is not empty.
      CheckpointError: if ``params`` or ``vocabulary`` do not fit ``config``, or ``params`` are not finite.
      DataError: if the vocabulary cannot be written as a Hugging Face tokenizer.
      ConfigError: if the vocabulary lacks a token that the architecture needs.
    """
    out_dir = place(out_dir)
    family = family_of(config)
    cast = Cast(np.dtype(lookup(DTYPES, dtype, kind="export dtype")))
    if max_shard_bytes < 1:
        raise UserError(f"max_shard_bytes={max_shard_bytes} must be positive")
    if vocabulary is not None and vocabulary.size > config.vocab_size:
        raise CheckpointError(
            f"the vocabulary {vocabulary.path} has {vocabulary.size} ids, sentinels included, but the "
            f"model's table only vocab_size={config.vocab_size} rows; give the vocabulary it was trained with"
        )
    written = _tokenizer_files(vocabulary, config, kept_files or {}, frame=frame)
    tensors = [*_checked_plan(params, config), *_placeholders(config, family)]
    usage = usage or Usage()
    described = _json_files(config, family, _tokens(vocabulary), usage, dtype=dtype)
    _warn_of_another_tokenizer(written, described[CONFIG]["model_type"])
    check_finite(params)
    sentences = sentence_files(config, text_length=usage.text_length)
    with new_directory(out_dir, overwrite=overwrite, mark=MARK) as folder:
        _write_weights(folder, params, tensors, cast, max_shard_bytes=max_shard_bytes)
        for name, content in (described | sentences).items():
            make_directory((folder / name).parent)
            write_json(folder / name, content)
        for name, content in written.items():
            write_bytes(folder / name, content)
        written = tuple(sorted(file.name for file in folder.iterdir()))
    cast.warn()
    num_params = sum(int(np.prod(tensor.shape, dtype=np.int64)) for tensor in tensors)
    return Export(
        folder=out_dir,
        files=written,
        num_params=num_params,
        num_bytes=num_params * cast.dtype.itemsize,
        overflows=cast.overflows,
        class_name=family.class_name(config),
        after_loading=family.after_loading(config),
    )


def read_kept_files(folder: StoragePath) -> dict[str, bytes]:
    """Return the tokenizer files that are there, by their paths in the folder: what ``kept_files`` takes.

    Raises:
      UserError: if one cannot be read.
    """
    names = (*TOKENIZER_FILES, *further_files(folder))
    return {name: read_file(folder / name) for name in names if (folder / name).is_file()}


def check_tokenizer(vocabulary: Vocabulary, config: ModelConfig, kept_files: Mapping[str, bytes]) -> None:
    """Check, before a model is there to be exported, that its vocabulary can be.

    Raises:
      DataError: if it cannot be written as a Hugging Face tokenizer.
      ConfigError: if it lacks a token that the architecture needs.
      CheckpointError: if its ids are not those that the model was made for.
    """
    _tokenizer_files(vocabulary, config, kept_files)
    _json_files(config, family_of(config), _tokens(vocabulary), Usage(), dtype="float32")


def state_dict_from_params(params: Tree, config: ModelConfig) -> dict[str, np.ndarray]:
    """Return ``params`` as the tensors of the transformers class, each contiguous, in their dtype.

    A tied model has no tensor for its head, an untied one has.

    Raises:
      CheckpointError: if ``params`` do not have the structure and shapes of ``config``.
      UserError: if no class of transformers is a model of ``config``.
    """
    tensors = _checked_plan(params, config)
    leaf = next(leaf for _, leaf in flatten(params))
    stream = tensor_stream(params, tensors, Cast(np.dtype(leaf.dtype)))
    return {name: np.array(tensor, order="C") for name, tensor in stream}


def _placeholders(config: ModelConfig, family: Family) -> list[Placeholder]:
    """Return the tensors that only the class has, and say how many they are."""
    named = family.placeholders(config)
    if named:
        logger.info(
            "%s also has what this model has no place for: %d tensors of it are written as zeros: %s",
            family.class_name(config),
            len(named),
            listed([*named], 8),
        )
    return [Placeholder(name, shape) for name, shape in named.items()]


def model_tensors(config: ModelConfig) -> list[Tensor]:
    """Return the tensors of the class that a model is exported as.

    Raises:
      UserError: if no class of transformers is a model of ``config``.
    """
    family = family_of(config)
    tensors = plan(family.rules(config), _shapes(config), config.stacks)
    if not family.bare(config):
        return tensors
    return [dataclasses.replace(tensor, name=tensor.name.removeprefix(family.prefix)) for tensor in tensors]


def _checked_plan(params: Tree, config: ModelConfig) -> list[Tensor]:
    check_fit("parameters", _shapes(config), {path: np.shape(leaf) for path, leaf in flatten(params)})
    return model_tensors(config)


def _shapes(config: ModelConfig) -> dict[str, Shape]:
    return {path: leaf.shape for path, leaf in flatten(build(config).abstract_params)}


def _write_weights(
    folder: Path, params: Tree, tensors: Sequence[Tensor | Placeholder], cast: Cast, *, max_shard_bytes: int
) -> None:
    named = [(tensor.name, tensor.shape) for tensor in tensors]
    outputs = plan_files(named, cast.dtype, max_shard_bytes=max_shard_bytes)
    arrays = tensor_stream(params, tensors, cast)
    for output in outputs:
        write_file(folder, output, cast.dtype, arrays)
    if len(outputs) > 1:
        num_values = sum(int(np.prod(shape, dtype=np.int64)) for _, shape in named)
        write_index(folder, outputs, num_bytes=num_values * cast.dtype.itemsize)


def _json_files(
    config: ModelConfig, family: Family, tokens: Tokens, usage: Usage, *, dtype: str
) -> dict[str, dict[str, Any]]:
    values = {"architectures": [family.class_name(config)], **family.to_json(config, dtype, tokens)}
    generation = generation_with(family.generation_json(config, tokens), usage)
    return {CONFIG: config_with(values, usage), MARK: generation}


def _tokenizer_files(
    vocabulary: Vocabulary | None,
    config: ModelConfig,
    kept_files: Mapping[str, bytes],
    *,
    frame: Frame | None = None,
) -> Mapping[str, bytes]:
    """Return the tokenizer's files by name: those that were kept, if they are all that is needed."""
    kept_class = json.loads(kept_files.get(_TOKENIZER_CONFIG, b"{}")).get("tokenizer_class")
    if vocabulary is None or "tokenizer.json" in kept_files or kept_class == "ByT5Tokenizer":
        return kept_files
    types = config.tells_sentences_apart
    made = tokenizer_files(vocabulary, config.architecture, token_types=types, frame=frame)
    return {**kept_files, **made}


def _warn_of_another_tokenizer(written: Mapping[str, bytes], model_type: str) -> None:
    """Say where ``AutoTokenizer`` would not take the files' class."""
    if "tokenizer.json" not in written:
        return
    files = [json.loads(written.get(name, b"{}")) for name in ("tokenizer.json", _TOKENIZER_CONFIG)]
    if (name := class_in_place_of(files[0], files[1], model_type)) is not None:
        logger.warning(
            "AutoTokenizer of transformers 5 takes a %s for every %s, whose rules would give other ids than "
            "this vocabulary; load the tokenizer by PreTrainedTokenizerFast.from_pretrained(FOLDER)",
            name,
            model_type,
        )


def _tokens(vocabulary: Vocabulary | None) -> Tokens:
    return {name: getattr(vocabulary, f"{name}_id", None) for name in ("bos", "eos", "pad")}


def how_to_load(done: Export, folder: str) -> list[str]:
    """Return how the folder is loaded, in lines of Python; ``folder`` is how it is written there."""
    lines = [f"{done.class_name}.from_pretrained({folder})"]
    return [*lines, done.after_loading] if done.after_loading else lines
