"""Parts of a training set for members of an ensemble: bootstraps, weighted draws and folds.

All three keep or leave out whole groups (`group` among an example's metadata: one scene, one question in two
languages, duplicates), so that nothing of what is left out is there under another id.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sepiola.data.example import Example
from sepiola.errors import DataError, shown


def group_of(example: Example) -> str:
    """What the example has in common with others that say the same; its id where its dataset names no group."""
    return str(example.metadata.get("group") or example.id)


def bootstrap(examples: Sequence[Example], seed: int) -> list[Example]:
    """Efron's bootstrap over groups: as many groups as there are, drawn with replacement, in the order of the examples.

    An example whose group is drawn n times stands there n times; about 37% of the groups are not drawn.
    """
    groups = {name: number for number, name in enumerate(dict.fromkeys(map(group_of, examples)))}
    drawn = np.random.default_rng(seed).integers(len(groups), size=len(groups)) if groups else np.zeros(0, dtype=int)
    times = np.bincount(drawn, minlength=len(groups))
    return [example for example in examples for _ in range(times[groups[group_of(example)]])]


def weighted_draw(examples: Sequence[Example], weights: Sequence[float], seed: int) -> list[Example]:
    """As many examples as there are, each as often as its weight says: boosting by resampling.

    The draw is systematic (one random offset, then even steps), so an example of share `w` stands there `n · w` times
    but for rounding, and equal weights give every example once. Raises DataError for weights that do not fit.
    """
    shares = np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(examples),) or not np.isfinite(shares).all() or (shares < 0).any() or not shares.sum() > 0:
        raise DataError(f"weights: expected {len(examples)} numbers from 0 up that are not all 0, one an example")
    ends = np.cumsum(shares / shares.sum()) * len(examples)
    ends[-1] = len(examples)
    counts = np.diff(np.floor(ends - np.random.default_rng(seed).random() + 1e-9), prepend=-1.0).astype(int)
    return [example for example, times in zip(examples, counts, strict=True) for _ in range(times)]


def folds(examples: Sequence[Example], count: int, seed: int) -> list[int]:
    """The fold of each example, 0 to `count` - 1: groups in a drawn order, each into the fold that holds the fewest.

    Raises DataError for fewer groups than folds.
    """
    sizes: dict[str, int] = {}
    for example in examples:
        sizes[group_of(example)] = sizes.get(group_of(example), 0) + 1
    if not 2 <= count <= len(sizes):
        raise DataError(f"folds: got {shown(count)}; expected from 2 to the number of groups ({len(sizes)})")
    names = list(sizes)
    held = [0] * count
    of: dict[str, int] = {}
    for place in np.random.default_rng(seed).permutation(len(names)):
        fold = min(range(count), key=held.__getitem__)
        of[names[place]] = fold
        held[fold] += sizes[names[place]]
    return [of[group_of(example)] for example in examples]
