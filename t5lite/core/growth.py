"""How a parameter changes with its model's size, so that rates found on a small one hold for a large one."""

from typing import NamedTuple


class Growth(NamedTuple):
    """Factors of a parameter of a larger model, against the model whose learning rate was found."""

    initial: float = 1.0
    """On the size of its initial values."""
    update: float = 1.0
    """On the size of an update, of an optimizer whose updates have the size of the learning rate (Adam)."""

    def times(self, factor: float) -> "Growth":
        """Return the growth of a parameter whose product with its input is multiplied by a factor as well."""
        return Growth(self.initial * factor, self.update * factor)
