"""Which songs to label next: those whose class is uncertain, and which differ from each other.

Uncertainty: the margin between the two best classes (T. Scheffer, C. Decomain and S. Wrobel,
"Active hidden Markov models for information extraction", IDA 2001). Diversity: greedily, as far as
possible from the songs that are labelled or chosen (O. Sener and S. Savarese, "Active learning for
convolutional neural networks: a core-set approach", ICLR 2018).
"""

import numpy as np

from deepgenre.training.logistic import Head, unit


def most_useful(head: Head, embeddings: np.ndarray, count: int) -> list[int]:
    """Returns the rows of the songs to label, the most useful first, at most `count`.

    embeddings: of songs without a label, (songs, features). The usefulness is the uncertainty times
    the distance, 1 minus the cosine, to the nearest song that is an example or chosen already.
    """
    unsure = uncertainty(head.scores(embeddings), multi_label=head.multi_label)
    directions = unit(head.standardised(embeddings))
    distance = 1 - (directions @ head.examples.T).max(axis=1)
    chosen: list[int] = []
    while len(chosen) < min(count, len(embeddings)):
        useful = unsure * np.maximum(distance, 0)
        useful[chosen] = -1
        chosen.append(int(useful.argmax()))
        distance = np.minimum(distance, 1 - directions @ directions[chosen[-1]])
    return chosen


def uncertainty(scores: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """Returns 0 (certain) to 1 of each song, float64 (songs,).

    Genres: 1 minus the margin between the two best. Tags: that of the least certain tag.
    """
    if multi_label:
        return (1 - np.abs(2 * scores - 1)).max(axis=1)
    second, first = np.sort(scores, axis=1)[:, -2:].T
    return 1 - (first - second)
