"""Keras layers of the backbones and the systems; importing them registers them for saving."""

from tfreid.layers.activations import HardSigmoid, HardSwish
from tfreid.layers.convolution import DepthwiseConv2D, GroupedConv3x3
from tfreid.layers.convolution_similarity import ConvolutionSimilarity
from tfreid.layers.cosine_classifier import CosineClassifier
from tfreid.layers.dropout import StatelessDropout
from tfreid.layers.gate import AggregationGate, SqueezeExcitation
from tfreid.layers.non_local import PairwiseSum
from tfreid.layers.normalization import FusedBatchNormalization, Halves, InstanceNormalization
from tfreid.layers.pairing import PairDistance, Regroup, TakeRows, UnitLength
from tfreid.layers.pooling import GeneralizedMeanPooling
from tfreid.layers.preprocessing import ImagePreprocessing
from tfreid.layers.spatial_transformer import BilinearSampler, FixedRegion, Stripes

__all__ = [
    "AggregationGate",
    "BilinearSampler",
    "ConvolutionSimilarity",
    "CosineClassifier",
    "DepthwiseConv2D",
    "FixedRegion",
    "FusedBatchNormalization",
    "GeneralizedMeanPooling",
    "GroupedConv3x3",
    "Halves",
    "PairDistance",
    "PairwiseSum",
    "Regroup",
    "TakeRows",
    "UnitLength",
    "HardSigmoid",
    "HardSwish",
    "ImagePreprocessing",
    "InstanceNormalization",
    "SqueezeExcitation",
    "StatelessDropout",
    "Stripes",
]
