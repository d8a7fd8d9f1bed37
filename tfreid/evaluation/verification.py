"""Verification: how well a threshold on the distance separates genuine and impostor pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Callable, NamedTuple

import numpy as np

from tfrecords.errors import UserError
from tfreid.evaluation.protocol import Protocol

# Blocks of float32 distances of positive pairs [p] and of negative pairs [n].
Pairs = Iterable[tuple[np.ndarray, np.ndarray]]

# The leading bits of a float32, which select its bin: at most 2^-11 of the distance wide.
_BIN_BITS = 20
_REST_BITS = 32 - _BIN_BITS
# Number of distances counted at once, large enough to justify a pass over the bins.
_BATCH = 2**22
_SIGN_BIT, _ALL_BITS = np.uint32(2**31), np.uint32(2**32 - 1)
_NOT_FINITE = "pair distances hold NaN or infinity; check the features they came from."


class OperatingPoint(NamedTuple):
    """One threshold and its rates, as fractions in 0..1.

    Attributes:
        threshold: Pairs at this distance or nearer are accepted as the same identity.
        true_positive_rate: Share of the positive pairs that are accepted.
        false_positive_rate: Share of the negative pairs that are accepted.
    """

    threshold: float
    true_positive_rate: float
    false_positive_rate: float


@dataclass(frozen=True, eq=False)
class VerificationCurve:
    """The number of pairs at each distance, and the rates that follow.

    Attributes:
        distances: float64 [n], ascending and distinct.
        positives: int64 [n], number of positive (genuine) pairs at each distance.
        negatives: int64 [n], number of negative (impostor) pairs at each distance.
    """

    distances: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    @property
    def num_positives(self) -> int:
        """Number of positive pairs."""
        return int(self.positives.sum())

    @property
    def num_negatives(self) -> int:
        """Number of negative pairs."""
        return int(self.negatives.sum())

    @property
    def true_positive_rates(self) -> np.ndarray:
        """Rates at the `thresholds`, float64 [n + 1]."""
        return np.concatenate([[0.0], np.cumsum(self.positives) / self.num_positives])

    @property
    def false_positive_rates(self) -> np.ndarray:
        """Rates at the `thresholds`, float64 [n + 1]."""
        return np.concatenate([[0.0], np.cumsum(self.negatives) / self.num_negatives])

    @property
    def thresholds(self) -> np.ndarray:
        """Thresholds, float64 [n + 1]; the first is below all distances and accepts nothing."""
        below = np.nextafter(np.float32(self.distances[0]), np.float32(-np.inf))
        return np.concatenate([[float(below)], self.distances])

    @property
    def area(self) -> float:
        """Area under the ROC curve, the probability that a positive pair is nearer than a negative.

        Ties count half.
        """
        rates = self.true_positive_rates
        return float(np.sum(np.diff(self.false_positive_rates) * (rates[1:] + rates[:-1]) / 2))

    @property
    def average_precision(self) -> float:
        """Mean over the positive pairs of the precision of a threshold at their distance."""
        accepted = np.cumsum(self.positives + self.negatives)
        precision = np.cumsum(self.positives) / accepted
        return float(np.sum(self.positives * precision) / self.num_positives)

    def most_accurate_threshold(self) -> float:
        """Returns the threshold that maximises accuracy, midway between two distances.

        Ties go to the lowest threshold; it may be below all distances.
        """
        right = np.concatenate([[0], np.cumsum(self.positives)]) + self.num_negatives
        right = right - np.concatenate([[0], np.cumsum(self.negatives)])
        place = int(np.argmax(right))
        if place in (0, len(self.distances)):
            return float(self.thresholds[place])
        return float(self.distances[place - 1 : place + 1].mean())

    @property
    def equal_error_rate(self) -> float:
        """Equal error rate, with linear interpolation of the ROC curve."""
        before, after = self._crossing()
        misses, false = 1.0 - self.true_positive_rates, self.false_positive_rates
        gap_before = misses[before] - false[before]
        gap_after = misses[after] - false[after]
        if gap_before == gap_after:
            return float(false[after])
        part = gap_before / (gap_before - gap_after)
        return float(false[before] + part * (false[after] - false[before]))

    def equal_error_point(self) -> OperatingPoint:
        """Returns the observed distance at which the two error rates differ least."""
        misses, false = 1.0 - self.true_positive_rates, self.false_positive_rates
        return self._point(min(self._crossing(), key=lambda at: abs(misses[at] - false[at])))

    def at_false_positive_rate(self, rate: float) -> OperatingPoint:
        """Returns the highest threshold whose false-positive rate is at most `rate`.

        Raises:
            ValueError: If the rate is not in 0..1.
        """
        if not 0 <= rate <= 1:
            raise ValueError(f"a false-positive rate is from 0 to 1, received {rate}")
        allowed = _allowed(rate, self.num_negatives)
        return self._point(np.searchsorted(np.cumsum(self.negatives), allowed, side="right"))

    def at_threshold(self, threshold: float) -> OperatingPoint:
        """Returns the rates of any threshold."""
        place = np.searchsorted(self.distances, threshold, side="right")
        return self._point(place)._replace(threshold=float(threshold))

    def accuracy(self, threshold: float) -> float:
        """Returns the share of all pairs that a threshold classifies correctly."""
        point = self.at_threshold(threshold)
        right = point.true_positive_rate * self.num_positives
        right += (1.0 - point.false_positive_rate) * self.num_negatives
        return right / (self.num_positives + self.num_negatives)

    def _crossing(self) -> tuple[int, int]:
        """Returns the positions before and at which false positives first reach the misses."""
        misses, false = 1.0 - self.true_positive_rates, self.false_positive_rates
        at = int(np.argmax(false >= misses))
        return max(at - 1, 0), at

    def _point(self, place: int) -> OperatingPoint:
        return OperatingPoint(float(self.thresholds[place]),
                              float(self.true_positive_rates[place]),
                              float(self.false_positive_rates[place]))


def verification_curve(positive_distances: np.ndarray,
                       negative_distances: np.ndarray) -> VerificationCurve:
    """Computes the exact curve of distances that fit into memory.

    Args:
        positive_distances: Distances [p] of positive (genuine) pairs.
        negative_distances: Distances [n] of negative (impostor) pairs.

    Raises:
        UserError: If there are no pairs of one kind, or a distance is not finite.

    Example:
        >>> curve = tfreid.verification_curve(np.array([0.1, 0.2, 0.7]), np.array([0.6, 0.9]))
        >>> round(curve.area, 4)
        0.8333
    """
    positive, negative = np.ravel(positive_distances), np.ravel(negative_distances)
    _check_pairs(len(positive), len(negative))
    joined = np.concatenate([positive, negative]).astype(np.float64)
    if not np.isfinite(joined).all():
        raise UserError(_NOT_FINITE)
    distances, places = np.unique(joined, return_inverse=True)
    places = places.ravel()
    return VerificationCurve(
        distances,
        np.bincount(places[: len(positive)], minlength=len(distances)),
        np.bincount(places[len(positive) :], minlength=len(distances)),
    )


def streamed_verification_curve(pairs: Callable[[], Pairs],
                                false_positive_rates: Sequence[float] = ()) -> VerificationCurve:
    """Computes the curve of any number of distances in a few megabytes of memory.

    A first pass counts the distances in bins of relative width 2^-11, a second one single distances
    in the bins of the equal error rate and the wanted false-positive rates. These and their
    thresholds are exact in float32, as are the rates at all points of the curve; only the area
    interpolates linearly inside a bin.

    Args:
        pairs: Returns blocks of float32 distances of positive pairs [p] and negative pairs [n]; it
            is called twice and must return the same both times.
        false_positive_rates: Rates that `at_false_positive_rate` will be called with.

    Raises:
        UserError: If there are no pairs of one kind, or a distance is not finite.
    """
    positives, negatives = _count(pairs(), lambda keys: keys >> _REST_BITS, 2**_BIN_BITS)
    _check_pairs(positives.sum(), negatives.sum())
    bins = np.flatnonzero(positives + negatives)
    # The largest distance of each bin.
    edges = _distances_of((bins + 1) * 2**_REST_BITS - 1)
    coarse = VerificationCurve(edges, positives[bins], negatives[bins])
    # The curve has one point more than bins, so its point `at` ends bin `at - 1`.
    wanted = [coarse._crossing()[1] - 1]
    reached = np.cumsum(coarse.negatives)
    for rate in false_positive_rates:
        wanted.append(np.searchsorted(reached, _allowed(rate, reached[-1]), side="right"))
    # The last distance before one of these positions may be in the bin before it. The smallest
    # distance determines the threshold that accepts nothing.
    wanted = np.concatenate([wanted, np.subtract(wanted, 1), [0]])
    wanted = np.unique(np.clip(wanted, 0, len(bins) - 1))
    return _refined(coarse, pairs(), bins, wanted)


def protocol_pairs(protocol: Protocol, progress: bool, description: str) -> Pairs:
    """Yields each query's float32 distances to positives and negatives, without ignored images."""
    for _, row, positives in protocol.rows(progress=progress, description=description):
        row = row.astype(np.float32, copy=False)
        positive = row[positives]
        row[positives] = np.inf
        yield positive[np.isfinite(positive)], row[np.isfinite(row)]


