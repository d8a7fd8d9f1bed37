"""Backbones: functions from normalised images [n, h, w, 3] to a feature map [n, h', w', c]."""

from __future__ import annotations

from functools import partial

from tfreid.backbones.base import Backbone
from tfreid.backbones.mobilenet_v3 import mobilenet_v3_large
from tfreid.backbones.osnet import osnet
from tfreid.backbones.resnet import IBN_STEMS, STEMS, resnet, resnet_ibn_a, se_resnet50
from tfreid.backbones.siamese_twin import siamese_twin
from tfreid.backbones.vgg import vgg16


def _resnet(depth: int) -> Backbone:
    return Backbone(partial(resnet, depth=depth), 2048, stride_in_1x1=True, stems=STEMS,
                    non_local=True, imagenet=f"ResNet{depth}", layout="resnet",
                    checkpoints="torchvision")


def _resnet_ibn_a(depth: int) -> Backbone:
    return Backbone(partial(resnet_ibn_a, depth=depth), 2048, stems=IBN_STEMS, non_local=True,
                    layout="resnet", checkpoints="github.com/XingangPan/IBN-Net")


def _se_resnet50(resnext: bool) -> Backbone:
    return Backbone(partial(se_resnet50, resnext=resnext), 2048, layout="resnet",
                    checkpoints="github.com/Cadene/pretrained-models.pytorch")


def _osnet(width: float, variant: str = "osnet") -> Backbone:
    return Backbone(partial(osnet, width=width, variant=variant), int(512 * width), layout="osnet",
                    checkpoints="github.com/KaiyangZhou/deep-person-reid")


# Value of `model.backbone` -> the backbone. To add a backbone, write its file and its line.
BACKBONES = {
    "resnet34": Backbone(partial(resnet, depth=34), 512, stems=STEMS, non_local=True,
                         layout="resnet", checkpoints="torchvision"),
    "resnet50": _resnet(50),
    "resnet101": _resnet(101),
    "resnet152": _resnet(152),
    "resnet50_ibn_a": _resnet_ibn_a(50),
    "resnet101_ibn_a": _resnet_ibn_a(101),
    "se_resnet50": _se_resnet50(resnext=False),
    "se_resnext50": _se_resnet50(resnext=True),
    "osnet_x1_0": _osnet(1.0),
    "osnet_x0_75": _osnet(0.75),
    "osnet_x0_5": _osnet(0.5),
    "osnet_x0_25": _osnet(0.25),
    "osnet_ibn_x1_0": _osnet(1.0, "osnet_ibn"),
    "osnet_ain_x1_0": _osnet(1.0, "osnet_ain"),
    "osnet_ain_x0_75": _osnet(0.75, "osnet_ain"),
    "osnet_ain_x0_5": _osnet(0.5, "osnet_ain"),
    "osnet_ain_x0_25": _osnet(0.25, "osnet_ain"),
    "mobilenet_v3_large": Backbone(mobilenet_v3_large, 960, layout="mobilenet_v3",
                                   checkpoints="torchvision"),
    "siamese_twin": Backbone(siamese_twin, 32, blocks=True, least_side=16),
    "vgg16": Backbone(vgg16, 512, least_side=32, imagenet="VGG16", layout="vgg",
                      checkpoints="torchvision"),
}
