"""NaN and infinity go neither in nor out, and all tensors that hold any are named and counted."""

import jax
import numpy as np
import pytest
import torch

from t5lite.core.errors import CheckpointError
from t5lite.interop import FORMATS
from t5lite.interop.huggingface import (
    export_folder,
    import_folder,
    params_from_state_dict,
    state_dict_from_params,
)
from tests.small_folders import CONFIGS, change_tensors, exported, make_params


class TestNotFinite:
    @pytest.mark.parametrize(
        ("dtype", "place"),
        [("float32", None), ("float16", None), ("bfloat16", None), ("float32", "fitting")],
    )
    def test_in(self, dtype, place, tmp_path):
        params = make_params(CONFIGS["gpt2"])
        export_folder(params, CONFIGS["gpt2"], tmp_path, dtype=dtype)

        def spoil(tensors: dict[str, np.ndarray]) -> None:
            tensors["transformer.wte.weight"][3, 2] = -np.inf
            tensors["transformer.h.1.attn.c_attn.weight"][0, :2] = np.nan
            tensors["transformer.h.1.attn.c_attn.weight"][1, 20] = np.inf

        change_tensors(tmp_path, spoil)
        with pytest.raises(CheckpointError) as error:
            import_folder(tmp_path, partitioner=place)
        assert "not imported: 2 hold NaN or infinity: transformer.wte.weight (1 infinite), " in str(
            error.value
        )
        assert "transformer.h.1.attn.c_attn.weight (2 NaN, 1 infinite); " in str(error.value)

    def test_in_from_pytorch_and_from_memory(self, tmp_path):
        tensors = state_dict_from_params(make_params(CONFIGS["bert"]), CONFIGS["bert"])
        tensors["cls.predictions.bias"][:] = np.nan
        with pytest.raises(
            CheckpointError, match=r"1 holds NaN or infinity: cls\.predictions\.bias \(12 NaN\)"
        ):
            params_from_state_dict(tensors, CONFIGS["bert"])
        exported("bert", tmp_path)
        (tmp_path / "model.safetensors").unlink()
        torch.save({k: torch.from_numpy(v) for k, v in tensors.items()}, tmp_path / "pytorch_model.bin")
        with pytest.raises(CheckpointError, match=r"cls\.predictions\.bias \(12 NaN\)"):
            import_folder(tmp_path)

    def test_too_large_for_float32(self):
        tensors = state_dict_from_params(make_params(CONFIGS["gpt2"]), CONFIGS["gpt2"])
        tensors["transformer.ln_f.bias"] = np.full(8, 1e300)
        with pytest.raises(CheckpointError, match=r"transformer\.ln_f\.bias \(8 infinite\)"):
            params_from_state_dict(tensors, CONFIGS["gpt2"])

    def test_all_of_it_in_a_short_message(self, tmp_path):
        params = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), make_params(CONFIGS["bert"]))
        with pytest.raises(CheckpointError, match=r"\d+ hold NaN or infinity: .* and \d+ more; ") as error:
            export_folder(params, CONFIGS["bert"], tmp_path / "out")
        assert len(str(error.value)) < 1500

    @pytest.mark.parametrize("on_device", [False, True])
    @pytest.mark.parametrize("format_name", ["huggingface", "stablehlo"])
    def test_out(self, format_name, on_device, tmp_path):
        params = make_params(CONFIGS["llama"])
        params["decoder"]["layers"]["mlp"]["wo"][1, 0, 0] = np.nan
        params["decoder"]["final_norm"]["scale"][:] = np.inf
        given = jax.device_put(params) if on_device else params
        message = r"not exported: 2 hold NaN or infinity: .*norm/scale \(8 infinite\), .*wo \(1 NaN\)"
        with pytest.raises(CheckpointError, match=message):
            FORMATS[format_name].export_folder(given, CONFIGS["llama"], tmp_path / "out")
        assert list(tmp_path.iterdir()) == []