def _refined(coarse: VerificationCurve, pairs: Pairs, bins: np.ndarray,
             wanted: np.ndarray) -> VerificationCurve:
    """Replaces some bins of a coarse curve by the single distances in them."""
    places = np.full(2**_BIN_BITS, -1, np.int64)
    places[bins[wanted]] = np.arange(len(wanted))

    def code(keys):
        place = places[keys >> _REST_BITS]
        inside = place >= 0
        return place[inside] * 2**_REST_BITS + keys[inside] % 2**_REST_BITS

    positives, negatives = _count(pairs, code, len(wanted) * 2**_REST_BITS)
    codes = np.flatnonzero(positives + negatives)
    place, rest = np.divmod(codes, 2**_REST_BITS)
    distances = _distances_of(bins[wanted][place] * 2**_REST_BITS + rest)
    joined = [np.concatenate([np.delete(old, wanted), new]) for old, new in (
        (coarse.distances, distances),
        (coarse.positives, positives[codes]),
        (coarse.negatives, negatives[codes]),
    )]
    order = np.argsort(joined[0])
    return VerificationCurve(*(column[order] for column in joined))


def _count(pairs: Pairs, code: Callable[[np.ndarray], np.ndarray],
           size: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts positive and negative distances by the code of their keys: int64 [size] each."""
    counts = np.zeros((2, size), np.int64)
    waiting: tuple[list, list] = ([], [])

    def flush():
        for side, parts in enumerate(waiting):
            if parts:
                counts[side] += np.bincount(code(_keys(np.concatenate(parts))), minlength=size)
                parts.clear()

    held = 0
    for pair in pairs:
        for parts, distances in zip(waiting, pair):
            parts.append(distances)
            held += len(distances)
        if held >= _BATCH:
            flush()
            held = 0
    flush()
    return counts[0], counts[1]


def _keys(distances: np.ndarray) -> np.ndarray:
    """Returns int64 keys below 2^32 that sort like the float32 distances."""
    # Adding zero makes -0.0 and 0.0 the same bits.
    distances = np.asarray(distances, np.float32) + np.float32(0)
    if not np.isfinite(distances).all():
        raise UserError(_NOT_FINITE)
    bits = distances.view(np.uint32)
    # Of negative numbers the larger have the smaller bits.
    return (bits ^ np.where(bits >> 31, _ALL_BITS, _SIGN_BIT)).astype(np.int64)


def _distances_of(keys: np.ndarray) -> np.ndarray:
    """Inverts `_keys`, to float64."""
    keys = keys.astype(np.uint32)
    bits = keys ^ np.where(keys >> 31, _SIGN_BIT, _ALL_BITS)
    return bits.view(np.float32).astype(np.float64)


def _allowed(rate: float, count: int) -> int:
    """Returns rate * count, rounded down; the rate is meant as a decimal, not as a float."""
    return int(np.floor(rate * count * (1 + 1e-12)))


def _check_pairs(positives: int, negatives: int) -> None:
    if not positives:
        raise UserError("there is no positive pair across cameras, so no threshold can be found; "
                        "check the identities and cameras.")
    if not negatives:
        raise UserError("there is no negative pair, so no threshold can be found; give records of "
                        "several identities.")
