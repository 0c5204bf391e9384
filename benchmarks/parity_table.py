"""Compare t5lite with transformers (PyTorch) model by model and write docs/parity.md.

For every case of ``parity_cases``: weights that transformers saved are imported and run here; other weights
are exported and run there; those go through transformers and back; and of some models the gradients are
compared. All on CPU in float32, on rows with padding.

    python -m benchmarks.parity_table            # prints the table
    python -m benchmarks.parity_table --write    # and writes docs/parity.md

Needs the packages of the ``test`` extra; about a minute, and no network.
"""

import argparse
import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from benchmarks.parity_cases import CASES, Case, make_batch, make_peer, real_positions, run_peer
from benchmarks.parity_training import TRAINED, compare_training
from t5lite.interop.huggingface import export_folder, import_folder, state_dict_from_params
from t5lite.models.config import ModelConfig
from t5lite.models.functional import FunctionalModel, build

BOUNDS = {"import": 1e-4, "export": 1e-4, "round trip": 0.0, "gradients": 1e-4, "training": 1e-3}
"""The largest error of each direction that passes."""
PAGE = Path(__file__).resolve().parents[1] / "docs" / "parity.md"
_WITHOUT_POSITIONS = ("pooled", "sequence")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One row of the table.

    Attributes:
      name: of the case.
      spread: standard deviation of the outputs that are compared, to judge the errors by.
      errors: by direction, a key of ``BOUNDS``.
    """

    name: str
    spread: float
    errors: Mapping[str, float]


def directions(case: Case) -> list[str]:
    """Return what is measured of a case, in the table's order."""
    measured = {"gradients": case.gradients, "training": case.name in TRAINED}
    return [direction for direction in BOUNDS if measured.get(direction, True)]


def measure(case: Case, folder: Path) -> Result:
    """Return a case's errors but those in training; ``folder`` is an empty directory for its files."""
    transformers.logging.set_verbosity_error()  # it says that weights are not tied, which is meant
    transformers.logging.disable_progress_bar()
    peer, batch = make_peer(case), make_batch(case.architecture)
    peer.save_pretrained(folder / "theirs")
    config, params = import_folder(folder / "theirs")
    model = build(config)
    run = jax.jit(lambda params: _our_outputs(model, params, batch))
    with torch.no_grad():
        expected = {name: output.numpy() for name, output in run_peer(peer, batch).items()}
    errors = {"import": _largest_error(run(params), expected, batch)}

    params = _perturb(params)
    export_folder(params, config, folder / "ours")
    reader = _from_pretrained(folder / "ours")
    with torch.no_grad():
        read = {name: output.numpy() for name, output in run_peer(reader, batch).items()}
    errors["export"] = _largest_error(run(params), read, batch)
    reader.save_pretrained(folder / "back")
    errors["round trip"] = _largest_difference(import_folder(folder / "back"), (config, params))
    if case.gradients:
        errors["gradients"] = _gradient_error(model, params, reader, batch)
    spread = min(float(output[_real(name, batch)].std()) for name, output in expected.items())
    return Result(name=case.name, spread=spread, errors=errors)


