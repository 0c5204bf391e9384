"""Small Hugging Face tokenizers as folders: BERT's WordPiece, the byte-level BPE of GPT-2 and Llama 3."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
END_OF_TEXT = "<|endoftext|>"


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
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = description["added_tokens"][:3]  # the bytes are pieces like others
    tokenizer = Tokenizer.from_str(json.dumps(description))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]
    )
    return _save(tokenizer, folder)


def _byte_level_bpe(texts: Iterable[str], size: int, special_tokens: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
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


def _save(tokenizer: Tokenizer, folder: Path, config: dict[str, Any] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
