"""Each recipe fitted from the same seeds, alone or as one of several processes, and the weights it ends at. Asserts nothing.

In float64: sums in another order differ by 1e-16, not by 1e-7, which a training may blow up; a wrong gradient is as wrong as ever.

Run as `python -m tests.fitted_together FOLDER`, or `torchrun --nproc-per-node 2 -m tests.fitted_together FOLDER`.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from schemas.features.catalog import TWEET
from tests.tiny_world import tiny_world
from trainer.data.columns import Encoder
from trainer.learning.fit import FitConfig, fit
from trainer.learning.negatives import Negatives
from trainer.learning.objectives import Objective
from trainer.learning.ranks import processes, together
from trainer.learning.towers import TowerConfig, TwoTowers

MIXED = Objective("sampled_softmax", Negatives("mixed", 8, {"uniform": 0.5, "in_batch": 0.5}), popularity_t=20.0)
# an odd batch size: shares of a batch are of unequal size
RECIPES = {
    "uniform": FitConfig((Objective(negatives=Negatives("uniform", 9)),), 3e-3, epochs=2, batch_size=33),
    "in-batch": FitConfig((Objective(negatives=Negatives("in_batch")),), 3e-3, epochs=2, batch_size=33),
    "softmax beside triplet": FitConfig(
        (MIXED, Objective("triplet", Negatives("implicit", 3), weight=0.5)), 3e-3, epochs=2, batch_size=33
    ),
    "fine-tune": FitConfig((Objective(negatives=Negatives("implicit")),), 3e-4, epochs=1, batch_size=65, frozen="embeddings"),
}


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    world, encoder = tiny_world(users=60, tweets=200, impressions=1_000), Encoder(TWEET)
    examples, corpus = encoder.examples(world.examples), encoder.corpus(world.corpus)
    with together():
        rank = dist.get_rank() if processes() > 1 else 0
        for recipe, config in RECIPES.items():
            for sparse in (False, True):
                shape = TowerConfig(dim=32, embedding_dim=8, hidden=(32,), sparse_gradients=sparse)
                towers = TwoTowers(TWEET, shape, seed=1)
                loss = fit(towers, examples, corpus, config).loss
                # mypy takes each array for the allow_pickle flag
                np.savez(Path(sys.argv[1]) / f"{recipe} {sparse} {rank}.npz", loss=loss, **towers.weights())  # type: ignore[arg-type]
