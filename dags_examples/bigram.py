"""A bigram language model over characters, trained by gradient descent: small, and real all the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save


class Trained(NamedTuple):
    """The files that an upload needs, and how well the training went."""

    model_safetensors: bytes
    config: dict[str, Any]
    first_loss: float
    last_loss: float


def train(text: str, *, seed: str, steps: int = 300, learning_rate: float = 10.0) -> Trained:
    """Learn which character follows which; the same text and seed always make the same bytes."""
    vocabulary = sorted(set(text))
    codes = np.searchsorted(vocabulary, list(text))
    pairs = np.zeros((len(vocabulary), len(vocabulary)))
    np.add.at(pairs, (codes[:-1], codes[1:]), 1 / (len(codes) - 1))
    logits = np.random.default_rng(list(seed.encode())).normal(scale=0.1, size=pairs.shape)

    losses = []
    for _ in range(steps + 1):
        log_probability = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        losses.append(float(-(pairs * log_probability).sum()))
        logits -= learning_rate * (pairs.sum(axis=1, keepdims=True) * np.exp(log_probability) - pairs)

    return Trained(
        model_safetensors=save({"bigram.logits": logits.astype(np.float32)}),
        config={"model_type": "bigram", "vocab_size": len(vocabulary), "vocabulary": "".join(vocabulary)},
        first_loss=losses[0],
        last_loss=losses[-1],
    )
