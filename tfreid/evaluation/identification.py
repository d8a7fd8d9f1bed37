"""How well computed identities agree with the true ones, over all cameras."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from tfrecords.errors import UserError
from tfrecords.files import open_table


class IdentificationScores(NamedTuple):
    """Scores of computed identities, fractions in 0..1; NaN where there is nothing to divide by.

    Attributes:
        idf1: 2 IDTP / (2 IDTP + IDFP + IDFN), the harmonic mean of the two following.
        idp: IDTP / (IDTP + IDFP), identification precision.
        idr: IDTP / (IDTP + IDFN), identification recall.
    """

    idf1: float
    idp: float
    idr: float


def identification_scores(truth: np.ndarray, computed: np.ndarray) -> IdentificationScores:
    """Computes IDF1, IDP and IDR of detections whose boxes are given.

    Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking"
    (2016), Section 2.3: true and computed identities are matched one to one so that they agree on
    as many detections as possible. These are IDTP; the other detections with a computed identity
    are IDFP, and the others with a true one IDFN.

    Args:
        truth: Text [n], the person in each detection; empty if there is none.
        computed: Text [n], the person that was found in it; empty if it was missed.

    Returns:
        The scores.

    Example:
        >>> scores = identification_scores(np.array(["a", "a", "a", "b"]),
        ...                                np.array(["1", "1", "2", "2"]))
        >>> scores.idf1
        0.75
    """
    truth, computed = np.asarray(truth, str), np.asarray(computed, str)
    real, found = truth != "", computed != ""
    people, rows = np.unique(truth[real & found], return_inverse=True)
    numbers, columns = np.unique(computed[real & found], return_inverse=True)
    counts = np.zeros((len(people), len(numbers)), int)
    np.add.at(counts, (rows, columns), 1)
    agreed = counts[linear_sum_assignment(counts, maximize=True)].sum()
    with np.errstate(invalid="ignore"):
        return IdentificationScores(*(float(np.divide(agreed, among)) for among in (
            (real.sum() + found.sum()) / 2, found.sum(), real.sum())))


def share_with_one_number(truth: np.ndarray, computed: np.ndarray) -> float:
    """Returns the share of people all of whose detections have one number, which no one else has.

    Args:
        truth: Text [n], as in `identification_scores`.
        computed: Text [n], likewise.

    Returns:
        A fraction in 0..1; NaN if there are no people.
    """
    truth, computed = np.asarray(truth, str), np.asarray(computed, str)
    numbers = [set(computed[truth == person].tolist()) for person in set(truth.tolist()) - {""}]
    bearers = collections.Counter(number for some in numbers for number in some)
    right = [len(some) == 1 and "" not in some and bearers[next(iter(some))] == 1
             for some in numbers]
    return float(np.mean(right)) if right else float("nan")


def read_people(table: str | Path) -> dict[str, str]:
    """Reads the person of each track, as `tfreid render-films` writes them: track -> person.

    Raises:
        UserError: If the CSV table cannot be read, or lacks the columns `track` and `person`.
    """
    reader = open_table(Path(table), "save it as CSV in UTF-8")
    if not {"track", "person"} <= set(reader.fieldnames or ()):
        raise UserError(f"{table} needs the columns track and person.")
    return {row["track"]: row["person"] for row in reader}
