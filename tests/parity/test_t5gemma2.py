"""T5Gemma 2, whose decoder has its own keys and the encoder's in one softmax, beside transformers' class.

Windows are shorter than the texts. The class is as it is published, with a vision tower.
"""

import logging

import jax
import numpy as np
import pytest
import torch
import transformers

from t5lite.decoding import AnsweringDecoder, Beam, DecodingConfig, Greedy, run_search
from t5lite.interop.huggingface import export_folder, import_folder
from t5lite.models.functional import build

VOCAB, NEW, EOS = 61, 9, 1
ENCODER, DECODER = 13, 11
LENGTHS = np.array([13, 1, 7, 4, 10, 2])
_KINDS = ["sliding_attention", "full_attention", "sliding_attention"]
_SIDE = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "intermediate_size": 20,
    "query_pre_attn_scalar": 9,
    "sliding_window": 4,
    "layer_types": _KINDS,
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    },
    "final_logit_softcapping": 4.0,
}
_TOWER = {
    "model_type": "siglip_vision_model",
    "hidden_size": 4,
    "intermediate_size": 4,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "image_size": 16,
    "patch_size": 1,
    "vision_use_head": False,
}
_SIDES = {
    "even": (_SIDE, _SIDE),
    # An odd window reaches as far on both sides, an even one farther behind a query; and a deeper encoder.
    "odd": (
        {**_SIDE, "sliding_window": 3, "num_hidden_layers": 4, "layer_types": [*_KINDS, _KINDS[1]]},
        {**_SIDE, "sliding_window": 3},
    ),
}


class Both:
    """The same model there and here, and rows of different lengths."""

    def __init__(self, name, folder):
        encoder, decoder = _SIDES[name]
        torch.manual_seed(0)
        config = transformers.T5Gemma2Config(
            # The end of an image is an id that no model writes: its vector, which the class puts in, is not
            # imported.
            encoder={"text_config": encoder, "vision_config": _TOWER, "eoi_token_index": VOCAB},
            decoder=decoder,
            attn_implementation="eager",
        )
        self.theirs = transformers.T5Gemma2ForConditionalGeneration(config).eval()
        with torch.no_grad():
            for parameter in self.theirs.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        self.folder = folder / "theirs"
        self.theirs.save_pretrained(self.folder)
        self.config, self.params = import_folder(self.folder)
        self.model = build(self.config)
        rng = np.random.default_rng(1)
        self.mask_BM = (np.arange(ENCODER) < LENGTHS[:, None]).astype(np.int32)
        self.tokens_BM = rng.integers(2, VOCAB, self.mask_BM.shape).astype(np.int32)
        self.written_BL = rng.integers(2, VOCAB, (len(LENGTHS), DECODER)).astype(np.int32)

    def logits(self, batch):
        return jax.jit(lambda params, batch: self.model.bind(params)(batch))(self.params, batch)

    def written(self, strategy):
        search = DecodingConfig().search(
            max_decode_length=NEW, eos_ids=(EOS,), known_V=None, vocab_size=VOCAB
        )

        @jax.jit
        def run(params, tokens_BM, mask_BM):
            decoder = AnsweringDecoder(self.model.bind(params), NEW)
            return run_search(decoder, tokens_BM, mask_BM, strategy=strategy, search=search)

        return np.asarray(run(self.params, self.tokens_BM, self.mask_BM).tokens_RL)

    def their_inputs(self):
        named = {"input_ids": self.tokens_BM, "attention_mask": self.mask_BM}
        return {name: torch.from_numpy(x).long() for name, x in named.items()}


@pytest.fixture(scope="module", params=_SIDES)
def both(request, tmp_path_factory):
    return Both(request.param, tmp_path_factory.mktemp(request.param))


def test_logits_and_loss_are_those_of_transformers(both):
    batch = {
        "encoder_input_tokens": both.tokens_BM,
        "encoder_segment_ids": both.mask_BM,
        "decoder_input_tokens": both.written_BL,
    }
    labels = torch.from_numpy(np.roll(both.written_BL, -1, axis=1)).long()
    with torch.no_grad():
        found = both.theirs(
            **both.their_inputs(), decoder_input_ids=torch.from_numpy(both.written_BL).long(), labels=labels
        )
    ours = both.logits(batch)
    assert found.logits.std() > 0.5, "the weights should matter"
    np.testing.assert_allclose(ours, found.logits.numpy(), rtol=0, atol=2e-5)
    loss = -np.take_along_axis(np.asarray(jax.nn.log_softmax(ours)), labels.numpy()[..., None], -1).mean()
    np.testing.assert_allclose(loss, found.loss.item(), rtol=1e-5)


