"""Settings that every test shares.

CPU, strict rank promotion, one persistent compilation cache a run; and an example of a property may take as
long as a busy machine needs for it.
"""

import os
import signal
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "t5lite-test-compilation-cache")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ.setdefault("MPLBACKEND", "agg")

import hypothesis
import jax

hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")
jax.config.update("jax_numpy_rank_promotion", "raise")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would every process that they
# start; some of them test what Ctrl-C does.
signal.signal(signal.SIGINT, signal.default_int_handler)
