r"""Compares BoxMOT's features from exported files with `tfreid.load(...).embed`, and times both.

BoxMOT runs in an environment of its own, by its Python; nothing is installed here:

    python -m venv boxmot && boxmot/bin/pip install boxmot onnxruntime openvino ai-edge-litert
    tfreid render-films --output films
    tfreid export --run runs/first --output served --format onnx,litert,openvino --profile boxmot
    python tools/check_boxmot.py --boxmot boxmot/bin/python --model runs/first \
        --exports served/boxmot-* --films films

Boxes are those of the rendered people, and of image files pasted into the frames (--crops). Fails
if a cosine distance is above 1e-3. --steps also times the frames, in turns, each model in processes
of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_MOST = 1e-3
_TURNS, _WARM_UP, _TIMED_FRAMES = 3, 5, 20
_EVERY = 5  # frames, of which one is used
_OFFSETS = (-0.4, 0.4)  # of edges, so that they are rounded


def main() -> int:
    """Parses the command line, compares and times; returns 1 if features differ."""
    if sys.argv[1:] == ["--worker"]:
        return _work()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxmot", required=True, metavar="PYTHON", help="Python with BoxMOT")
    parser.add_argument("--model", required=True,
                        help="what tfreid.load takes: a run, an export or a recipe")
    parser.add_argument("--weights", help="of a recipe")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", dest="overrides",
                        help="settings of a recipe")
    parser.add_argument("--exports", nargs="+", required=True, metavar="DIR",
                        help="folders of tfreid export --profile boxmot")
    parser.add_argument("--films", required=True, help="folder of tfreid render-films")
    parser.add_argument("--crops", help="folder of images to paste into frames")
    parser.add_argument("--boxes", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=0,
                        help="frames of each of three turns of timing (default: none)")
    parser.add_argument("--people", type=int, default=10,
                        help="boxes of a frame that is timed (default: %(default)s)")
    parser.add_argument("--pytorch", metavar="FILE",
                        help="weights of the same OSNet x0.25 for BoxMOT's own network, which is "
                        "compared and timed too")
    parser.add_argument("--saved-model", metavar="DIR",
                        help="SavedModel of the same model, likewise")
    parsed = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    with tempfile.TemporaryDirectory() as folder:
        if parsed.pytorch:  # by the only suffix that BoxMOT reads
            parsed.pytorch = shutil.copy(parsed.pytorch, f"{folder}/osnet_x0_25_market1501.pt")
        print(f"BoxMOT {_ask(parsed.boxmot, {'version': True})}")
        differ = _compare(parsed, Path(folder))
        if parsed.steps:
            _time(parsed, Path(folder))
    return int(differ)


def _compare(parsed, folder: Path) -> bool:
    scenes = {"rendered people": _rendered(parsed)}
    if parsed.crops:
        scenes["pasted crops"] = _pasted(parsed, scenes["rendered people"][0])
    worst = 0.0
    for name, (frames, boxes) in scenes.items():
        np.savez(folder / "scene.npz", frames=frames, boxes=boxes)
        task = {"scene": str(folder / "scene.npz"), "output": str(folder / "features.npy")}

        def features(python, of, task=task):
            _ask(python, {**task, **of})
            return np.load(task["output"]).astype(np.float64)

        expected = features(sys.executable, {"tfreid": parsed.model, "weights": parsed.weights,
                                             "overrides": parsed.overrides})
        unit = expected / np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
        print(f"{name}: {len(boxes)} boxes in {len(frames)} frames, up to "
              f"{1 - (unit @ unit.T).min():.1e} from each other; largest cosine distance")
        for label, (python, of) in _models(parsed).items():
            found = features(python, of)
            cosine = (found * unit).sum(1) / np.maximum(np.linalg.norm(found, axis=1), 1e-12)
            worst = np.maximum(worst, 1 - cosine.min())  # of NaN, NaN
            print(f"  {label:28} {1 - cosine.min():.1e}", flush=True)
    return not worst <= _MOST


def _models(parsed) -> dict[str, tuple[str, dict]]:
    """Returns name -> the Python that opens a model, and how; see `_work`."""
    models = {}
    if parsed.pytorch:
        models["BoxMOT, PyTorch"] = parsed.boxmot, {"boxmot": parsed.pytorch}
    if parsed.saved_model:
        models["tfreid, SavedModel"] = sys.executable, {"tfreid": parsed.saved_model}
    for export in parsed.exports:
        name = Path(export).name.removeprefix("boxmot-")
        models[f"BoxMOT, {name}"] = parsed.boxmot, {"boxmot": _boxmot_path(export)}
        models[f"tfreid, {name}"] = sys.executable, {"tfreid": export}
    return models


def _rendered(parsed) -> tuple[np.ndarray, np.ndarray]:
    """Returns frames [f, h, w, 3] and boxes [n, 5] of frame, left, top, right and bottom."""
    from tfreid.footage.detections import read_detections
    from tfreid.footage.films import Film

    frames, rows = [], []
    for path in sorted(Path(parsed.films).glob("*.mp4")):
        found = read_detections(path.with_suffix(".txt"))
        for number, image in Film(path).frames(found.__contains__):
            if image is None or len(rows) >= parsed.boxes or number % _EVERY:
                continue
            for detection in found[number]:
                left, top, width, height = detection.box
                rows.append((len(frames), left, top, left + width, top + height))
            frames.append(image)
    if len(rows) < parsed.boxes:
        raise SystemExit(f"error: {parsed.films} has {len(rows)} boxes in every fifth frame, and "
                         f"{parsed.boxes} are asked for; render longer films.")
    return np.stack(frames), np.array(rows[: parsed.boxes], np.float32)


def _pasted(parsed, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pastes images into frames at drawn places; their boxes lie up to 0.4 pixels beside them."""
    import cv2

    draw = np.random.default_rng(0)
    files = sorted(Path(parsed.crops).glob("*.jpg"))
    if len(files) < parsed.boxes:
        raise SystemExit(f"error: {parsed.crops} has {len(files)} .jpg files, and {parsed.boxes} "
                         "boxes are asked for; name another folder, or lower --boxes.")
    files = [files[place] for place in draw.choice(len(files), parsed.boxes, replace=False)]
    frames, rows = frames[: -(-parsed.boxes // 5)].copy(), []
    for place, file in enumerate(files):
        crop, number = cv2.imread(str(file)), place % len(frames)
        height, width = crop.shape[:2]
        # In a column of its own, so that none hides another.
        columns = frames.shape[2] // (-(-parsed.boxes // len(frames)))
        if height > frames.shape[1] or width > columns:
            raise SystemExit(f"error: {file} has {width} x {height} pixels, more than {columns} x "
                             f"{frames.shape[1]}; name a folder of smaller crops.")
        left = columns * (place // len(frames)) + int(draw.integers(max(columns - width, 0) + 1))
        top = int(draw.integers(frames.shape[1] - height + 1))
        frames[number, top : top + height, left : left + width] = crop
        rows.append((number, *(np.array([left, top, left + width, top + height])
                               + draw.uniform(*_OFFSETS, 4))))
    return frames, np.array(rows, np.float32)


def _boxmot_path(export: str) -> str:
    """Returns what BoxMOT's loader is given of an export."""
    card = json.loads(Path(export, "model.json").read_text())
    file = Path(export, card["graphs"]["extract"]["file"])
    return str(file.parent if card["format"] == "openvino" else file)


def _time(parsed, folder: Path) -> None:
    frames, boxes = _rendered(parsed)
    draw = np.random.default_rng(0)
    frames = frames[:_TIMED_FRAMES]
    rows = [(number, *boxes[place, 1:]) for number in range(len(frames))
            for place in draw.integers(len(boxes), size=parsed.people)]
    np.savez(folder / "scene.npz", frames=frames, boxes=np.array(rows, np.float32))
    models = _models(parsed)
    seconds = {name: [] for name in models}
    for _ in range(_TURNS):
        for name, (python, of) in models.items():
            seconds[name] += _ask(python, {"scene": str(folder / "scene.npz"),
                                           "steps": parsed.steps, **of})
    print(f"{parsed.people} boxes a frame of {frames.shape[2]}x{frames.shape[1]}")
    for name, some in seconds.items():
        middle, slow = np.percentile(some, [50, 99])
        print(f"  {name:28} {1 / middle:6.1f} frames/s, p50 {1e3 * middle:6.1f} ms, "
              f"p99 {1e3 * slow:6.1f} ms")


def _ask(python: str, task: dict):
    """Runs a task in a process, see `_work`, and returns its answer."""
    done = subprocess.run([python, str(Path(__file__).resolve()), "--worker"],
                          input=json.dumps(task), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {python} failed: " + "\n".join(
            done.stderr.strip().splitlines()[-3:] or ["it was killed"]))
    return json.loads(done.stdout.splitlines()[-1])


def _work() -> int:
    """Reads a task from standard input and prints the answer as its last line."""
    task = json.load(sys.stdin)
    if "version" in task:
        import boxmot

        print(json.dumps(boxmot.__version__))
        return 0
    embed = _boxmot(task) if "boxmot" in task else _tfreid(task)
    with np.load(task["scene"]) as scene:
        frames, rows = scene["frames"], scene["boxes"]
    boxes = [rows[rows[:, 0] == number, 1:] for number in range(len(frames))]
    if "steps" not in task:
        found = np.concatenate([embed(*pair) for pair in zip(frames, boxes) if len(pair[1])])
        order = np.argsort(rows[:, 0], kind="stable")
        np.save(task["output"], found[np.argsort(order)])
        print("null")
        return 0
    seconds = []
    for step in range(_WARM_UP + task["steps"]):
        start = time.perf_counter()
        embed(frames[step % len(frames)], boxes[step % len(frames)])
        seconds.append(time.perf_counter() - start)
    print("\n" + json.dumps(seconds[_WARM_UP:]))
    return 0


def _boxmot(task):
    from boxmot.reid.core import ReID

    return ReID(task["boxmot"])


def _tfreid(task):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import tfreid

    model = tfreid.load(task["tfreid"], task.get("weights"), task.get("overrides") or ())
    return lambda frame, boxes: model.embed(frame, boxes, color="bgr")


if __name__ == "__main__":
    raise SystemExit(main())
