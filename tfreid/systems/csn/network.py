"""The multi-level similarity network: two people compared at several levels of convolution.

Guo and Cheung, "Efficient and Deep Person Re-Identification using Multi-Level Similarity", CVPR
2018. What the paper leaves open is chosen so:

- x(2) is 40x15 and x(3) 20x8 (the rows of Section 4.2 fix the heights): every convolution keeps
  the size of its map, and 2x2 max pooling rounds up. The extension's convolution after conv3
  is not pooled, so x(4) is 20x8 as well and its stripes are those of x(3).
- "f1 and f2 are 10 and 5" are the sides of the parts of x(2) and x(3); x(4)'s are 5.
- In Eq. 2 the parts of one image slide over the other image's map, in both directions.
- sim2 is pooled to 20x8, joins sim3 and sim4, and one more pooling gives the stated 10x4.
- Each similarity map is batch-normalised before conv4: sums over 10x10 products and over 5x5 differ
  by orders of magnitude.
- Eq. 3 is softmax cross-entropy, its logarithm restored.
- Of the ranking net's "3 convolutional layers" the first is each level's own and the second is
  shared, but for its batch normalisation, which keeps statistics. The third is the "linear
  embedding": a 1x1 convolution of the pooled vector. Maps of different levels have different
  sizes, so they are concatenated after the global pooling. This gives 0.563 and 0.816 M parameters,
  where Table 5 has 0.5 and 0.8 M.
- A localisation net starts at the middle of its stripe: where C2's central cropping stays. Where
  stripe and part differ by an odd number of cells, the middle lies between cells.
- Without dividing (C1) one part is cut from the whole map, so a level has 2 groups.
"""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf

from tfreid.config import Config
from tfreid.layers.convolution import conv_bn, he_normal
from tfreid.layers.convolution_similarity import ConvolutionSimilarity
from tfreid.layers.normalization import batch_norm
from tfreid.layers.pairing import PairDistance, Regroup, TakeRows, UnitLength
from tfreid.layers.preprocessing import ImagePreprocessing
from tfreid.layers.spatial_transformer import BilinearSampler, FixedRegion, Stripes, localize
from tfreid.systems.csn.settings import Settings as CsnSettings

PART_SIDES = {2: 10, 3: 5, 4: 5}
_DESCRIPTOR_SIZE = 256
_REDUCED = 32
_STRIPES = 3
_REGIONS = "regions"


@dataclasses.dataclass(frozen=True)
class CsnParts:
    """The models inside a pair model, which share its weights.

    Attributes:
        extract: Images [n, h, w, 3] -> features, computed once per image: for every level j `map_j`
            [n, h, w, c], `parts_j` [n, 3, f, f, c], `regions_j` [n, 3, 6], with c = `csn.width`;
            and `descriptor` [n, 256], unit vectors, where there is a ranking net.
        compare: `pair_inputs` of n pairs -> `similarity_j` [n, h, w, 6 c], `logits` [n, 2] (no
            match, match) and, where there is a ranking net, `distance` [n].
        decide: Pooled similarity maps [n, 10, 4, 6 c * levels] -> `logits`; the end of `compare`.
        judge: Output of conv4 [n, 10, 4, 32] -> `logits`; the end of `decide`.
    """

    extract: keras.Model
    compare: keras.Model
    decide: keras.Model
    judge: keras.Model


def build_csn(config: Config) -> keras.Model:
    """Builds the network of one recipe.

    Args:
        config: `csn` says which levels and ablations, `model` the image size and normalisation.

    Returns:
        A model from `images` [m, h, w, 3], raw RGB in 0-255 of any size, and the positions `first`
        [n] and `second` [n] of the images that make up each pair, to what `CsnParts.compare`
        returns and the `regions_j` [m, 3, 6] of the images. Each image is looked at once, in
        however many pairs it is.
    """
    extract = _extractor(config)
    compare = _comparer(config.csn, extract)
    images = keras.Input((None, None, 3), name="images", dtype="float32")
    positions = {side: keras.Input((), name=side, dtype="int32") for side in ("first", "second")}
    features = extract(images)
    pairs = {
        side: {name: TakeRows(name=f"{side}_{name}")([value, positions[side]])
               for name, value in compared_features(features).items()}
        for side in positions
    }
    outputs = dict(compare(pair_inputs(pairs["first"], pairs["second"])))
    outputs.update({k: v for k, v in features.items() if k.startswith(_REGIONS)})
    return keras.Model({"images": images, **positions}, outputs, name="csn")


