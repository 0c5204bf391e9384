import jax
import jax.numpy as jnp
import numpy as np
from tiny_models import make_batch, make_config, make_loss, make_params

from t5lite.models.functional import build
from t5lite.models.layers.dropout import dropout, layer_keys


def test_one_mask_for_all_positions_and_the_mean_is_kept():
    x = dropout(jnp.ones((4, 9, 5000)), 0.25, jax.random.key(0))
    np.testing.assert_array_equal(x, jnp.broadcast_to(x[:, :1], x.shape))
    np.testing.assert_allclose(np.unique(x), [0.0, 4 / 3], rtol=1e-6)
    np.testing.assert_allclose(x.mean(), 1.0, atol=0.02)
    assert (x[0, 0] != x[1, 0]).any()


def test_off_without_a_key_and_without_a_rate():
    x = jnp.arange(6.0).reshape(1, 2, 3)
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, jax.random.key(0)) is x


def test_a_model_drops_by_key_and_not_without_one():
    model, plain = build(make_config(dropout_rate=0.3)), build(make_config())
    params, batch = make_params(model), make_batch()
    loss = make_loss(model)
    first = loss(params, batch, jax.random.key(1))
    assert first == loss(params, batch, jax.random.key(1))
    assert first != loss(params, batch, jax.random.key(2))
    assert loss(params, batch) == make_loss(plain)(params, batch)


def test_layers_drop_differently():
    keys = layer_keys(jax.random.key(0), 3)
    masks = jax.vmap(lambda key: dropout(jnp.ones((1, 1, 64)), 0.5, key))(keys)
    assert len({mask.tobytes() for mask in np.asarray(masks)}) == 3
