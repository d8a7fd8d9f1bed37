"""Groups of interruptions: kills, full disks and two writers of one output.

Afterwards the same command must end as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import yaml

from campaign.processes import Commands, group_is_gone
from campaign.readers import build_records
from campaign.runner import Attempt, Refused, sentence_problem

_TWINS = {
    "model": {"backbone": "siamese_twin", "height": 32, "width": 16, "pooling": "flatten",
              "embedding_size": 8, "neck": False, "classifier": False},
    "data": {"pairs": {"batch_size": 6, "negatives_per_positive": 1, "matching": "drawn"},
             "augmentation": {"pad": 0, "erasing_probability": 0.0}},
    "siamese": {"loss": "combined"},
    "evaluation": {"feature": "embedding", "metric": "euclidean", "verification_pairs": 20}}
_TRIPLETS = {
    "model": {"backbone": "tiny", "longest_side": 48, "embedding_size": 6, "pooling": "max",
              "normalize_embedding": True, "neck": False, "classifier": False},
    "triplet": {"batch_size": 4, "triplets_at_once": 2, "updates_per_mining": 2,
                "mining_images": 12, "hardest": 3},
    "data": {"augmentation": {"pad": 0, "erasing_probability": 0.0}},
    "training": {"epochs": 2}}
_CSN = {
    "model": {"height": 64, "width": 24}, "csn": {"width": 24, "levels": [3]},
    "data": {"pairs": {"batch_size": 6}}, "training": {"max_steps": 3},
    "evaluation": {"protocol": "single_shot",
                   "single_shot": {"identities": 3, "training_trials": 1}}}
_EMBEDDING = {"model": {"backbone": "tiny", "height": 64, "width": 32},
              "data": {"identities_per_batch": 4, "images_per_identity": 2}}
SYSTEMS = {"embedding": _EMBEDDING, "triplet": _TRIPLETS, "csn": _CSN, "siamese": _TWINS}
_TRAINING = {"max_steps": 6, "log_every": 1, "checkpoint_every_steps": 1, "deterministic": True,
             "projector_images": 0, "devices": ["CPU:0"]}


class Job(NamedTuple):
    """A command, the folder or file that it makes, and what must come out."""

    arguments: list[str]
    output: Path
    digest: Callable[[Path], Any]
    resume: tuple[str, ...] = ()


def _recipe(folder: Path, system: str) -> Path:
    tree = {"name": system, "system": system, "schedule": {"warmup_epochs": 0},
            **SYSTEMS[system]}
    tree["training"] = {**_TRAINING, **tree.get("training", {})}
    tree["data"] = {**tree.get("data", {}), "records": str(folder / "records")}
    path = folder / f"{system}.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def _train_job(system: str, folder: Path, output: Path) -> Job:
    return Job(["train", "--config", str(_recipe(folder, system)), "--output", str(output)],
               output, _weights, ("--resume",))


def _build_job(folder: Path, output: Path) -> Job:
    return Job(["build", "market1501", "--root", str(folder / "images"), "--output", str(output),
                "--workers", "2", "--shards", "3"], output, _records)


def _render_job(folder: Path, output: Path) -> Job:
    options = [f"--{name.replace('_', '-')}={count}" for name, count in (
        ("train_identities", 3), ("test_identities", 2), ("cameras", 2),
        ("cameras_per_identity", 2), ("images_per_camera", 2), ("distractors", 1), ("junk", 1))]
    return Job(["build", "synthetic", "--root", str(output.with_suffix(".images")), "--output",
                str(output), "--workers", "2", *options], output, _records)


def _test_job(folder: Path, output: Path) -> Job:
    return Job(["test", "--run", str(folder / "run"), "--output", str(output)], output, _results)


def _export_job(folder: Path, output: Path) -> Job:
    return Job(["export", "--run", str(folder / "run"), "--output", str(output)], output, _answers)


def _convert_job(folder: Path, output: Path) -> Job:
    return Job(["convert", "--arch", "osnet_x0_25", "--input", str(folder / "a.safetensors"),
                "--output", f"{output}.weights.h5"], Path(f"{output}.weights.h5"), _one_file)


def _weights(run: Path) -> Any:
    return {name: _arrays(run / "checkpoints" / f"{name}.weights.h5") for name in ("last", "best")
            if (run / "checkpoints" / f"{name}.weights.h5").exists()}


def _one_file(path: Path) -> Any:
    return _arrays(path)


def _arrays(path: Path) -> dict[str, str]:
    import h5py

    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({
            name: hashlib.sha256(np.array(item).tobytes()).hexdigest()})
            if isinstance(item, h5py.Dataset) and np.array(item).dtype.kind == "f" else None)
    return found


def _records(folder: Path) -> Any:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.iterdir())
            if path.suffix == ".tfrecord" or path.name == "manifest.json"}


def _results(folder: Path) -> Any:
    return {name: value for name, value in json.loads((folder / "results.json").read_text()).items()
            if "second" not in name}


def _answers(folder: Path) -> Any:
    import tfreid

    images = sorted((folder.parent / "images").rglob("*.jpg"))[:2]
    versions = [path.name for path in folder.iterdir() if path.name.isdecimal()]
    left = [path.name for path in folder.iterdir() if not path.name.isdecimal()]
    assert not left, f"left over: {left}"
    return [np.round(tfreid.load(folder / version).embed(images), 4).tolist()
            for version in sorted(versions)[-1:]]


JOBS: dict[str, Callable[[Path, Path], Job]] = {
    "build": _build_job, "render": _render_job,
    **{f"train_{system}": functools.partial(_train_job, system) for system in SYSTEMS},
    "test": _test_job, "export": _export_job, "convert": _convert_job}


class _Bench:
    """Material, a server of commands, and the undisturbed result of a job."""

    def __init__(self, folder: Path, make_job: Callable[[Path, Path], Job], servers: int = 1):
        self.folder, self.make_job, self._count = folder, make_job, 0
        self.servers = [Commands() for _ in range(servers)]
        build_records(folder)
        if make_job is _convert_job:
            _write_checkpoint(folder / "a.safetensors")
        if make_job in (_test_job, _export_job):
            self.finish(_train_job("embedding", folder, folder / "run"))
        job, start = make_job(folder, folder / "whole"), time.monotonic()
        self.finish(job)
        self.seconds = time.monotonic() - start
        self.wanted = job.digest(job.output)
        assert self.wanted

    def next_job(self, parent: Path | None = None) -> Job:
        """A job with an output of its own."""
        self._count += 1
        return self.make_job(self.folder, (parent or self.folder) / f"output{self._count}")

    def log(self, name: str = "log") -> Path:
        """An empty file for a command's output."""
        path = self.folder / name
        path.write_text("")
        return path

    def finish(self, job: Job) -> None:
        """Runs a job to its end; a run that was begun is resumed."""
        log = self.log()
        for more in ([*job.resume] if job.output.exists() else [], []):
            status = self.servers[0].run([*job.arguments, *more], log)
            if not status:
                return
            check_log(log, status)
        raise AssertionError(f"it does not finish: {log.read_text()[-500:]}")

    def check(self, job: Job) -> None:
        """Compares the output of a job with the undisturbed one, and removes it."""
        found = job.digest(job.output)
        assert found == self.wanted, f"another result: {_difference(found, self.wanted)}"
        for path in job.output.parent.glob(job.output.name.split(".")[0] + "*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_checkpoint(path):
    """Writes the weights of a golden file as PyTorch names them."""
    import safetensors.numpy

    golden = Path(__file__).resolve().parents[2] / "golden"
    with np.load(golden / "osnet_x0_25.npz") as file:
        about = json.loads(str(file["about"]))
    draw = runpy.run_path(str(golden / "draws.py"))["draw_state"]
    state = draw(list(about["weights"]), list(about["weights"].values()), about["seed"])
    safetensors.numpy.save_file(state, str(path))


def _difference(found, wanted):
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [name for name in {*found, *wanted} if found.get(name) != wanted.get(name)][:5]
    return f"{found} for {wanted}"[:200]


def check_log(log: Path, status: int) -> str:
    """Returns the last line of a command that was refused, which must be one sentence."""
    text = log.read_text(errors="replace")
    lines = [line for line in text.split("\r")[-1].splitlines() if line.strip()]
    assert status == 2, f"exit code {status}: {text[-500:]}"
    assert lines and lines[-1].startswith("error: "), f"no sentence: {text[-500:]}"
    assert "Traceback" not in text, text[-800:]
    problem = sentence_problem(lines[-1])
    assert not problem, f"{problem}: {lines[-1]!r}"
    return lines[-1]


def _kills(make_job, folder: Path) -> Attempt:
    bench = _Bench(folder, make_job)

    def attempt(random: Random, folder: Path) -> None:
        job = bench.next_job()
        process = bench.servers[0].start(job.arguments, bench.log())
        time.sleep(random.random() * 1.1 * bench.seconds)
        kind = random.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        everyone = random.random() < 0.5 or kind == signal.SIGINT
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if everyone else os.kill)(process, kind)
            if random.random() < 0.3:
                time.sleep(0.2)
                (os.killpg if everyone else os.kill)(process, kind)
        status = bench.servers[0].wait()
        assert group_is_gone(process), f"processes stay after {kind.name}"
        allowed = (0, -kind, 128 + kind)
        text = (folder / "log").read_text(errors="replace")
        assert status in allowed, f"exit code {status} after {kind.name}: {text[-500:]}"
        # What workers of a killed command say on their way out is not judged.
        assert kind == signal.SIGKILL or "Traceback" not in text, text[-800:]
        if status or not job.output.exists():
            bench.finish(job)
        bench.check(job)

    return attempt


