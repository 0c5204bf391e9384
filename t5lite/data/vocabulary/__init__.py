"""Vocabularies: SentencePiece, bytes, and any ``tokenizer.json``; ``open_vocabulary`` tells them apart."""

from t5lite.data.vocabulary.base import Frame, SpecialToken, Vocabulary, VocabularyKind
from t5lite.data.vocabulary.byte_vocabulary import ByteVocabulary
from t5lite.data.vocabulary.opening import FILE_NAMES, find_vocabulary, open_vocabulary
from t5lite.data.vocabulary.sentencepiece_training import train_vocabulary
from t5lite.data.vocabulary.sentencepiece_vocabulary import SentencePieceVocabulary
from t5lite.data.vocabulary.tokenizer_json import TokenizerJsonVocabulary

__all__ = [
    "FILE_NAMES",
    "ByteVocabulary",
    "Frame",
    "SentencePieceVocabulary",
    "SpecialToken",
    "TokenizerJsonVocabulary",
    "Vocabulary",
    "VocabularyKind",
    "find_vocabulary",
    "open_vocabulary",
    "train_vocabulary",
]
