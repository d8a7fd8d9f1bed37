"""Measures a gallery's local store: filling, size, and filtered searches beside exact ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tqdm import tqdm

from tfrecords.writing import scratch_folder
from tfreid.gallery.embedder import unit
from tfreid.gallery.entries import Where
from tfreid.gallery.store import Store

_CAMERAS, _ROWS, _K, _SEED = 10, 1000, 10, 0
# A search is for a fifth of the cameras and half of the time: a tenth of the entries.
_SEARCHED = Where(cameras=["camera-0", "camera-1"], since=0.25, until=0.75)


def measure_gallery_store(entries: int, dimensions: int, searches: int) -> dict[str, Any]:
    """Fills a store with random unit vectors and searches a tenth of them, found by a filter.

    Args:
        entries: Number of entries.
        dimensions: Length of their embeddings.
        searches: Number of searches that are timed.

    Returns:
        Seconds to fill, bytes on the disk, milliseconds of searches (p50, p99) by the store, with
        and without the filter, and by faiss, and recall of the ten nearest.
    """
    random = np.random.default_rng(_SEED)
    vectors = np.empty((entries, dimensions), np.float32)
    for start in range(0, entries, _ROWS):
        part = vectors[start : start + _ROWS]
        part[:] = unit(random.standard_normal(part.shape, np.float32))
    times = random.random(entries)
    queries = unit(random.standard_normal((searches, dimensions), np.float32))
    with scratch_folder("gallery") as folder:
        store = Store(folder / "gallery.db")
        seconds = _fill(store, vectors, times)
        size = sum(path.stat().st_size for path in folder.iterdir())
        opened = time.perf_counter()
        store.close()
        store = Store(folder / "gallery.db")
        opened = time.perf_counter() - opened
        filtered = _timed(queries, lambda query: store.search(query, _K, _SEARCHED, ("key",)))
        everywhere = _timed(queries, lambda query: store.search(query, _K, Where(), ("key",)))
        store.close()
    camera = np.arange(entries) % _CAMERAS
    chosen = np.flatnonzero((camera < 2) & (times >= 0.25) & (times < 0.75))
    exact = _exact(vectors[chosen], queries)
    found = [[int(hit["key"]) for hit in hits] for hits in filtered[0]]
    recall = np.mean([len(set(chosen[row]) & set(hits)) / _K for row, hits in zip(exact, found)])
    return {"entries": entries, "dimensions": dimensions, "searched_entries": len(chosen),
            "seconds_to_fill": round(seconds, 1), "bytes": size,
            "seconds_to_open": round(opened, 2), "recall_at_10": float(recall),
            "filtered_ms": filtered[1], "unfiltered_ms": everywhere[1],
            "faiss": _faiss(vectors, queries, chosen)}


def _fill(store: Store, vectors: np.ndarray, times: np.ndarray) -> float:
    start = time.perf_counter()
    store.create(vectors.shape[1], "cosine")
    with tqdm(total=len(vectors), unit="entry", desc="filling", leave=False) as bar:
        for place in range(0, len(vectors), _ROWS):
            rows = [{"key": str(row), "camera": f"camera-{row % _CAMERAS}",
                     "time": float(times[row]), "track": f"track-{row // 10}", "person": "",
                     "image": "", "thumbnail": "", "embedding": vectors[row]}
                    for row in range(place, min(place + _ROWS, len(vectors)))]
            store.put(rows)
            bar.update(len(rows))
    return time.perf_counter() - start


def _timed(queries: np.ndarray, search: Callable[[np.ndarray], Any]) -> tuple[list, dict]:
    """Returns what searches find, and their median and 99th percentile in milliseconds."""
    search(queries[0])
    found, took = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(search(query))
        took.append(1000 * (time.perf_counter() - start))
    return found, {f"p{rank}": round(float(np.percentile(took, rank)), 1) for rank in (50, 99)}


def _exact(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    similarities = queries @ vectors.T
    return np.argsort(-similarities, axis=1, kind="stable")[:, :_K]


def _faiss(vectors: np.ndarray, queries: np.ndarray, chosen: np.ndarray) -> dict | None:
    try:
        import faiss
    except ImportError:
        return None
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    filtered = faiss.SearchParameters(sel=faiss.IDSelectorBatch(chosen))
    return {"filtered_ms": _timed(queries, lambda query: index.search(
                query[np.newaxis], _K, params=filtered))[1],
            "unfiltered_ms": _timed(queries, lambda query: index.search(
                query[np.newaxis], _K))[1]}
