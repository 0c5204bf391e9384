"""A run as a model of the harness, registered as ``t5lite``.

It scores and writes what the harness' own model of a Hugging Face folder (``HFLM``) would of the run's
export: pairs are cut and windows rolled by the harness' code, tokens and lengths are the export's.
"""

import logging
from collections.abc import Sequence
from typing import Any

import jax
from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from t5lite.checkpointing.reading import Step
from t5lite.core.architectures import SIDES_OF
from t5lite.core.errors import DataError
from t5lite.evaluation.stepwise_generation import StepwiseGenerator
from t5lite.evaluation.text_scoring import GivenTarget, TargetScorer
from t5lite.harness.tokens import harness_length, harness_tokens
from t5lite.harness.written_requests import WrittenRequests
from t5lite.partitioning import make_partitioner
from t5lite.runner.generation import generation_partitioning
from t5lite.runner.int8_weights import Weights
from t5lite.runner.loading import load_trained
from t5lite.runner.run_directory import RunDirectory
from t5lite.runner.snapshot import Snapshot

_LOG = logging.getLogger(__name__)
_DEFAULT_BATCH_SIZE = 16
Request = tuple[Any, list[int], list[int]]
"""What is to be told to the harness' cache (None: nothing), ids of the context, and of the continuation."""


