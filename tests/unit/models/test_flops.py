import jax
import pytest
from tiny_models import make_config

from t5lite.models.flops import forward_flops, train_step_flops
from t5lite.models.functional import build


@pytest.mark.parametrize("activation", ["relu", "gated_gelu"])
def test_equals_the_compilers_count_of_a_forward_pass(activation):
    """XLA counts everything, norms and softmax included, so its figure is a little larger."""
    config = make_config(
        embed_dim=64, mlp_dim=128, head_dim=32, num_heads=2, mlp_activation=activation, scan_unroll=-1
    )
    model = build(config)
    batch = {
        "encoder_input_tokens": jax.ShapeDtypeStruct((2, 24), "int32"),
        "decoder_input_tokens": jax.ShapeDtypeStruct((2, 12), "int32"),
    }
    lowered = jax.jit(lambda p, b: model.bind(p)(b)).lower(model.abstract_params, batch)
    counted = lowered.compile().cost_analysis()["flops"]
    analytic = forward_flops(config, batch_size=2, encoder_length=24, decoder_length=12)
    assert 0.95 * counted < analytic < counted


def test_a_train_step_is_three_forward_passes_and_linear_in_the_batch():
    config = make_config()
    lengths = {"encoder_length": 512, "decoder_length": 114}
    one = train_step_flops(config, batch_size=1, **lengths)
    assert one == 3 * forward_flops(config, batch_size=1, **lengths)
    assert train_step_flops(config, batch_size=8, **lengths) == 8 * one