def csn_parts(model: keras.Model) -> CsnParts:
    """Returns the models inside one that `build_csn` made."""
    compare = model.get_layer("compare")
    decide = compare.get_layer("decide")
    return CsnParts(model.get_layer("extract"), compare, decide, decide.get_layer("judge"))


def compared_features(features: dict) -> dict:
    """Returns what of `CsnParts.extract` is compared: all but the regions."""
    return {name: x for name, x in features.items() if not name.startswith(_REGIONS)}


def pair_inputs(first: dict, second: dict) -> dict:
    """Joins the features of the two images of a pair into the inputs of `CsnParts.compare`."""
    sides = {"first": first, "second": second}
    return {f"{side}_{name}": value for side, features in sides.items()
            for name, value in compared_features(features).items()}


def map_shape(level: int, height: int, width: int) -> tuple[int, int]:
    """Returns height and width of the map x(level) for images of a size."""
    halvings = 2 if level == 2 else 3
    return -(-height // 2**halvings), -(-width // 2**halvings)


def similarity_name(level: int) -> str:
    """Returns the name of a level's similarity layer in `CsnParts.compare`."""
    return f"csn{level}"


def pool_level(level: int, maps: tf.Tensor) -> tf.Tensor:
    """Pools similarity maps [n, h, w, c] of a level to the size of all: 10x4 for images of 160x60.

    Level 2 is pooled once to the size of the others, and once more with them.
    """
    if level == 2 and all(-side % 4 <= 1 for side in maps.shape[1:3]):
        # What is missing to whole windows lies behind the map, as it does when pooling twice.
        return tf.nn.max_pool2d(maps, 4, 4, "SAME")
    for _ in range(2 if level == 2 else 1):
        maps = tf.nn.max_pool2d(maps, 2, 2, "SAME")
    return maps


@keras.saving.register_keras_serializable(package="tfreid")
class PoolSimilarity(keras.layers.Layer):
    """Pools a list of similarity maps, one a level, to one size and joins their channels."""

    def __init__(self, levels, **kwargs):
        super().__init__(**kwargs)
        self.levels = list(levels)

    def call(self, inputs):
        """Returns [n, h, w, all channels]."""
        return tf.concat([pool_level(*level) for level in zip(self.levels, inputs)], -1)

    def get_config(self):
        """Returns the constructor's arguments."""
        return {**super().get_config(), "levels": self.levels}


def _extractor(config: Config) -> keras.Model:
    csn, shape = config.csn, config.model
    images = keras.Input((None, None, 3), name="images", dtype="float32")
    x = ImagePreprocessing(shape.height, shape.width, shape.normalization, name="preprocess")(
        images)
    outputs, parts = {}, {}
    for level, maps in _levels(x, csn.width, max(csn.levels)).items():
        if level in csn.levels:
            parts[level], regions = _attend(maps, level, csn)
            outputs.update({f"map_{level}": maps, f"parts_{level}": parts[level],
                            f"{_REGIONS}_{level}": regions})
    if csn.ranking_net:
        outputs["descriptor"] = _ranking_net(parts, csn.width)
    return keras.Model(images, outputs, name="extract")


def _levels(x, width: int, highest: int) -> dict:
    """Returns the maps x(2) to x(highest)."""
    x = _pool(conv_bn(x, width // 3, 5, "conv1"), "pool1")
    maps = {2: _pool(conv_bn(x, width, 3, "conv2"), "pool2")}
    if highest > 2:
        maps[3] = _pool(conv_bn(maps[2], width, 3, "conv3"), "pool3")
    if highest > 3:
        maps[4] = conv_bn(maps[3], width, 3, "conv3_extension")
    return maps


def _attend(maps, level: int, csn: CsnSettings):
    """Cuts the attended parts of one level: parts [n, p, f, f, c] and regions [n, p, 6]."""
    side, count = PART_SIDES[level], _STRIPES if csn.divide else 1
    stripes = Stripes(count, name=f"stripes{level}")(maps)
    if csn.attention == "transformer":
        regions = localize(stripes, side, f"loc{level}")
    else:
        regions = FixedRegion(side, name=f"center{level}")(stripes)
    parts = BilinearSampler(side, name=f"sampler{level}")([stripes, regions])
    return (Regroup((count, *parts.shape[1:]), name=f"parts{level}")(parts),
            Regroup((count, 6), name=f"regions{level}")(regions))


def _ranking_net(parts: dict, width: int):
    """Returns the descriptors of attended parts, unit vectors [n, 256] (Section 3.1)."""
    shared = keras.layers.Conv2D(width, 3, padding="same", use_bias=False,
                                 kernel_initializer=he_normal("fan_out"), name="rank_conv2")
    pooled = []
    for level, value in parts.items():
        count, name = value.shape[1], f"rank{level}"
        x = Regroup(value.shape[2:], name=f"{name}_parts")(value)
        x = _pool(conv_bn(x, width, 3, f"{name}_conv1"), f"{name}_pool")
        # The parts of an image, one below the other.
        stacked = (count * x.shape[1], *x.shape[2:])
        x = Regroup(stacked, name=f"{name}_stack")(x)
        x = _normalized(shared(x), f"{name}_bn2")
        pooled.append(keras.layers.GlobalAveragePooling2D(name=f"{name}_gap")(x))
    joined = keras.layers.Concatenate(name="rank_levels")(pooled) if len(pooled) > 1 else pooled[0]
    descriptor = keras.layers.Dense(_DESCRIPTOR_SIZE, dtype="float32", name="rank_fc")(joined)
    return UnitLength(dtype="float32", name="descriptor")(descriptor)


def _comparer(csn: CsnSettings, extract: keras.Model) -> keras.Model:
    """Compares the features of two images of each pair."""
    shapes = {name: value.shape[1:] for name, value in extract.output.items()}
    features = [{name: keras.Input(shape, name=f"{side}_{name}") for name, shape in shapes.items()}
                for side in ("first", "second")]
    inputs = pair_inputs(*features)
    outputs = {}
    for level in csn.levels:
        names = (f"map_{level}", f"parts_{level}")
        similarity = ConvolutionSimilarity(csn.similarity == "cosine", name=similarity_name(level))
        outputs[f"similarity_{level}"] = similarity(
            [side[name] for side in features for name in names])
    pooled = PoolSimilarity(csn.levels, name="pool_similarity")(list(outputs.values()))
    outputs["logits"] = _decision(pooled.shape[1:])(pooled)
    if csn.ranking_net:
        outputs["distance"] = PairDistance(dtype="float32", name="distance")(
            [side["descriptor"] for side in features])
    return keras.Model(inputs, outputs, name="compare")


def _decision(shape) -> keras.Model:
    """The convolutions conv4 to conv6 and the two nodes behind them."""
    maps = keras.Input(tuple(shape), name="similarity")
    x = batch_norm(maps, "similarity_bn")
    x = keras.layers.Conv2D(_REDUCED, 1, use_bias=False, kernel_initializer=he_normal("fan_out"),
                            name="conv4")(x)
    return keras.Model(maps, _judge(x.shape[1:])(x), name="decide")


def _judge(shape) -> keras.Model:
    """What follows conv4, on its own: galleries are compared without making its input."""
    reduced = keras.Input(tuple(shape), name="reduced")
    x = _normalized(reduced, "conv4_bn")
    x = _pool(conv_bn(x, _REDUCED, 3, "conv5"), "pool5")
    x = conv_bn(x, 500, 1, "conv6")
    x = keras.layers.GlobalAveragePooling2D(name="gap6")(x)
    logits = keras.layers.Dense(2, dtype="float32", name="match")(x)
    return keras.Model(reduced, logits, name="judge")


def _pool(x, name: str):
    return keras.layers.MaxPooling2D(2, padding="same", name=name)(x)


def _normalized(x, name: str):
    return keras.layers.ReLU(name=f"{name}_relu")(batch_norm(x, name))
