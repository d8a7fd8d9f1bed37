"""Who a varied pedestrian is: proportions, skin, hair, clothes and what they carry."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from tfrecords.synthetic.streams import Stream, generator, pick
from tfrecords.synthetic.varied.cloth import (
    ANGLES,
    LOWER,
    UPPER,
    dye,
    lower_texture,
    noise,
    sleeve_texture,
    upper_texture,
)

_SKIN = ((204, 164, 138), (192, 148, 120), (178, 132, 104), (160, 114, 88), (126, 86, 62),
         (88, 60, 46))
_HAIR = ((24, 21, 22), (44, 32, 28), (82, 54, 36), (150, 112, 70), (120, 60, 40),
         (150, 148, 146))
_HEAD_ROWS = 24
_OTHER_BAGS = ("none", "backpack", "messenger", "handbag", "tote", "plastic")


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """The constant properties of a pedestrian. Lengths are in body heights."""

    stature: float
    build: float
    shoulders: float
    hips: float
    belly: float
    skin: np.ndarray
    hair: np.ndarray
    hair_style: str
    head: np.ndarray  # texture
    hat: str
    hat_colour: np.ndarray
    upper: np.ndarray  # texture
    sleeve: np.ndarray  # texture
    sleeve_length: float  # 0 none, 0.5 to the elbow, 1 to the wrist
    hem: float  # height of the upper garment's lower edge
    lower_kind: str  # trousers, skirt or dress
    lower: np.ndarray  # texture
    lower_length: float  # 0.5 to the knee, 1 to the ankle
    looseness: float
    shoes: np.ndarray
    sole: np.ndarray
    bare_foot: bool
    socks: np.ndarray
    sock_length: float
    bag: str
    bag_colour: np.ndarray
    bag_second: np.ndarray
    bag_side: int


@functools.lru_cache(maxsize=256)
def look_of(seed: int, number: int) -> Look:
    """Returns the look of identity `number` of a seed, from 1."""
    return _dress(generator(seed, Stream.IDENTITY, number, 0, 1))


def stranger_look(seed: int, camera: int, index: int) -> Look:
    """Returns the look of a person who is not a numbered identity and is seen once."""
    return _dress(generator(seed, Stream.STRANGER, camera, index, 1))


def _dress(rng: np.random.Generator) -> Look:
    feminine = rng.random() < 0.45
    skin = np.float32(pick(rng, _SKIN, (5, 6, 5, 3, 2, 1))) * rng.uniform(0.9, 1.08)
    hair = np.float32(pick(rng, _HAIR, (12, 5, 3, 1, 1, 1))) * rng.uniform(0.8, 1.2)
    style = pick(rng, ("long", "ponytail", "bun", "bob", "short") if feminine else
                 ("short", "bald", "bushy", "long"), (5, 4, 2, 3, 2) if feminine else
                 (14, 1, 3, 0.5))
    hat = pick(rng, ("none", "cap", "sun_hat", "hood"), (40, 4, 1, 1))
    hat_colour = dye(rng, UPPER)
    upper_colour, lower_colour = dye(rng, UPPER), dye(rng, LOWER)
    upper = upper_texture(rng, upper_colour)
    lower_kind = pick(rng, ("trousers", "skirt", "dress"), (60, 14, 16) if feminine else (1, 0, 0))
    lower = upper if lower_kind == "dress" else lower_texture(rng, lower_colour)
    short = rng.uniform(0.22, 0.42) if feminine else rng.uniform(0.36, 0.58)
    if lower_kind == "trousers":
        length = pick(rng, (1.0, short, rng.uniform(0.6, 0.9)), (10, 8, 2))
    else:
        length = pick(rng, (rng.uniform(0.3, 0.55), rng.uniform(0.6, 0.95)), (3, 1))
    bag = pick(rng, _OTHER_BAGS, (40, 30, 12, 8, 5, 5))
    bag_colour = dye(rng, LOWER if rng.random() < 0.5 else UPPER)
    side = 1 if rng.random() < 0.5 else -1
    light_shoe = rng.random() < 0.4
    return Look(
        stature=rng.uniform(0.95, 1.03), build=float(np.exp(rng.normal(0.08, 0.14))),
        shoulders=rng.uniform(0.118, 0.14) - 0.014 * feminine,
        hips=rng.uniform(0.084, 0.098) + 0.008 * feminine, belly=rng.uniform(0.066, 0.095),
        skin=skin, hair=hair, hair_style=style,
        head=_head(rng, skin, hair, style, hat, hat_colour, not feminine and rng.random() < 0.12),
        hat=hat, hat_colour=hat_colour, upper=upper, sleeve=sleeve_texture(rng, upper),
        sleeve_length=pick(rng, (0.0, rng.uniform(0.22, 0.48), rng.uniform(0.55, 0.8), 1.0),
                           (2 if feminine else 1, 11, 1, 6)),
        hem=pick(rng, (0.48, 0.45, 0.42, 0.34), (3, 5, 4, 1)), lower_kind=lower_kind, lower=lower,
        lower_length=float(length), looseness=rng.uniform(0.95, 1.5 - 0.3 * feminine),
        shoes=np.float32((215, 215, 212)) * rng.uniform(0.8, 1.1) if light_shoe else
        dye(rng, LOWER), sole=np.float32((205, 203, 198)) if rng.random() < 0.4 else
        np.float32((40, 38, 38)), bare_foot=rng.random() < 0.25,
        socks=np.float32((220, 220, 220)) if rng.random() < 0.6 else np.float32((45, 45, 48)),
        sock_length=pick(rng, (0.0, rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.7)), (6, 3, 1)),
        bag=bag, bag_colour=np.float32((214, 212, 206)) if bag == "plastic" else bag_colour,
        bag_second=dye(rng, UPPER) if rng.random() < 0.5 else bag_colour * np.float32(0.7),
        bag_side=side)


def _head(rng: np.random.Generator, skin: np.ndarray, hair: np.ndarray, style: str, hat: str,
          hat_colour: np.ndarray, beard: bool) -> np.ndarray:
    """Draws the texture of a head from the crown to the chin."""
    texture = np.empty((_HEAD_ROWS, ANGLES, 3), np.float32)
    texture[:] = skin
    angle = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False)[None, :]
    height = np.linspace(1, -1, _HEAD_ROWS)[:, None]
    front = np.cos(angle)
    eyes = (np.abs(height) < 0.09) & (np.abs(np.abs(angle) - 0.42) < 0.2)
    texture[eyes] *= 0.45
    texture[(np.abs(height + 0.55) < 0.05) & (np.abs(angle) < 0.25)] *= 0.72
    if beard:
        texture[(height < -0.35) & (front > 0.0)] = hair
    if style != "bald":
        fringe = {"long": 0.3, "bob": 0.4, "bushy": 0.2}.get(style, 0.0)
        reach = rng.uniform(-0.25, -0.05) - fringe + (0.62 + fringe + rng.uniform(-0.15, 0.1)) * (
            0.5 + 0.5 * np.tanh(4 * (front - 0.25)))
        strands = 1 + 0.05 * noise(rng, (_HEAD_ROWS, ANGLES), (4, 14))
        covered = height > reach
        texture[covered] = (hair * strands[..., None])[covered]
    if rng.random() < 0.12:
        texture[(np.abs(height - 0.0) < 0.06) & (np.abs(angle) < 1.3)] *= 0.4  # glasses
    if hat in ("cap", "sun_hat"):
        texture[np.broadcast_to(height > 0.3, texture.shape[:2])] = hat_colour
    elif hat == "hood":
        texture[np.broadcast_to(front < 0.5, texture.shape[:2])] = hat_colour
    return np.clip(texture, 0, 255)
