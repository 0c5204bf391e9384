"""Folders and tensors that are no model's weights as they stand: adapters and quantized checkpoints."""

import re
from collections.abc import Iterable
from pathlib import Path

from t5lite.core.errors import UserError
from t5lite.interop.huggingface.family import Values
from t5lite.interop.huggingface.stored_tensors import UNQUANTIZE, has_weights, read_json
from t5lite.interop.huggingface.usage import read_generation
from t5lite.interop.trees import listed
from t5lite.models.config import ModelConfig

ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_FILES = (ADAPTER_CONFIG, "adapter_model.safetensors", "adapter_model.bin")
# Parts of names that PEFT gives: LoRA, DoRA, LoHa, LoKr, OFT, IA3, VeRA, and modules wrapped by any of them.
_ADAPTER = re.compile(
    r"(^|\.)(base_layer|base_model|original_module|modules_to_save|lora_[A-Za-z_]+|(hada|lokr|oft|vera|ia3)_\w+"
    r"|prompt_embeddings|prompt_encoder)(\.|$)"
)


def refuse_adapter(folder: Path) -> None:
    """Check that a folder holds no adapter, alone or beside weights that it would change.

    Raises:
      UserError: saying how to merge it.
    """
    found = [name for name in _ADAPTER_FILES if (folder / name).is_file()]
    if not found:
        return
    values = Values(read_json(folder / ADAPTER_CONFIG) if ADAPTER_CONFIG in found else {})
    base = values.get("base_model_name_or_path") or "its base model"
    alone = (
        f"; to import the weights beside it as they are, take {', '.join(found)} away"
        if has_weights(folder)
        else ""
    )
    raise UserError(
        f"{folder} holds an adapter ({values.get('peft_type', 'PEFT')}) of {base}, not a whole model; merge "
        f"it first: load {base} with transformers, then PeftModel.from_pretrained(model, {str(folder)!r})"
        f".merge_and_unload().save_pretrained(MERGED), the tokenizer likewise, and import MERGED{alone}"
    )


def refuse_adapter_tensors(names: Iterable[str]) -> None:
    """Check that no tensors are of an adapter, which was saved within its model.

    Raises:
      UserError: with their number, and how to merge them.
    """
    found = [name for name in names if _ADAPTER.search(name)]
    if found:
        raise UserError(
            f"{len(found)} tensors are of an adapter that is not merged: {listed(found, 4)}; merge it first: "
            "load the model as you trained it with PEFT, call merge_and_unload(), then save_pretrained()"
        )


def refuse_other_start(folder: Path, config: ModelConfig) -> None:
    """Check that generation_config.json starts a text that is written with the model's own start id.

    Raises:
      UserError: naming both.
    """
    start = read_generation(folder).get("decoder_start_token_id")
    if config.cross_attends and start not in (None, config.decoder_start_id):
        raise UserError(
            f"generation_config.json: decoder_start_token_id={start!r}, but this model's texts start with id "
            f"{config.decoder_start_id} here; if it was trained with that, write "
            f"decoder_start_token_id={config.decoder_start_id} there, else it cannot be imported"
        )


def refuse_quantized(values: Values) -> None:
    """Check that config.json speaks of no quantization.

    Raises:
      UserError: naming its method.
    """
    quantization = values.get("quantization_config")
    if quantization:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
        raise UserError(
            f"config.json: quantization_config says {method!r}, and a quantized checkpoint cannot be "
            f"imported; {UNQUANTIZE}"
        )
