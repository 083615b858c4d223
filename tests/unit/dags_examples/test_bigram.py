from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from bigram import Trained, train
from safetensors.numpy import load

TEXT = Path(__file__).parents[3].joinpath("dags_examples", "corpus.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(TEXT, seed="a week")


def test_the_loss_falls_from_that_of_a_guess_to_what_a_bigram_can_learn(trained: Trained) -> None:
    characters = len(set(TEXT))
    assert trained.first_loss == pytest.approx(np.log(characters), rel=0.05)
    assert trained.last_loss < 0.6 * np.log(characters)


def test_the_weights_are_safetensors_that_the_config_describes(trained: Trained) -> None:
    tensors = load(trained.model_safetensors)
    size = trained.config["vocab_size"]
    assert tensors["bigram.logits"].shape == (size, size)
    assert len(trained.config["vocabulary"]) == size


def test_the_model_has_learned_that_u_follows_q(trained: Trained) -> None:
    vocabulary = trained.config["vocabulary"]
    logits = load(trained.model_safetensors)["bigram.logits"]
    assert vocabulary[logits[vocabulary.index("q")].argmax()] == "u"


def test_a_retry_makes_the_same_weights_and_another_week_makes_others(trained: Trained) -> None:
    def digest(seed: str) -> str:
        return hashlib.sha256(train(TEXT, seed=seed).model_safetensors).hexdigest()

    assert digest("a week") == hashlib.sha256(trained.model_safetensors).hexdigest()
    assert digest("another week") != digest("a week")