@contextlib.contextmanager
def _small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)],
                   check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _full_disks(make_job, folder: Path) -> Attempt:
    bench = _Bench(folder, make_job)
    whole = sum(path.stat().st_size for path in (folder / "whole").rglob("*") if path.is_file())

    def attempt(random: Random, folder: Path) -> None:
        size = int(whole / 1024 * random.random() * 1.2) + 4
        with _small_disk(folder / "disk", size) as disk:
            (disk / "images").symlink_to(folder / "images")
            job = bench.next_job(disk)
            status = bench.servers[0].run(job.arguments, bench.log())
            sentence = ""
            if status:
                sentence = check_log(folder / "log", status)
                assert str(disk) in sentence, f"no file is named: {sentence}"
                subprocess.run(["mount", "-o", "remount,size=500m", str(disk)], check=True)
                bench.finish(job)
            bench.check(job)
        if sentence:
            raise Refused(sentence)

    return attempt


def _two_writers(make_job, folder: Path) -> Attempt:
    bench = _Bench(folder, make_job, servers=2)

    def attempt(random: Random, folder: Path) -> None:
        job = bench.next_job()
        logs = [bench.log(name) for name in ("log", "log2")]
        one, other = bench.servers
        one.start(job.arguments, logs[0])
        time.sleep(random.random() * bench.seconds)
        other.start([*job.arguments, *random.choice(((), job.resume))], logs[1])
        ends = [server.wait() for server in (one, other)]
        assert 0 in ends, f"both refused: {[log.read_text()[-300:] for log in logs]}"
        sentences = [check_log(log, end) for log, end in zip(logs, ends) if end]
        bench.check(job)
        if sentences:
            raise Refused(sentences[0])

    return attempt


def _can_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("mount") is not None


GROUPS: dict[str, Callable[[Path], Attempt]] = {
    f"kill_{name}": functools.partial(_kills, job) for name, job in JOBS.items()}
GROUPS.update({f"writers_{name}": functools.partial(_two_writers, JOBS[name]) for name in (
    "build", "render", "train_embedding", "test", "export", "convert")})
if _can_mount():
    GROUPS.update({f"disk_{name}": functools.partial(_full_disks, JOBS[name]) for name in (
        "build", "train_embedding", "test", "export")})
