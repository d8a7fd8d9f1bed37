"""Trains a re-identification network with Keras's own `compile` and `fit`.

Uses the records that `tools/quickstart.sh` makes (or any others), the losses, the layers and the
samplers of tfreid, and ranks people that were not trained on before and after:

    python examples/train_with_keras.py --records runs/quickstart-data/records
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np

import tfreid


def main(arguments: list[str] | None = None) -> float:
    """Trains, evaluates, saves and loads the model again; returns rank-1 at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", default="runs/quickstart-data/records", metavar="DIR",
                        help="folder of records (default: %(default)s)")
    parser.add_argument("--output", default="runs/keras_example/model.keras", metavar="FILE",
                        help="file of the trained model (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, metavar="N",
                        help="epochs of training (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=50, metavar="N",
                        help="batches an epoch (default: %(default)s)")
    options = parser.parse_args(arguments)

    # Records are opened once; splits, index arrays and images come from them.
    records = tfreid.Records(options.records)
    train = records["train"]
    identities = train.identities
    print(f"{len(train)} training images of {identities} identities; splits: {records.splits}")

    # 1. A network from raw RGB images to `embedding`, `neck` and `logits`.
    model = tfreid.embedding_model("osnet_x0_25", num_identities=identities, height=64, width=32)

    # 2. P x K batches as a tf.data.Dataset. Each output that has a loss gets the labels.
    batch = min(16, identities)
    batches = tfreid.identity_dataset(train, 64, 32, identities_per_batch=batch)
    batches = batches.map(lambda images, labels: (images, {"embedding": labels, "logits": labels}))

    # 3. Keras losses: batch-hard triplet on the embedding, label-smoothed softmax on the logits.
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss={"embedding": tfreid.TripletLoss(margin=0.3), "neck": None,
              "logits": tfreid.LabelSmoothedSoftmax(smoothing=0.1)},
    )
    print(f"rank-1 before training: {rank_1(model, records):.1%}")
    model.fit(batches, epochs=options.epochs, steps_per_epoch=options.steps, verbose=2)
    trained = rank_1(model, records)
    print(f"rank-1 after training: {trained:.1%}")

    # 4. Saved and loaded by Keras alone: tfreid's layers are registered.
    Path(options.output).parent.mkdir(parents=True, exist_ok=True)
    model.save(options.output)
    again = keras.models.load_model(options.output)
    print(f"rank-1 of the loaded model: {rank_1(again, records):.1%} ({options.output})")
    return trained


def rank_1(model: keras.Model, records: tfreid.Records) -> float:
    """Ranks the gallery for every query by the cosine distance of the neck feature."""
    sides = []
    for name in ("query", "gallery"):
        split = records[name]
        features = [model(images, training=False)["neck"].numpy()
                    for _, images in split.batches(tfreid.InputSize(64, 32), batch_size=64)]
        sides += [np.concatenate(features), split.index.ids, split.index.cameras]
    return tfreid.evaluate_ranking(*sides, metric="cosine", progress=False).rank(1)


if __name__ == "__main__":
    main()
