"""nanoGPT's run for a CPU, Shakespeare by the character, 2,000 steps of 12 x 64 characters: a loss of 1.88.

    head -c 1003854 input.txt | jq -cRs '{text: .}' > bard.jsonl
    tail -c 111540 input.txt | jq -cRs '{text: .}' > bard-heldout.jsonl
    for part in bard bard-heldout; do
        t5lite prepare text --inputs $part.jsonl --output data/$part --vocabulary bytes --extra-ids 0 \
            --heldout-fraction 0; done
    t5lite train --config configs/nanogpt_shakespeare_char.py

Source: karpathy/nanoGPT at 3adf61e, README.md ("I only have a macbook"), config/train_shakespeare_char.py,
train.py and model.py; input.txt is data/tinyshakespeare of karpathy/char-rnn. Held to (README.md): 1.88 nats
a character, of 240 random blocks of the last tenth. Here: 1.881 (docs/reproductions.md).

Not as published: a token is a byte, so that the softmax is over 259 ids, not the 65 characters that occur;
rows are read in a shuffled order, each once an epoch, not from random places; the loss is of every block.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe."""
    return r.RunConfig(
        run_dir="runs/nanogpt-shakespeare-char",
        model=r.replace(
            r.preset("gpt2"),
            vocab_size=259,
            embed_dim=128,
            mlp_dim=512,
            head_dim=32,
            num_heads=4,
            num_layers=4,
            max_length=64,
            norm=r.LayerNorm(epsilon=1e-5, bias=False),
            mlp=r.PlainMLP(activation="gelu"),
            attention=r.AttentionConfig(scaled=True),
        ),
        execution=r.Execution(scan_unroll=-1),
        data=r.PretrainingDataConfig(store="data/bard/train", inputs_length=64, objective=r.CausalLM()),
        optimizer=r.AdamWConfig(b2=0.99, weight_decay=0.1),
        schedule=r.WarmupCosine(peak=1e-3, warmup_steps=100, final_fraction=0.1),
        training=r.TrainingConfig(total_steps=2000, batch_size=12, eval_every_steps=250),
        step=r.StepConfig(z_loss=0.0, max_gradient_norm=1.0),
        evaluations={"heldout": r.EvaluationConfig(store="data/bard-heldout/train", max_examples=None)},
        checkpoints=r.CheckpointConfig(save_every_steps=1000, keep_last=1),
    )
