"""Programs and weights of an exported folder, read and called."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from safetensors import SafetensorError
from safetensors.flax import load_file

from t5lite.core.bounded_reads import read_at_most
from t5lite.core.errors import CheckpointError, ConfigError
from t5lite.core.json_text import load_json
from t5lite.core.registry import lookup
from t5lite.interop.safetensors_files import WEIGHTS, read_header
from t5lite.interop.stablehlo.programs import MARK

_MAX_PROGRAM_BYTES = 256 << 20
"""Of a program, which holds no weights and no layer twice."""


@dataclass(frozen=True)
class ServingModel:
    """Programs and weights of a folder, read by ``load_exported``.

    Attributes:
      description: programs.json's content.
      params: the weights, by their flat names.
    """

    description: dict[str, Any]
    params: dict[str, jax.Array]
    _programs: dict[str, Callable[..., dict[str, jax.Array]]]

    def __call__(self, program: str, **inputs: Any) -> dict[str, jax.Array]:
        """Return the outputs by name of ``program`` for its inputs; compiled once for each shape.

        Raises:
          ConfigError: for an unknown program, inputs other than it takes, or longer ones.
        """
        call = lookup(self._programs, program, kind="program")
        described = self.description["programs"][program]
        expected = described["inputs"]
        if inputs.keys() != expected.keys():
            raise ConfigError(f"{program} takes {', '.join(expected)}, not {', '.join(inputs) or 'nothing'}")
        for field, value in inputs.items():
            name, length = f"{field.partition('_')[0]}_length", np.shape(value)[-1]
            if length > described["limits"].get(name, length):
                raise ConfigError(
                    f"{name}={length} is more than the {described['limits'][name]} of {program}"
                )
        return call(self.params, {name: jnp.asarray(value, jnp.int32) for name, value in inputs.items()})


def load_exported(path: str | Path) -> ServingModel:
    """Return the programs of a folder that ``export_folder`` wrote, with its weights on the default device.

    Raises:
      CheckpointError: if a file is missing or damaged, or the programs are not for this JAX.
    """
    folder = Path(path)
    try:
        description = load_json(folder / MARK)
        read_header(folder / WEIGHTS)  # is stricter than the library, which would map whatever it is
        params = load_file(folder / WEIGHTS)
        contents = {
            name: read_at_most(folder / program["file"], _MAX_PROGRAM_BYTES)
            for name, program in description["programs"].items()
        }
        damaged = [
            description["programs"][name]["file"]
            for name, content in contents.items()
            if hashlib.sha256(content).hexdigest() != description["programs"][name]["sha256"]
        ]
        if damaged:
            raise CheckpointError(f"{folder / damaged[0]} is damaged; export the folder again")
        programs = {
            name: jax.jit(export.deserialize(bytearray(content)).call) for name, content in contents.items()
        }
    except FileNotFoundError as error:
        raise CheckpointError(f"{error.filename} is missing; export the folder again") from None
    except OSError as error:
        raise CheckpointError(
            f"{error.filename} cannot be read ({error.strerror}); check it, or export the folder again"
        ) from error
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{folder} cannot be read ({error}); export it again") from error
    return ServingModel(description, params, programs)
