"""Handwritten digits by softmax: 64 pixels in, ten probabilities out.

It learns in batches, at a falling learning rate. The network gives ten logits Z, and softmax with the log-likelihood
has the gradient dC/dZ = A - Y, as the sigmoid with binary cross-entropy has. Run it by `python -m demos.digits`.
"""

from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
import nn
import viz
from demos._drawing import QUIET, VERMILLION, picture

DATA = Path(__file__).parent / "data" / "digits.csv.gz"


class Result(NamedTuple):
    """What the demo found: accuracies on both parts, the confusion matrix of the test part, and the picture."""

    training: float
    test: float
    confusion: NDArray[np.int64]
    files: list[Path]


def main(out: str | PathLike[str] = "out", seed: int = 0, epochs: int = 30) -> Result:
    """Train on three quarters of the images, and read the rest.

    Notes
    -----
    No seed was chosen: over the seeds 0 to 19 the test accuracy is 0.978 in the mean and 0.969 at the least.
    """
    rng = np.random.default_rng(seed)  # all randomness comes from here
    X, Y, *_ = nn.data.read_csv(DATA, target="digit", categorical="digit")  # Y: ten classes
    X, X_test, Y, Y_test = nn.data.train_test_split(X / 16, Y, test_size=0.25, stratify=Y, rng=rng)  # ink from 0 to 1
    print(f"{len(Y)} images of 8 x 8 pixels to learn from, {len(Y_test)} to be read\n")

    model = nn.MLP(64, [64, 10], activation="relu", rng=rng)
    print(nn.summary(model), "\n")
    optimizer = nn.optim.Adam(model.parameters(), lr=0.01)
    scheduler = nn.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    batches = nn.data.DataLoader(nn.data.TensorDataset(X, Y), batch_size=32, shuffle=True, rng=rng)
    history = nn.fit(
        model, batches, nn.CrossEntropyLoss(), optimizer, epochs=epochs, scheduler=scheduler, progress=False
    )
    print(f"cross-entropy {history.loss[0]:.4f} in epoch 1, {history.loss[-1]:.4f} in epoch {epochs}")

    with mg.no_grad():
        Z, Z_test = model(mg.Tensor(X)), model(mg.Tensor(X_test))  # (m, 10)
        A_test = mg.softmax(Z_test).numpy()
    training, test = nn.metrics.accuracy(Z, Y), nn.metrics.accuracy(Z_test, Y_test)
    confusion = nn.metrics.confusion_matrix(Z_test, Y_test)
    wrong = round((1 - test) * len(Y_test))
    print(f"accuracy      {training:.4f} on the training part, {test:.4f} on the test part ({wrong} of them wrong)")
    files = picture(Path(out) / "digits", 11.5, 5.2, lambda figure: draw(figure, confusion, X_test, Y_test, A_test))
    return Result(training, test, confusion, files)


def draw(figure: Any, confusion: NDArray[np.int64], X: NDArray[Any], Y: NDArray[Any], A: NDArray[Any]) -> None:
    """The confusion matrix, and the mistakes that the network was surest of."""
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.05))
    axes = left.subplots()
    viz.confusion(confusion, ax=axes)
    axes.set(xlabel="digit read", ylabel="digit written")

    wrong = np.flatnonzero(A.argmax(axis=1) != Y)
    surest = wrong[np.argsort(-A[wrong].max(axis=1), kind="stable")][:8]
    right.suptitle("The mistakes it was surest of" if len(surest) else "No mistakes", fontsize=12)
    grid = right.subplots(2, 4)
    for cell in grid.flat:
        cell.set_axis_off()
    for cell, i in zip(grid.flat, surest, strict=False):
        cell.imshow(X[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        cell.text(3.5, 8.1, f"written {Y[i]}", ha="center", va="top", color=QUIET)
        cell.text(3.5, 9.5, f"read {A[i].argmax()} ({A[i].max():.1%})", ha="center", va="top", color=VERMILLION)


if __name__ == "__main__":
    main()
