"""A classifier: a deep averaging network (Iyyer et al. 2015), the mean of a review's word vectors through one hidden layer."""

import numpy as np
import torch

from trainables.classifier import Batch, Classifier, Weights


class AveragedWords(Classifier):
    """embedding (V, E); hidden (H, E), hidden_bias (H); output (C, H), output_bias (C)."""

    sites = {"embedding": "word", "hidden": "input", "output": "output"}

    def draw_weights(self, rng, num_inputs, num_classes):
        E, H = self.spec.embedding_dim, self.spec.hidden_dim
        return {
            "embedding": rng.normal(0, self.spec.embedding_std, (num_inputs, E)),
            "hidden": rng.uniform(-1, 1, (H, E)) / np.sqrt(E),
            "hidden_bias": np.zeros(H),
            "output": rng.uniform(-1, 1, (num_classes, H)) / np.sqrt(H),
            "output_bias": np.zeros(num_classes),
        }

    def hidden_BH(self, weights: Weights, batch: Batch) -> torch.Tensor:
        words_BLE = torch.nn.functional.embedding(batch.token_ids_BL, weights["embedding"])
        real_BL = torch.arange(words_BLE.shape[1], device=words_BLE.device) < batch.lengths_B[:, None]
        mean_BE = (words_BLE * real_BL[:, :, None]).sum(dim=1) / batch.lengths_B[:, None]
        return torch.nn.functional.linear(mean_BE, weights["hidden"], weights["hidden_bias"]).relu()
