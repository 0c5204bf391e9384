"""What a folder says of a model besides its shape and weights: how it is used."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Usage:
    """How a model is used.

    Attributes:
      class_names: of a classifier, the name of each output; empty where nothing says.
      eos_ids: what ends a generated text besides the vocabulary's EOS.
    """

    class_names: tuple[str, ...] = ()
    eos_ids: tuple[int, ...] = ()

    def names(self, num_labels: int) -> tuple[str, ...]:
        """Return a name for each of so many outputs; transformers' ``LABEL_i`` where there is none."""
        named = self.class_names[:num_labels]
        return (*named, *(f"LABEL_{i}" for i in range(len(named), num_labels)))
