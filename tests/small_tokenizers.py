"""Small Hugging Face tokenizers as folders, in the forms that published models have them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
END_OF_TEXT = "<|endoftext|>"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"


def write_wordpiece(folder: Path, texts: Iterable[str], *, size: int = 200) -> Path:
    """Write tokenizer.json alone; its special tokens have their usual names."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=BERT_SPECIALS, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.enable_padding(length=64)  # as some published files do; encoding must not care
    tokenizer.enable_truncation(64)
    return _save(tokenizer, folder)


def write_bpe(folder: Path, texts: Iterable[str], *, size: int = 300) -> Path:
    """Write tokenizer.json and tokenizer_config.json; there is one special token and no pad."""
    tokenizer = _byte_level_bpe(texts, size, [END_OF_TEXT])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    return _save(tokenizer, folder, {"tokenizer_class": "GPT2Tokenizer", **names})


def write_bpe_with_bos(folder: Path, texts: Iterable[str], *, size: int = 300) -> Path:
    """Write tokenizer.json alone; ``<s>`` goes before every text, and ``<mask>`` hides a token."""
    tokenizer = _byte_level_bpe(texts, size, ["<unk>", "<s>", "</s>", "<mask>"])
    template = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]
    )
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return _save(tokenizer, folder)


def write_bpe_with_byte_fallback(folder: Path, texts: Iterable[str], *, size: int = 400) -> Path:
    """Write the tokenizer.json of a Llama 2: BPE on characters, bytes for what it does not know."""
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer = _without_added(tokenizer, specials[3:])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]
    )
    return _save(tokenizer, folder)


def write_llama3(folder: Path, texts: Iterable[str], *, size: int = 400) -> Path:
    """Write the files of a Llama 3: words of its pattern, up to three digits together, BOS in front."""
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    pattern = rf"{_ENDINGS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}"
    tokenizer = _byte_level_bpe(texts, size, specials, pattern=pattern)
    begun = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
        special_tokens=[("<|begin_of_text|>", 0)],
    )
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), begun])
    names = {"bos_token": specials[0], "eos_token": specials[2]}
    return _save(tokenizer, folder, {"tokenizer_class": "PreTrainedTokenizerFast", **names})


def write_qwen(folder: Path, texts: Iterable[str], *, size: int = 400) -> Path:
    """Write the files of a Qwen 2 or 3: composed characters, single digits, nothing around a text."""
    specials = [END_OF_TEXT, "<|im_start|>", "<|im_end|>"]
    tokenizer = _byte_level_bpe(texts, size, specials, pattern=rf"{_ENDINGS}|{_WORDS}|\p{{N}}|{_REST}")
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    names = {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": END_OF_TEXT, "unk_token": None}
    others = {"additional_special_tokens": specials[1:], "add_bos_token": False, "add_prefix_space": False}
    return _save(tokenizer, folder, {"tokenizer_class": "Qwen2Tokenizer", **names, **others})


def write_modernbert(folder: Path, texts: Iterable[str], *, size: int = 400) -> Path:
    """Write the files of a ModernBERT: byte-level BPE between [CLS] and [SEP], runs of spaces as tokens."""
    tokenizer = _byte_level_bpe(texts, size, [END_OF_TEXT, *BERT_SPECIALS])
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken(" " * width, normalized=True) for width in (4, 3, 2)])
    tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 3), ("[SEP]", 4)]
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in BERT_SPECIALS}
    inputs = {"model_input_names": ["input_ids", "attention_mask"]}
    return _save(tokenizer, folder, {"tokenizer_class": "PreTrainedTokenizerFast", **names, **inputs})


def write_roberta(folder: Path, texts: Iterable[str], *, size: int = 400) -> Path:
    """Write the files of a RoBERTa, whose class alone says what its special tokens are for."""
    tokenizer = _byte_level_bpe(texts, size, ["<s>", "<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return _save(tokenizer, folder, {"tokenizer_class": "RobertaTokenizer", "model_max_length": 512})


def write_t5(folder: Path, texts: Iterable[str], *, size: int = 300) -> Path:
    """Write the files of a T5: pieces, EOS behind a text, and sentinels instead of a mask and [CLS]."""
    specials = ["<pad>", "</s>", "<unk>", *(f"<extra_id_{index}>" for index in range(4))]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=specials, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    names = {f"{name}_token": token for name, token in zip(("pad", "eos", "unk"), specials, strict=False)}
    return _save(tokenizer, folder, {"tokenizer_class": "PreTrainedTokenizerFast", **names})


def write_gemma(folder: Path, texts: Iterable[str], *, size: int = 500) -> Path:
    """Write the files of a Gemma: BPE over spaces, bytes for what it does not know, BOS in front."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    as_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=specials + as_bytes, show_progress=False)
    tokenizer.train_from_iterator((text.replace(" ", " ▁") for text in texts), trainer)
    tokenizer = _without_added(tokenizer, as_bytes)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    names = {f"{name}_token": f"<{name}>" for name in ("bos", "eos", "unk", "pad")}
    others = {"add_bos_token": True, "add_eos_token": False}
    return _save(tokenizer, folder, {"tokenizer_class": "GemmaTokenizer", **names, **others})


def _byte_level_bpe(
    texts: Iterable[str], size: int, special_tokens: list[str], *, pattern: str | None = None
) -> Tokenizer:
    """Train on bytes, within the words of ``pattern``, of GPT-2's by default."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    if pattern is not None:
        words = pre_tokenizers.Split(Regex(pattern), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, tokenizer.pre_tokenizer])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def write_unigram_with_sentinels(folder: Path, *, sentinels: int) -> Path:
    """Write the tokenizer.json of a T5 whose folder lost its spiece.model."""
    names = [f"<extra_id_{i}>" for i in reversed(range(sentinels))]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0), ("b", -2.0), ("▁", -3.0)]
    tokenizer = Tokenizer(models.Unigram([*pieces, *((name, 0.0) for name in names)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", *names])
    return _save(tokenizer, folder)


def _without_added(tokenizer: Tokenizer, names: list[str]) -> Tokenizer:
    """Return the tokenizer to which these are pieces like others, not added ones."""
    description = json.loads(tokenizer.to_str())
    added = [token for token in description["added_tokens"] if token["content"] not in names]
    return Tokenizer.from_str(json.dumps(description | {"added_tokens": added}))


def _save(tokenizer: Tokenizer, folder: Path, config: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
