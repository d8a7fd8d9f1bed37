"""Records what PyTorch computes: `python record.py NAME ...`; needs torch, torchvision and timm."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import draws
import numpy as np
import timm
import torch
import torchvision

SEED = 0
FOLDER = Path(__file__).parent
# The weights of the classifier, which the backbones here do not have; OSNet's `fc` is none.
CLASSIFIERS = ("fc.", "last_linear.", "classifier.")
OSNET_CLASSIFIER = "classifier."
# Even sides show how strided windows are padded, odd ones how the SE networks' pooling rounds.
IMAGES = {"se_resnet50": (1, 70, 34, 3), "se_resnext50": (1, 70, 34, 3)}


def main(names: list[str]) -> None:
    """Writes NAME.npz for every name, or for all."""
    for name in names or MODELS:
        build, feature_map, source = MODELS[name]
        model = build()
        parameters = sum(parameter.numel() for parameter in model.parameters())
        is_osnet = name.startswith("osnet")
        classifiers = OSNET_CLASSIFIER if is_osnet else CLASSIFIERS
        shapes = {
            key: tuple(value.shape)
            for key, value in model.state_dict().items()
            if not key.startswith(classifiers) and not key.endswith("num_batches_tracked")
        }
        state = draws.draw_state(list(shapes), list(shapes.values()), SEED)
        model.load_state_dict({key: torch.from_numpy(x) for key, x in state.items()}, strict=False)
        images = draws.draw_images(IMAGES.get(name, (1, 64, 32, 3)), SEED)
        batch = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        with torch.no_grad():
            output = feature_map(model.eval(), batch).numpy().transpose(0, 2, 3, 1)
            features = {"feature": model(batch).numpy()} if is_osnet else {}
        about = {
            "weights": shapes,
            "seed": SEED,
            "images": images.shape,
            "parameters": parameters,
            "made_with": f"{source}, torch {torch.__version__}",
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
    source = f"torchvision {torchvision.__version__} {name}"
    return lambda: getattr(torchvision.models, name)(), _resnet_map, source


def _timm(name):
    source = f"timm {timm.__version__} {name}"
    return lambda: timm.create_model(name), lambda model, x: model.forward_features(x), source


def _ibn(name):
    return lambda: _ibn_net(name), _resnet_map, f"XingangPan/IBN-Net {name}"


def _torchreid(name):
    """Takes a network from torchreid/models/osnet.py of github.com/KaiyangZhou/deep-person-reid."""
    return (
        lambda: getattr(_beside("osnet", "osnet.py"), name)(num_classes=1000, pretrained=False),
        lambda model, images: model.featuremaps(images),
        f"KaiyangZhou/deep-person-reid {name}",
    )


def _mobilenet():
    build, _, source = _torchvision("mobilenet_v3_large")
    return build, lambda model, images: model.features(images), source


OSNETS = ("osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25")
MODELS = {
    **{name: _torchvision(name) for name in ("resnet34", "resnet50", "resnet101", "resnet152")},
    **{name: _ibn(name) for name in ("resnet50_ibn_a", "resnet101_ibn_a")},
    "se_resnet50": _timm("legacy_seresnet50"),
    "se_resnext50": _timm("legacy_seresnext50_32x4d"),
    **{name: _torchreid(name) for name in OSNETS},
    "mobilenet_v3_large": _mobilenet(),
}

if __name__ == "__main__":
    main(sys.argv[1:])
