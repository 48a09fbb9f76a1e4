"""A head of Keras layers on standardised embeddings, trained batch by batch from the matrix."""

import math
from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray

from training.config import LayersConfig
from training.examples import Examples, LabelledEmbeddings
from training.heads import Dense, Fit, Head, Standardisation

Batch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def fit(
    data: LabelledEmbeddings,
    config: LayersConfig,
    seed: int,
    report: Callable[[int], None] = lambda done: None,
) -> Fit:
    """Trains on the training images until validation loss stops falling; keeps the best weights.

    Equal data, configuration and seed give equal weights on one machine's CPU. `report` is told
    after each epoch how many are done.
    """
    keras.utils.set_random_seed(seed)
    train, validation = data.examples("train"), data.examples("validation")
    scale = Standardisation.of(train.embeddings, train.weights)
    network = build(train.embeddings.shape[1], len(data.labels), config)
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=config.patience, restore_best_weights=True
    )
    history = network.fit(
        Batches(train, scale, len(data.labels), config.batch_size, seed),
        validation_data=Batches(validation, scale, len(data.labels), config.batch_size),
        epochs=config.epochs,
        callbacks=[
            stopping,
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: report(epoch + 1)),
        ],
        verbose=0,
    )
    head = to_head(network, scale)
    losses = history.history["val_loss"]
    chosen = {"epochs": len(losses), "best_epoch": int(np.argmin(losses)) + 1}
    return Fit("layers", validated=head, finish=lambda: head, chosen=chosen)


def build(inputs: int, classes: int, config: LayersConfig) -> keras.Model:
    """The compiled network: dropout before every dense layer, ReLU after every hidden one."""
    decay = keras.regularizers.L2(config.l2)
    x = first = keras.Input((inputs,))
    for units in config.hidden:
        x = keras.layers.Dropout(config.dropout)(x)
        x = keras.layers.Dense(units, activation=config.activation, kernel_regularizer=decay)(x)
    x = keras.layers.Dropout(config.dropout)(x)
    network = keras.Model(first, keras.layers.Dense(classes, kernel_regularizer=decay)(x))
    network.compile(
        optimizer=keras.optimizers.get(
            {
                "class_name": config.optimizer,
                "config": {"learning_rate": config.learning_rate},
            }
        ),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=config.label_smoothing
        ),
    )
    return network


def to_head(network: keras.Model, scale: Standardisation) -> Head:
    """The network's dense layers, the standardisation folded into the first."""
    dense = [_dense(layer) for layer in network.layers if isinstance(layer, keras.layers.Dense)]
    return Head((scale.fold(dense[0]), *dense[1:]))


def _dense(layer: keras.layers.Dense) -> Dense:
    kernel, bias = layer.get_weights()
    return Dense(kernel, bias, layer.activation.__name__)


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of (standardised embeddings, one-hot labels, weights), shuffled where seeded."""

    def __init__(
        self,
        examples: Examples,
        scale: Standardisation,
        classes: int,
        batch_size: int,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self._examples = examples
        self._scale = scale
        self._one_hot = np.eye(classes, dtype=np.float32)
        self._batch_size = batch_size
        self._shuffling = None if seed is None else np.random.default_rng(seed)
        self._order = np.arange(len(examples))
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self._order) / self._batch_size)

    def __getitem__(self, index: int) -> Batch:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        examples = self._examples
        return (
            self._scale.apply(examples.embeddings[rows]),
            self._one_hot[examples.targets[rows]],
            examples.weights[rows],
        )

    def on_epoch_end(self) -> None:
        """Draws the next epoch's order."""
        if self._shuffling is not None:
            self._shuffling.shuffle(self._order)
