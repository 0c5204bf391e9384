"""Pretrain on a mixture: text under two objectives and pairs of a task, each with a share of every batch.

    t5lite prepare text --inputs my_text/*.txt --output data/books --vocabulary-size 2048
    t5lite prepare pairs --inputs pairs.tsv --inputs-field 0 --targets-field 1 --output data/pairs \
        --prefix "translate English to Spanish: " --vocabulary data/books/vocabulary/spiece.model
    t5lite inspect-data --config configs/pretrain_mixture.py
    t5lite train --config configs/pretrain_mixture.py --run-dir runs/mixture

Multi-task pretraining as in Raffel et al. 2019, 3.5.3, at the shape of pretrain_laptop.py. Shares by weight:
a half of the rows is span corruption, three tenths heavier noise, a fifth pairs. For shares by size, leave
out the weights and set temperature and max_examples. To change the mixture of a run, change it here (or by
--data.sources.2.weight 0.4) and run the same command again.
"""

from t5lite import recipe as r


def config() -> r.RunConfig:
    """Return the recipe; copy this file and change what you need."""
    text = r.PretrainingDataConfig(store="data/books/train", inputs_length=128)
    noisy = r.replace(text, objective=r.SpanCorruption(noise_density=0.3))
    pairs = r.PairsDataConfig(store="data/pairs/train", inputs_length=128, targets_length=128, pack=True)
    sources = (
        r.MixtureSource(name="spans", data=text, weight=0.5),
        r.MixtureSource(name="heavy-noise", data=noisy, weight=0.3),
        r.MixtureSource(name="translation", data=pairs, weight=0.2),
    )
    return r.RunConfig(
        run_dir="runs/mixture",
        model=r.LAPTOP_T5,
        execution=r.Execution(scan_unroll=-1),
        data=r.MixtureDataConfig(sources=sources),
        optimizer=r.AdafactorConfig(),
        schedule=r.WarmupStableDecay(peak=0.05, warmup_steps=100, decay_steps=600),
        training=r.TrainingConfig(total_steps=1800, batch_size=32, log_every_steps=20, eval_every_steps=300),
        evaluations={"heldout": r.EvaluationConfig(store="data/books/heldout", source="heavy-noise")},
        checkpoints=r.CheckpointConfig(save_every_steps=300, keep_last=1),
    )
