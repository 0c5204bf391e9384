"""What the harness asks to be written, as what is wanted of a generator."""

import json
import logging
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

from t5lite.core.errors import ConfigError
from t5lite.decoding import Row
from t5lite.evaluation.stepwise_generation import Wanted
from t5lite.harness.tokens import HarnessTokens

_LOG = logging.getLogger(__name__)
_MAX_GEN_TOKS = 256
"""What the harness has written where a task does not say, as of its own models."""
_NEUTRAL = {"num_beams": 1, "top_k": 0, "repetition_penalty": 1.0, "num_return_sequences": 1}
"""Options of tasks that are taken with these values alone."""


@dataclass(frozen=True)
class WrittenRequests:
    """Turns contexts and ``generation_kwargs`` into rows and options.

    Attributes:
      tokens: of the export's tokenizer.
      max_length: most tokens of a context, or with ``shares_row`` of a context and what is written.
      shares_row: whether both share a row, as of a decoder-only model.
    """

    tokens: HarnessTokens
    max_length: int
    shares_row: bool

    def wanted(self, requests: Sequence[tuple[Any, ...]]) -> list[Wanted]:
        """Return what is to be written for each context and options; those that are cut are counted.

        Where texts are drawn, each of several requests that are alike has a seed of its own, by which of
        them it is: samples differ, and are the same each time, whatever else is asked beside them.

        Raises:
          ConfigError: for an option that would be ignored, or more tokens than the model has room for.
        """
        before: Counter[str] = Counter()
        wanted = []
        for context, options in requests:
            alike = json.dumps([context, options], sort_keys=True, default=repr)
            wanted.append(self._wanted(context, options, repeat=before[alike]))
            before[alike] += 1
        if cut := sum(each.row.cut for each in wanted):
            _LOG.warning(
                "%d of %d contexts lose their beginning: with what is to be written they are longer than "
                "max_length=%d", cut, len(wanted), self.max_length,
            )  # fmt: skip
        return wanted

    def _wanted(self, context: str, given: Mapping[str, Any], *, repeat: int) -> Wanted:
        options: dict[str, Any] = {**normalize_gen_kwargs(dict(given), _MAX_GEN_TOKS)}
        max_tokens = int(options.pop("max_gen_toks"))
        stops = tuple(handle_stop_sequences(options.pop("until"), eos=None))
        sampled, temperature = options.pop("do_sample"), options.pop("temperature", 0.0)
        top_p = options.pop("top_p", None)
        unknown = {name: value for name, value in options.items() if _NEUTRAL.get(name) != value}
        if unknown:
            raise ConfigError(f"generation_kwargs {unknown} of the task are not known here; leave them out")
        room = self.max_length - max_tokens if self.shares_row else self.max_length
        if room < 1:
            raise ConfigError(
                f"max_gen_toks={max_tokens} leaves no room for a context in max_length={self.max_length}; "
                f"give the task a smaller one, as by --gen_kwargs max_gen_toks={self.max_length // 2}"
            )
        ids = self.tokens.encode(context) or [self.tokens.prefix_id]
        text = context.encode("utf-8", "surrogatepass")
        return Wanted(
            row=Row(np.array(ids[-room:], np.int32), len(ids), keeps_end=True),
            max_tokens=max_tokens,
            temperature=float(temperature) if sampled else 0.0,
            top_p=1.0 if top_p is None else float(top_p),
            seed=zlib.crc32(b"%d " % repeat + text) if repeat else zlib.crc32(text),
            stops=stops,
        )
