"""Records what PyTorch computes: `python record.py NAME ...`; README.md says what a name needs."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable, NamedTuple

import draws
import numpy as np
import torch

SEED = 0
FOLDER = Path(__file__).parent
# The weights of the classifier, which the backbones here do not have; OSNet's `fc` is none.
CLASSIFIERS = ("fc.", "last_linear.", "classifier.")
OSNET_CLASSIFIER = "classifier."
# Even sides show how strided windows are padded, odd ones how the SE networks' pooling rounds.
IMAGES = {"se_resnet50": (1, 70, 34, 3), "se_resnext50": (1, 70, 34, 3)}
CROPS = (2, 64, 32, 3)
IDENTITIES = 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Network(NamedTuple):
    """A network of PyTorch.

    Attributes:
        model: The network.
        compute: Function of the network and images [n, 3, h, w] that returns its last feature map
            [n, c, h', w'] or, of a whole network, the feature [n, c] after its neck.
        source: Where it comes from, and of which version.
        head: Function that returns what its head makes of the images, if that is recorded, too.
        whole: Whether it is a whole network, of images of 0-255, whose classifier's weights are
            drawn, too.
    """

    model: torch.nn.Module
    compute: Callable[[Any, torch.Tensor], torch.Tensor]
    source: str
    head: Callable[[torch.Tensor], torch.Tensor] | None = None
    whole: bool = False


def main(names: list[str]) -> None:
    """Writes NAME.npz for every name, or for all."""
    for name in names or MODELS:
        network = MODELS[name]()
        model = network.model
        parameters = sum(parameter.numel() for parameter in model.parameters())
        classifiers = () if network.whole else OSNET_CLASSIFIER if network.head else CLASSIFIERS
        shapes = {
            key: tuple(value.shape)
            for key, value in model.state_dict().items()
            if not key.startswith(classifiers) and not key.endswith("num_batches_tracked")
        }
        state = draws.draw_state(list(shapes), list(shapes.values()), SEED)
        model.load_state_dict({key: torch.from_numpy(x) for key, x in state.items()}, strict=False)
        if network.whole:
            images = draws.draw_crops(CROPS, SEED)
        else:
            images = draws.draw_images(IMAGES.get(name, (1, 64, 32, 3)), SEED)
        batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            output = network.compute(model.eval(), batch).numpy()
            features = {"feature": network.head(batch).numpy()} if network.head else {}
        output = output.transpose(0, 2, 3, 1) if output.ndim == 4 else output
        about = {
            "weights": shapes,
            "seed": SEED,
            "images": images.shape,
            "parameters": parameters,
            "made_with": f"{network.source}, torch {torch.__version__}",
        }
        np.savez_compressed(
            FOLDER / f"{name}.npz", output=output, about=json.dumps(about), **features
        )
        print(name, parameters, output.shape, float(np.abs(output).max()))


def _resnet_map(model, images):
    images = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    return model.layer4(model.layer3(model.layer2(model.layer1(images))))


def _beside(module_name, path, **settings):
    """Imports a module that lies beside this file."""
    spec = importlib.util.spec_from_file_location(module_name, FOLDER / path, **settings)
    sys.modules[module_name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _ibn_net(name):
    """Builds a network from ibnnet/ of github.com/XingangPan/IBN-Net."""
    folders = [str(FOLDER / "ibnnet")]
    module = _beside("ibnnet", "ibnnet/__init__.py", submodule_search_locations=folders)
    return getattr(module, name)()


def _torchvision(name):
    import torchvision

    model = getattr(torchvision.models, name)()
    is_resnet = name.startswith("resnet")
    compute = _resnet_map if is_resnet else lambda model, images: model.features(images)
    return Network(model, compute, f"torchvision {torchvision.__version__} {name}")


def _timm(name):
    import timm

    return Network(timm.create_model(name), lambda model, x: model.forward_features(x),
                   f"timm {timm.__version__} {name}")


def _ibn(name):
    return Network(_ibn_net(name), _resnet_map, f"XingangPan/IBN-Net {name}")


def _torchreid(name):
    """Takes a network from torchreid/models/ of github.com/KaiyangZhou/deep-person-reid."""
    module = "osnet_ain" if name.startswith("osnet_ain") else "osnet"
    model = getattr(_beside(module, f"{module}.py"), name)(num_classes=1000, pretrained=False)
    return Network(model, lambda model, images: model.featuremaps(images),
                   f"KaiyangZhou/deep-person-reid {name}", head=model)


def _agw():
    """Takes the whole network from modeling/ of github.com/mangye16/ReID-Survey."""
    from modeling.baseline import Baseline

    def compute(model, images):
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD))
        return model((images / 255 - mean) / std)

    model = Baseline(IDENTITIES, last_stride=1, model_path="", model_name="resnet50_nl",
                     gem_pool="on", pretrain_choice="")
    return Network(model, compute, "mangye16/ReID-Survey resnet50_nl", whole=True)


def _fast_reid_sbs(with_ibn):
    """Takes the network from fastreid/ of github.com/JDAI-CV/fast-reid, set as by Base-SBS.yml."""
    from fastreid.modeling.backbones.resnet import Bottleneck, ResNet
    from fastreid.modeling.heads.embedding_head import EmbeddingHead
    from fastreid.modeling.meta_arch.baseline import Baseline

    backbone = ResNet(1, "BN", with_ibn, False, True, Bottleneck, [3, 4, 6, 3], [0, 2, 3, 0])
    heads = EmbeddingHead(
        feat_dim=2048, embedding_dim=0, num_classes=IDENTITIES, neck_feat="after",
        pool_type="GeneralizedMeanPoolingP", cls_type="CircleSoftmax", scale=64, margin=0.35,
        with_bnneck=True, norm_type="BN")
    mean, std = ([255 * value for value in values] for values in (MEAN, STD))
    model = Baseline(backbone=backbone, heads=heads, pixel_mean=mean, pixel_std=std)
    return Network(model, lambda model, images: model(images), "JDAI-CV/fast-reid SBS", whole=True)


TORCHREID = (
    "osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25", "osnet_ibn_x1_0",
    "osnet_ain_x1_0", "osnet_ain_x0_75", "osnet_ain_x0_5", "osnet_ain_x0_25",
)
MODELS = {
    **{name: partial(_torchvision, name)
       for name in ("resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v3_large")},
    **{name: partial(_ibn, name) for name in ("resnet50_ibn_a", "resnet101_ibn_a")},
    "se_resnet50": partial(_timm, "legacy_seresnet50"),
    "se_resnext50": partial(_timm, "legacy_seresnext50_32x4d"),
    **{name: partial(_torchreid, name) for name in TORCHREID},
    "agw_resnet50": _agw,
    "sbs_resnet50_ibn_a": partial(_fast_reid_sbs, with_ibn=True),
}

if __name__ == "__main__":
    main(sys.argv[1:])