def _our_outputs(model: FunctionalModel, params: Any, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
    outputs = model.bind(params)(batch)
    if not isinstance(outputs, dict):
        return {"tokens": outputs}
    # A span's first and last position are a number each at every position.
    return {name: jnp.moveaxis(x, 1, -1) if name == "span" else x for name, x in outputs.items()}


def _from_pretrained(folder: Path) -> Any:
    """Load a folder with the transformers class that its config.json names."""
    (name,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    return getattr(transformers, name).from_pretrained(folder, local_files_only=True).eval()


def _perturb(params: Any) -> Any:
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda x: (x + 0.1 * rng.standard_normal(x.shape)).astype(x.dtype), params)


def _real(name: str, batch: Mapping[str, np.ndarray]) -> Any:
    return slice(None) if name in _WITHOUT_POSITIONS else real_positions(batch)


def _largest_error(
    ours: Mapping[str, Any], theirs: Mapping[str, np.ndarray], batch: Mapping[str, np.ndarray]
) -> float:
    """Return the largest absolute difference of any output; padding is left out."""
    if ours.keys() != theirs.keys():
        raise ValueError(f"outputs differ: {sorted(ours)} here, {sorted(theirs)} in transformers")
    differences = [np.asarray(ours[name]) - theirs[name] for name in theirs]
    return max(
        float(np.abs(difference[_real(name, batch)]).max())
        for name, difference in zip(theirs, differences, strict=True)
    )


def _largest_difference(got: tuple[ModelConfig, Any], expected: tuple[ModelConfig, Any]) -> float:
    """Return the largest difference of any parameter; configurations and shapes have to be equal."""
    if got[0] != expected[0]:
        raise ValueError(f"the configuration came back as {got[0]} instead of {expected[0]}")
    differences = jax.tree.map(lambda x, y: float(np.abs(x - y).max()), got[1], expected[1])
    return max(jax.tree.leaves(differences))


def _gradient_error(model: FunctionalModel, params: Any, peer: Any, batch: Mapping[str, np.ndarray]) -> float:
    """Return the largest difference of a gradient, in units of the largest entry of its tensor.

    The loss is the mean cross-entropy of random targets. Biases of keys have no gradient but rounding noise,
    so no tensor's unit is less than a hundredth of the largest one.
    """
    rng = np.random.default_rng(3)
    outputs = {name: output[_real(name, batch)] for name, output in run_peer(peer, batch).items()}
    targets = {name: rng.integers(0, output.shape[-1], len(output)) for name, output in outputs.items()}

    def loss(params: Any) -> jax.Array:
        total = jnp.zeros(())
        for name, logits in _our_outputs(model, params, batch).items():
            log_probabilities = jax.nn.log_softmax(logits[_real(name, batch)])
            total -= jnp.mean(jnp.take_along_axis(log_probabilities, targets[name][:, None], axis=-1))
        return total

    # Gradients have the parameters' structure, so the exporter's mapping carries them across too.
    ours = state_dict_from_params(jax.tree.map(np.asarray, jax.jit(jax.grad(loss))(params)), model.config)
    losses = [
        torch.nn.functional.cross_entropy(output, torch.from_numpy(targets[name]))
        for name, output in outputs.items()
    ]
    sum(losses).backward()
    theirs = {name: parameter.grad.numpy() for name, parameter in peer.named_parameters()}
    if missing := theirs.keys() - ours.keys():
        raise ValueError(f"the exporter has no tensor for the gradients of {sorted(missing)}")
    overall = max(float(np.abs(gradient).max()) for gradient in theirs.values())
    return max(
        float(np.abs(ours[name] - gradient).max()) / max(float(np.abs(gradient).max()), 0.01 * overall)
        for name, gradient in theirs.items()
    )


def measure_all() -> list[Result]:
    """Return the rows of the table, in the order of ``CASES``."""
    results = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(case, Path(folder))
        if case.name in TRAINED:
            training = {"training": compare_training(case)}
            result = dataclasses.replace(result, errors={**result.errors, **training})
        results.append(result)
    return results


def table(results: list[Result]) -> str:
    """Return the Markdown table."""
    lines = [
        "| model | " + " | ".join(BOUNDS) + " | spread |",
        "|---|" + "---|" * (len(BOUNDS) + 1),
    ]
    for result in results:
        cells = [_cell(result.errors.get(direction)) for direction in BOUNDS]
        lines.append(f"| {result.name} | " + " | ".join(cells) + f" | {result.spread:.2f} |")
    return "\n".join(lines)


def _cell(error: float | None) -> str:
    if error is None:
        return ""
    return "bitwise" if error == 0.0 else f"{error:.1e}"


def page(results: list[Result]) -> str:
    """Return docs/parity.md."""
    versions = f"jax {jax.__version__}, transformers {transformers.__version__}, torch {torch.__version__}"
    return _PAGE.format(table=table(results), versions=versions)


_PAGE = """\
# Parity with transformers

Does a model compute here what it computes in transformers? The table gives the largest difference that was
found. Every row is a tiny model with random weights, norms and biases included, on four rows of different
lengths with padding, in float32 on CPU. Measured with {versions}.

{table}

- **import**: transformers saves the model, `t5lite` imports the folder. Largest absolute difference of any
  output at any position that is not padding: logits, and for `BertModel` the hidden states and the pooled
  vector. The bound is 1e-4.
- **export**: other random weights are exported and loaded by `from_pretrained`. The same difference, and the
  same bound.
- **round trip**: the exported folder is loaded and saved by transformers, and imported again. The parameters
  are the same bit for bit, and so is the configuration.
- **gradients**: of the mean cross-entropy of random targets, one model of each architecture and those with
  grouped heads. Largest difference in any tensor, relative to the largest entry of that tensor. (A bias of
  keys has no gradient but rounding noise, so where the largest entry is below a hundredth of the largest of
  all tensors, that hundredth is taken.) The bound is 1e-4.
- **training**: the same initial weights and the same 20 batches through the train step and AdamW here, and
  through `torch.optim.AdamW`. Largest relative difference of a loss. The bound is 1e-3.
- **spread**: standard deviation of the outputs, to judge the absolute differences by.

An empty cell was not measured. Models: 2 layers (3 in T5's decoder, 1 in T5Gemma's encoder, 4 in
ModernBERT), widths 16 to 24, 50 tokens, windows of 3, sequences of up to 13 tokens. Those sizes differ from
each other, so that a transposed or exchanged tensor cannot go unnoticed. mT5 exports as
`T5ForConditionalGeneration`, which computes the same.

The page is written by the command below, in about a minute, without network. It needs the packages of the
`test` extra. A test runs it too, and fails if an error passes its bound or if the models listed here are not
those that are compared.

```
python -m benchmarks.parity_table --write
```

Other tests hold the Transformer of 2017 against `torch.nn.TransformerEncoderLayer` and
`TransformerDecoderLayer` (`tests/parity/test_torch_layers.py`), and PaLM's parallel block against a float64
version (`tests/unit/models/test_attention_variants.py`).
"""


def main() -> None:
    """Print the table, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(PAGE.parents[1])}")
    arguments = parser.parse_args()
    results = measure_all()
    print(table(results))
    if arguments.write:
        PAGE.write_text(page(results), encoding="utf-8")
    failed = [
        f"{result.name}: {direction} {error:.1e} is more than {BOUNDS[direction]:.0e}"
        for result in results
        for direction, error in result.errors.items()
        if not error <= BOUNDS[direction]
    ]
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
