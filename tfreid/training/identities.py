"""The identities a run is trained on, which may not become others when it is resumed."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrecords.errors import UserError
from tfrecords.files import read_json
from tfreid.config import load_config
from tfreid.records import ImageTable
from tfreid.training.run_folder import RunFolder


def describe_identities(table: ImageTable) -> dict[str, Any]:
    """Returns the `count` of training identities, and a `fingerprint` of who they are.

    The fingerprint is the SHA-256 of every identity's label, id and first image by path, so it
    does not depend on the shards or the order of the images.
    """
    index, digest = table.index, hashlib.sha256()
    order = np.lexsort((index.paths, index.labels))
    labels, first = np.unique(index.labels[order], return_index=True)
    for label, row in zip(labels, order[first]):
        image = zlib.crc32(table.encoded[int(row)])
        digest.update(f"{label} {index.ids[row]} {image:08x}\n".encode())
    return {"count": len(labels), "fingerprint": digest.hexdigest()}


def check_identities(run: RunFolder, identities: dict[str, Any], records: Sequence[str]) -> None:
    """Checks the training identities against those of the run, as far as it knows them.

    Args:
        run: The run, which may be new; runs of before only know the width of their classifier.
        identities: Those of the records; see `describe_identities`.
        records: Folders of the records.

    Raises:
        UserError: If they are others.
    """
    if run.identities.exists():
        known = read_json(run.identities, "delete it to resume without a check of the identities")
    elif run.config.exists():
        known = {"count": load_config(run.config).model.num_identities}
    else:
        return
    here, before = identities["count"], known.get("count")
    if before not in (None, here):
        found = f"has {here} training identities, but {run.path} is a run on {before}"
    elif known.get("fingerprint", identities["fingerprint"]) != identities["fingerprint"]:
        found = (f"has {here} training identities as {run.path} does, but they are other people "
                 "or have other images" + (", or another order" if len(records) > 1 else ""))
    else:
        return
    raise UserError(f"{' and '.join(records)} {found}; resume with data.records of before, or "
                    "start a new run in another --output.")