@pytest.mark.parametrize("both", ["odd"], indirect=True)
def test_a_packed_row_is_its_texts_alone(both):
    """Both of a row's texts are longer than the windows."""
    packed, ids = {}, {"encoder": (6, 9), "decoder": (8, 5)}
    texts = {"encoder": both.tokens_BM[[0, 4]], "decoder": both.written_BL[[0, 4]]}
    for side, lengths in ids.items():
        parts = [row[:length] for row, length in zip(texts[side], lengths, strict=True)]
        packed[f"{side}_input_tokens"] = np.concatenate([*parts, [0, 0]])[None].astype(np.int32)
        packed[f"{side}_segment_ids"] = np.repeat([1, 2, 0], [*lengths, 2])[None].astype(np.int32)
    ours, start = both.logits(packed)[0], 0
    for number, length in enumerate(ids["decoder"]):
        named = {"input_ids": "encoder", "decoder_input_ids": "decoder"}
        rows = {
            name: torch.from_numpy(texts[side][number : number + 1, : ids[side][number]]).long()
            for name, side in named.items()
        }
        with torch.no_grad():
            alone = both.theirs(**rows).logits[0].numpy()
        np.testing.assert_allclose(ours[start : start + length], alone, rtol=0, atol=2e-5)
        start += length


@pytest.mark.parametrize(("strategy", "options"), [(Greedy(), {}), (Beam(num_beams=4), {"num_beams": 4})])
def test_texts_are_those_that_transformers_writes(both, strategy, options):
    """Token for token, past the windows; what is written is not one text for all inputs."""
    theirs = both.theirs.generate(
        **both.their_inputs(),
        max_new_tokens=NEW,
        do_sample=False,
        decoder_start_token_id=2,
        eos_token_id=EOS,
        pad_token_id=0,
        **options,
    )[:, 1:].numpy()
    theirs = np.pad(theirs, ((0, 0), (0, NEW - theirs.shape[1])))
    # Its beam search takes a padding of 0 for none, and fills up with EOS.
    ends = theirs == EOS
    theirs = np.where(np.cumsum(ends, axis=1) - ends > 0, 0, theirs)
    ours = both.written(strategy).reshape(len(LENGTHS), -1, NEW)[:, 0]
    assert len(np.unique(theirs, axis=0)) > 2
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("both", ["odd"], indirect=True)
def test_an_export_is_read_back_bit_for_bit(both, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="t5lite"):
        export = export_folder(both.params, both.config, tmp_path / "ours")
    assert "8 tensors of it are written as zeros" in caplog.text
    kind = getattr(transformers, export.class_name)
    again, told = kind.from_pretrained(
        tmp_path / "ours", output_loading_info=True, attn_implementation="eager"
    )
    assert not any(told.values())
    left_out = ("vision_tower", "multi_modal_projector", "eoi_embedding")
    for name, value in both.theirs.state_dict().items():
        if not any(part in name for part in left_out):
            np.testing.assert_array_equal(again.state_dict()[name].numpy(), value.numpy(), err_msg=name)
    # The ids that the export says of images are beyond the vocabulary: its last one is one of a text.
    batch = {"encoder_input_tokens": both.tokens_BM, "decoder_input_tokens": both.written_BL}
    batch["encoder_input_tokens"][0, 0] = batch["decoder_input_tokens"][0, 1] = VOCAB - 1
    named = {"input_ids": "encoder", "decoder_input_ids": "decoder"}
    rows = {name: torch.from_numpy(batch[f"{side}_input_tokens"]).long() for name, side in named.items()}
    with torch.no_grad():
        expected = again.eval()(**rows).logits.numpy()
    np.testing.assert_allclose(both.logits(batch), expected, rtol=0, atol=2e-5)
    config, params = import_folder(tmp_path / "ours")
    assert config == both.config
    jax.tree.map(np.testing.assert_array_equal, params, both.params)


@pytest.mark.parametrize("both", ["odd"], indirect=True)
def test_what_is_left_out_is_said_once_with_its_number(both, caplog):
    with caplog.at_level(logging.INFO, logger="t5lite"):
        import_folder(both.folder)
    dropped = [record.message for record in caplog.records if "dropped" in record.message]
    assert len(dropped) == 1
    assert dropped[0].startswith("dropped 24 trained tensors")
    assert "images are not read" not in caplog.text, "no id of a text is put in for"


def test_an_id_that_stands_for_the_end_of_an_image_is_said(tmp_path, caplog):
    encoder, decoder = _SIDES["even"]
    config = transformers.T5Gemma2Config(
        encoder={"text_config": encoder, "vision_config": _TOWER, "eoi_token_index": VOCAB - 1},
        decoder=decoder,
    )
    transformers.T5Gemma2ForConditionalGeneration(config).save_pretrained(tmp_path)
    with caplog.at_level(logging.INFO, logger="t5lite"):
        import_folder(tmp_path)
    said = [record.message for record in caplog.records if "images are not read" in record.message]
    assert len(said) == 1
    assert f"the input id {VOCAB - 1}" in said[0]
