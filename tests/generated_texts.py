"""The texts that a model writes, for tests that ask for nothing else of its outputs."""

from t5lite.core.types import Tree
from t5lite.data.vocabulary import Vocabulary
from t5lite.evaluation.text_generation import GenerationSizes, Inputs, generate_outputs
from t5lite.models.functional import FunctionalModel


def generate_texts(
    model: FunctionalModel, params: Tree, vocabulary: Vocabulary, inputs: Inputs, **sizes: int
) -> list[str]:
    outputs = generate_outputs(model, params, vocabulary, inputs, GenerationSizes(**sizes))
    return [output.text for output in outputs]
