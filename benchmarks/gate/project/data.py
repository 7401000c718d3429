"""The project's data: handwritten digits."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def digits():
    """8 x 8 images, each pixel with mean 0 and variance 1 over the training images."""
    bunch = load_digits()
    x_train, x_eval, y_train, y_eval = train_test_split(
        bunch.images[:, None], bunch.target, test_size=0.2, random_state=0, stratify=bunch.target
    )
    mean, deviation = x_train.mean(axis=0), x_train.std(axis=0)
    deviation = np.where(deviation == 0, 1.0, deviation)
    x_train, x_eval = (x_train - mean) / deviation, (x_eval - mean) / deviation
    return {"x_train": x_train, "y_train": y_train, "x_eval": x_eval, "y_eval": y_eval, "task": "multiclass"}
