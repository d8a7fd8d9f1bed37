"""Seeded damage to bytes and to JSON."""

from __future__ import annotations

import copy
import json
import struct
from random import Random

ODD_VALUES = (
    None, True, False, -1, 0, 1, 2 ** 31, 2 ** 63, 10 ** 30, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "text", "0", "\x1b[31mred\x00", "\udcff", "a" * 5000, [], {}, [[]],
    {"": None}, [1, "a", None], "../../etc/passwd",
)


def damaged(data: bytes, random: Random) -> bytes:
    """Cuts, zeroes, flips, overwrites, repeats or swaps a part of some bytes."""
    if not data:
        return random.randbytes(random.randint(0, 40))
    how = random.choice(_DAMAGES)
    # Headers are near the start.
    reach = len(data) if random.random() < 0.5 else min(len(data), 6000)
    return how(bytearray(data), random.randrange(reach), random)


def _cut(data, place, random):
    return bytes(data[:place])


def _zero_tail(data, place, random):
    return bytes(data[:place]) + bytes(len(data) - place)


def _flip(data, place, random):
    for _ in range(random.choice((1, 1, 1, 8, 64))):
        data[place] ^= 1 << random.randrange(8)
        place = (place + random.randint(0, 50)) % len(data)
    return bytes(data)


def _overwrite(data, place, random):
    block = random.randbytes(random.choice((1, 4, 64)))
    return bytes(data[:place]) + block + bytes(data[place + len(block):])


def _number(data, place, random):
    """Writes a large or odd number where a length or a dimension may be."""
    value = random.choice((0, 1, 0x7FFF, 0xFFFF, 20_000, 2 ** 31 - 1, 2 ** 32 - 1, 2 ** 62))
    size = random.choice("HIQ")
    number = struct.pack(random.choice("<>") + size, value % 2 ** (8 * struct.calcsize(size)))
    return bytes(data[:place]) + number + bytes(data[place + len(number):])


def _repeat(data, place, random):
    block = data[place:place + random.choice((1, 8, 500))]
    return bytes(data[:place] + block * random.choice((2, 20)) + data[place:])


def _insert(data, place, random):
    return bytes(data[:place]) + random.randbytes(random.choice((1, 3, 100))) + bytes(data[place:])


def _swap(data, place, random):
    return bytes(data[place:] + data[:place])


_DAMAGES = (_cut, _zero_tail, _flip, _flip, _overwrite, _number, _number, _repeat, _insert, _swap)


def odd_json(content: dict, random: Random) -> str:
    """Returns a JSON text like `content` with odd values, missing keys, deep nesting or damage."""
    kind = random.random()
    if kind < 0.15:
        return damaged(json.dumps(content).encode(), random).decode(errors="surrogateescape")
    if kind < 0.25:
        depth = random.choice((1000, 100_000))
        return _with_text(content, random, "[" * depth + "]" * depth)
    if kind < 0.35:
        number = random.choice(("9" * 6000, "1e999", "-1e999", "1" * 400))
        return _with_text(content, random, number)
    tree = copy.deepcopy(content)
    for _ in range(random.choice((1, 1, 3))):
        box, key = _place(tree, random)
        if box is None:
            return json.dumps(random.choice(ODD_VALUES))
        if random.random() < 0.3:
            del box[key]
        else:
            box[key] = copy.deepcopy(random.choice(ODD_VALUES))
    return json.dumps(tree)


def _with_text(content, random, text):
    tree = copy.deepcopy(content)
    box, key = _place(tree, random)
    if box is None:
        return text
    box[key] = "@@"
    return json.dumps(tree).replace('"@@"', text)


def _place(tree, random):
    """A random value's container and key; (None, None) for an empty tree."""
    places = []

    def walk(node):
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        for key in list(keys):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(tree)
    return random.choice(places) if places else (None, None)