@register_model("t5lite")
class RunLM(TemplateLM):
    """A run directory, over all devices that JAX finds.

    Args:
      run: the directory, of a training or an import.
      step: checkpoint: its number, newest, or best.
      batch_size: texts at once; ``auto`` is 16.
      max_length: most tokens of a context, or of context and continuation of a decoder-only model; by default
        as of the run's export.
      weights: int8 holds the kernels of layers as such.
      max_batch_size: of no meaning here; the harness hands it to every model.
      device: of no meaning here; JAX takes what is there (JAX_PLATFORMS).

    Raises:
      UserError: if the run cannot be read, or its model gives texts no probability.
    """

    def __init__(
        self,
        run: str,
        step: Step = "newest",
        batch_size: int | str = _DEFAULT_BATCH_SIZE,
        max_length: int | None = None,
        weights: Weights | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        del max_batch_size, device
        found = Snapshot(RunDirectory.at(run))
        self.config = found.model.narrowed
        self.tokens = harness_tokens(found)
        self.batch_size = _DEFAULT_BATCH_SIZE if str(batch_size).startswith("auto") else int(batch_size)
        self.max_length = harness_length(self.config) if max_length is None else max_length
        self.config.check_length(self.max_length)
        self.backend = "seq2seq" if len(SIDES_OF[self.config.architecture]) == 2 else "causal"
        partitioner = make_partitioner(generation_partitioning(self.config, jax.device_count()))
        trained = load_trained(found, partitioner, step=step, weights=weights)
        self._params, self.step = trained.params, trained.report.step
        self._scorer = TargetScorer(trained.model, batch_size=self.batch_size, partitioner=partitioner)
        self._written = WrittenRequests(self.tokens, self.max_length, self.backend == "causal")
        self._generator = StepwiseGenerator(
            trained.model, trained.vocabulary, eos_ids=found.model.eos_ids, partitioner=partitioner
        )

    @property
    def eot_token_id(self) -> int:
        """EOS."""
        return self.tokens.eos_id

    @property
    def prefix_token_id(self) -> int:
        """What a continuation without a context follows."""
        return self.tokens.prefix_id

    @property
    def tokenizer_name(self) -> str:
        """By what the harness tells caches of requests apart."""
        return self.tokens.vocabulary.fingerprint[:16]

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Return the ids that the export's tokenizer gives."""
        del kwargs
        return self.tokens.encode(string, framed=add_special_tokens is not False)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Return both parts' ids; where EOS ends a prompt, a continuation begins after it.

        The harness cuts the ids of the whole text where those of the context end, which is one too far if
        each is followed by EOS, as of a decoder-only model that answers.
        """
        if self.backend == "seq2seq" or not self.tokens.frame.after:
            return super()._encode_pair(context, continuation)
        spaces = context[len(context.rstrip()) :]
        ids = self.tokens.encode(context.rstrip())
        return ids, self.tokens.encode(spaces + continuation, framed=False)

    def loglikelihood(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return the log-probability of each continuation, and whether greedy search writes it.

        Raises:
          DataError: for an empty continuation, or one longer than the model.
        """
        for request in requests:
            context, continuation = request.arguments
            if not continuation:
                raise DataError(
                    f"nothing is to be scored after {context[-80:]!r}; the task has an empty choice"
                )
        return super().loglikelihood(list(requests), disable_tqdm=disable_tqdm)

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """Return the log-probability of each text, in windows as long as the model where it is longer."""
        owners: list[int] = []
        windows: list[Request] = []
        for number, request in enumerate(requests):
            text = request.args[0]
            rolled = utils.get_rolling_token_windows(
                self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for context, continuation in map(utils.make_disjoint_window, rolled):
                owners.append(number)
                windows.append((None, context, continuation))
        totals = [0.0] * len(requests)
        scores = self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm)
        for number, (log_likelihood, _) in zip(owners, scores, strict=True):
            totals[number] += log_likelihood
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def _loglikelihood_tokens(
        self, requests: Sequence[Request], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        del kwargs
        given = [self._fitted(context, continuation) for _, context, continuation in requests]
        cut = sum(
            len(fits.context) < len(context) for fits, (_, context, _) in zip(given, requests, strict=True)
        )
        if cut:
            _LOG.warning(
                "%d of %d contexts lose their beginning: with their continuations they are longer than "
                "max_length=%d", cut, len(given), self.max_length,
            )  # fmt: skip
        answers: list[tuple[float, bool]] = [(0.0, True)] * len(given)
        shown = tqdm(total=len(given), disable=disable_tqdm, desc="Running loglikelihood requests")
        with shown as progress:
            for number, score in self._scorer(self._params, given):
                answers[number] = (score.log_likelihood, score.is_greedy)
                if (asked := requests[number][0]) is not None:
                    self.cache_hook.add_partial("loglikelihood", asked, answers[number])
                progress.update()
        return answers

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return what follows each context, up to the first of its stop strings.

        Raises:
          ConfigError: for an option that would be ignored, or more tokens than the model has room for.
        """
        asked: list[tuple[Any, ...]] = [request.args for request in requests]
        wanted = self._written.wanted(asked)
        for each in wanted:
            self._generator.check_fit([each])
        texts = [""] * len(wanted)
        shown = tqdm(total=len(wanted), disable=disable_tqdm, desc="Running generate_until requests")
        with shown as progress:
            for numbers in self._generator.batches(wanted, self.batch_size):
                writing = self._generator.write(self._params, [wanted[number] for number in numbers])
                while writing.unfinished:
                    for piece in writing.step():
                        texts[numbers[piece.number]] += piece.text
                for number in numbers:
                    self.cache_hook.add_partial("generate_until", requests[number].args, texts[number])
                progress.update(len(numbers))
        return texts

    def _fitted(self, context: list[int], continuation: list[int]) -> GivenTarget:
        """Return a pair without what the model has no room for, at the context's beginning."""
        if not continuation:
            raise _nothing_to_score(self.tokens.vocabulary.decode(context), "")
        if len(continuation) > self.max_length:
            raise DataError(
                f"a continuation has {len(continuation)} tokens, the model has room for {self.max_length}; "
                "give a larger max_length, if it has positions for them, or shorten the task's texts"
            )
        room = self.max_length if self.backend == "seq2seq" else self.max_length + 1 - len(continuation)
        return GivenTarget(context[-room:], continuation)


def _nothing_to_score(context: str, continuation: str) -> DataError:
    return DataError(
        f"the continuation {continuation!r} has no token to score after {context[-80:]!r}; the task has an "
        "empty choice"
    )
