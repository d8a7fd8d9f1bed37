"""What a pedestrian looks like: body, hair, clothes and bags, the same in every camera."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from tfrecords.synthetic.streams import Stream, generator, pick

Colour = tuple  # (red, green, blue), each 0-255

# Few colours on purpose: identities must differ in how they wear them.
CLOTHES = {
    "black": (34, 34, 38), "white": (226, 226, 222), "grey": (128, 130, 134),
    "red": (184, 36, 40), "navy": (36, 46, 100), "blue": (56, 112, 196),
    "green": (44, 122, 66), "yellow": (220, 182, 54), "brown": (118, 80, 50),
    "pink": (220, 132, 160),
}
LEATHER = ((38, 34, 34), (104, 62, 36), (226, 224, 220), (170, 40, 44), (60, 74, 120))
SKIN = ((240, 205, 178), (224, 180, 146), (196, 146, 108), (142, 96, 66), (92, 62, 46))
HAIR = ((28, 24, 24), (74, 48, 32), (190, 152, 88), (150, 74, 36), (168, 166, 164))
BOLD_PATTERNS = ("rings", "pinstripes", "checks", "dots", "two_tone", "band")
QUIET_PATTERNS = ("plain", "logo", "open_jacket", "contrast_sleeves")
# Groups of four identities share two colours and differ in their arrangement.
LOOKALIKES = 4


@dataclasses.dataclass(frozen=True)
class Garment:
    """One garment: two colours, the pattern that mixes them and how often it repeats."""

    colour: Colour
    second: Colour
    pattern: str
    repeats: int


@dataclasses.dataclass(frozen=True)
class Identity:
    """The constant properties of a pedestrian. Lengths are in body heights."""

    stature: float
    build: float
    shoulders: float
    hips: float
    skin: Colour
    hair_style: str
    hair: Colour
    beard: bool
    hat: str
    hat_colour: Colour
    upper: Garment
    sleeves: str
    hem: float
    lower_kind: str
    lower: Garment
    shoes: Colour
    boots: bool
    bag: str
    bag_colour: Colour
    bag_side: int


@functools.lru_cache(maxsize=4096)
def identity_of(seed: int, number: int) -> Identity:
    """Returns identity `number` of a seed, from 1."""
    family, member = divmod(number - 1, LOOKALIKES)
    colours = generator(seed, Stream.PALETTE, family).permutation(len(CLOTHES))[:3]
    return _dress(generator(seed, Stream.IDENTITY, number), colours, member)


def stranger(seed: int, camera: int, index: int) -> Identity:
    """Returns a person who is not a numbered identity and is seen once."""
    rng = generator(seed, Stream.STRANGER, camera, index)
    return _dress(rng, rng.permutation(len(CLOTHES))[:3], int(rng.integers(LOOKALIKES)))


def _dress(rng: np.random.Generator, colours: np.ndarray, member: int) -> Identity:
    names = list(CLOTHES)
    first, second, accent = (_dyed(rng, CLOTHES[names[int(index)]]) for index in colours)
    if member % 2:
        first, second = second, first
    if member >= 2:
        upper = Garment(first, second, pick(rng, BOLD_PATTERNS), int(rng.integers(3, 6)))
    else:
        upper = Garment(first, accent, pick(rng, QUIET_PATTERNS), int(rng.integers(3, 6)))
    feminine = rng.random() < 0.5
    lower_kind = pick(rng, ("trousers", "shorts", "skirt", "long_skirt"),
                      (5, 3, 3, 2) if feminine else (7, 4, 0, 0))
    lower_pattern = pick(rng, ("plain", "side_stripe", "checks", "rings"), (8, 2, 1, 1))
    hair_style = pick(rng, ("long", "ponytail", "bun", "short") if feminine else
                      ("short", "bald", "afro", "long"), (4, 3, 2, 1) if feminine else (6, 2, 2, 1))
    return Identity(
        stature=rng.uniform(0.93, 1.04) - 0.03 * feminine,
        build=rng.uniform(0.88, 1.3),
        shoulders=rng.uniform(0.108, 0.124) - 0.012 * feminine,
        hips=rng.uniform(0.078, 0.088) + 0.01 * feminine,
        skin=pick(rng, SKIN),
        hair_style=hair_style,
        hair=pick(rng, HAIR, (5, 4, 3, 1, 2)),
        beard=not feminine and rng.random() < 0.3,
        hat=pick(rng, ("none", "cap", "beanie", "sun_hat", "hood"), (12, 3, 2, 1, 1)),
        hat_colour=accent if rng.random() < 0.5 else pick(rng, LEATHER),
        upper=upper,
        sleeves=pick(rng, ("long", "short", "none"), (6, 5, 1)),
        hem=pick(rng, (0.47, 0.44, 0.34), (5, 3, 2)),
        lower_kind=lower_kind,
        lower=Garment(second, accent, lower_pattern, int(rng.integers(3, 6))),
        shoes=pick(rng, LEATHER, (4, 2, 3, 1, 1)),
        boots=rng.random() < 0.2,
        bag=pick(rng, ("none", "backpack", "messenger", "handbag"), (4, 4, 3, 3)),
        bag_colour=accent if rng.random() < 0.5 else pick(rng, LEATHER),
        bag_side=1 if rng.random() < 0.5 else -1,
    )


def _dyed(rng: np.random.Generator, colour: Colour) -> Colour:
    shade = rng.uniform(0.9, 1.1)
    return tuple(min(255.0, channel * shade) for channel in colour)
