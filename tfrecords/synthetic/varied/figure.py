"""Draws a varied pedestrian onto a canvas, far parts first."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tfrecords.synthetic.brush import darken, ellipse
from tfrecords.synthetic.pose import HIP, NECK, SHOULDER, Limb, Pose, View, arms, legs
from tfrecords.synthetic.varied.cloth import ANGLES, noise
from tfrecords.synthetic.varied.wardrobe import Look

_LEG_WIDTHS, _ARM_WIDTHS = (0.06, 0.043, 0.025), (0.035, 0.028, 0.019)
_HEAD = (0.049, 0.057, 0.07)  # half width, half depth, half height
# Columns of a texture that a tube shows from its left rim to its right one.
_TURN = np.round(np.arcsin(np.linspace(-1, 1, 65)) * ANGLES / (2 * math.pi)).astype(np.intp)


class Canvas:
    """A picture that is drawn on, uint8 RGB [height, width, 3], and how its light falls.

    Attributes:
        pixels: The picture.
        light: Side that shines, -1 to 1.
        depth: How much darker the rims of rounded parts are, 0 to 1.
        folds: Factors of the brightness of cloth, float32 [height, width].
    """

    def __init__(self, pixels: np.ndarray, light: float, depth: float,
                 rng: np.random.Generator) -> None:
        self.pixels, self.light, self.depth = pixels, np.float32(light), np.float32(depth)
        height, width = pixels.shape[:2]
        coarse = noise(rng, (height, width), (height // 14, width // 9))
        creases = np.abs(noise(rng, (height, width), (height // 8, width // 7)))
        strength = np.float32(rng.uniform(0.04, 0.11))
        self.folds = 1 + strength * (coarse - 2 * np.exp(-8 * creases) + 0.5)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.pixels.shape[1]

    def tube(self, start: tuple, end: tuple, radii: list, paint: np.ndarray, turn: float = 0.0,
             rows: tuple = (0.0, 1.0), dim: float = 1.0, rounded: bool = True) -> None:
        """Draws a part of a body.

        Args:
            start: Pixel (x, y) of one end.
            end: Of the other end.
            radii: Half-widths in pixels, evenly spaced from start to end.
            paint: A colour [3], or a texture, whose rows run from start to end.
            turn: Yaw of a textured part, radians.
            rows: Shares of the texture's height at start and end.
            dim: Factor of the brightness.
            rounded: Whether half discs close the ends.
        """
        reach = max(radii) + 1.0
        height, width = self.pixels.shape[:2]
        x0 = max(0, math.floor(min(start[0], end[0]) - reach))
        x1 = min(width, math.ceil(max(start[0], end[0]) + reach))
        y0 = max(0, math.floor(min(start[1], end[1]) - reach))
        y1 = min(height, math.ceil(max(start[1], end[1]) + reach))
        length = math.hypot(end[0] - start[0], end[1] - start[1])
        if x0 >= x1 or y0 >= y1 or length < 1e-3:
            return
        ux, uy = (end[0] - start[0]) / length, (end[1] - start[1]) / length
        dx = np.arange(x0 + 0.5 - start[0], x1 + 0.4 - start[0], dtype=np.float32)[None, :]
        dy = np.arange(y0 + 0.5 - start[1], y1 + 0.4 - start[1], dtype=np.float32)[:, None]
        along = dx * np.float32(ux) + dy * np.float32(uy)
        across = dx * np.float32(uy) - dy * np.float32(ux)
        inside = np.minimum(np.maximum(along, 0), np.float32(length))
        radius = _profile(inside, radii, length)
        if rounded:
            beyond = along - inside
            alpha = radius - np.sqrt(across * across + beyond * beyond)
        else:
            alpha = np.minimum(radius - np.abs(across), np.minimum(
                along + 0.5, np.float32(length) + 0.5 - along))
        alpha = np.minimum(np.maximum(alpha + 0.5, 0), 1)
        side = np.minimum(np.maximum(across / radius, -1), 1)
        shade = np.float32(dim) * (1 - self.depth * side * side + self.light * side)
        shade *= self.folds[y0:y1, x0:x1]
        region = self.pixels[y0:y1, x0:x1]
        if paint.ndim == 3:
            scale = (len(paint) - 1) / length
            row = (inside * np.float32((rows[1] - rows[0]) * scale) + np.float32(
                rows[0] * (len(paint) - 1))).astype(np.intp)
            offset = ANGLES // 2 - round(turn * ANGLES / (2 * math.pi))
            column = (_TURN[((side + 1) * 32).astype(np.intp)] + offset) % ANGLES
            paint = paint[row, column]
        blend = region + alpha[..., None] * (paint * shade[..., None] - region)
        region[:] = np.minimum(np.maximum(blend, 0), 255)


def _profile(inside: np.ndarray, radii: list, length: float) -> np.ndarray:
    if len(radii) == 2:
        return np.float32(radii[0]) + inside * np.float32((radii[1] - radii[0]) / length)
    knots = np.linspace(0.0, length, len(radii))
    return np.interp(inside, knots, radii).astype(np.float32)


def draw_person(canvas: Canvas, look: Look, pose: Pose, x: float, ground: float,
                pixels: float) -> None:
    """Draws a pedestrian with feet at (x, ground), `pixels` per body height."""
    darken(canvas.pixels, (x - canvas.light * 0.3 * pixels, ground), (0.22 * pixels, 0.05 * pixels),
           0.45)
    view = View(x, ground, pixels * look.stature, pose.yaw, pose.pitch)
    figure = _Figure(canvas, look, pose, view)
    behind = math.cos(pose.yaw) >= 0
    if behind:
        figure.backpack()
        figure.hair_behind()
    limbs = sorted(arms(look, pose), key=lambda arm: view.depth(arm.joints[1]))
    for leg in sorted(legs(look, pose), key=lambda leg: view.depth(leg.joints[1])):
        figure.leg(leg)
    # A side view hides the far arm behind the torso; a front view hides neither.
    hidden = 1 if abs(math.sin(pose.yaw)) > 0.35 else 0
    for arm in limbs[:hidden]:
        figure.arm(arm, 0.85)
    figure.skirt()
    figure.torso()
    figure.head()
    if not behind:
        figure.hair_behind()
        figure.backpack()
    figure.hip_bag()
    for arm in limbs[hidden:]:
        figure.arm(arm, 0.97)


@dataclasses.dataclass(frozen=True)
class _Figure:
    canvas: Canvas
    look: Look
    pose: Pose
    view: View

    def leg(self, limb: Limb) -> None:
        look, points = self.look, [self.view.place(joint) for joint in limb.joints]
        widths = [width * self.view.pixels * look.build ** 0.6 for width in _LEG_WIDTHS]
        dim = 1.0 if self.view.depth(limb.joints[1]) >= 0 else 0.85
        turn = self.pose.yaw
        self._foot(points, widths[2], dim)
        trousers = look.lower_kind == "trousers"
        covered = look.lower_length if trousers else 0.0
        tube = self.canvas.tube
        if covered < 1:
            tube(points[1], points[2], [widths[1] * 0.9, widths[1] * 1.02, widths[2]], look.skin,
                 dim=dim)
            if covered < 0.5:
                tube(points[0], points[1], widths[:2], look.skin, dim=dim)
        if look.sock_length and not look.bare_foot:
            tube(_between(points[2], points[1], look.sock_length), points[2],
                 [widths[1] * (0.5 + 0.5 * look.sock_length), widths[2] * 1.08], look.socks,
                 dim=dim)
        if not covered:
            return
        loose = look.looseness
        if covered > 0.5:
            share = (covered - 0.5) * 2
            end = widths[1] + share * (widths[2] - widths[1])
            tube(points[1], _between(points[1], points[2], share),
                 [widths[1] * loose, end * loose * 1.05], look.lower, turn, (0.5, covered), dim,
                 rounded=False)
            tube(points[0], points[1], [widths[0] * 1.05, widths[1] * loose], look.lower, turn,
                 (0.0, 0.5), dim)
        else:
            share = covered * 2
            end = widths[0] + share * (widths[1] - widths[0])
            tube(points[0], _between(points[0], points[1], share),
                 [widths[0] * 1.05, end * (0.1 + loose)], look.lower, turn, (0.0, 0.9), dim,
                 rounded=False)

    def arm(self, limb: Limb, dim: float) -> None:
        look, points = self.look, [self.view.place(joint) for joint in limb.joints]
        widths = [width * self.view.pixels * look.build ** 0.6 for width in _ARM_WIDTHS]
        tube, sleeve = self.canvas.tube, look.sleeve_length
        if self.view.depth(limb.joints[0]) < -0.03:
            dim *= 0.85
        hand = _between(points[1], points[2], 1.16)
        tube(points[2], hand, [widths[2] * 1.05, widths[2] * 1.15], look.skin, dim=dim)
        if sleeve < 1:
            tube(points[1], points[2], widths[1:], look.skin, dim=dim)
            if sleeve < 0.5:
                bare = _between(points[0], points[1], sleeve)
                tube(bare, points[1], widths[:2], look.skin, dim=dim)
        loose = 0.95 + 0.3 * (look.looseness - 0.9)
        if sleeve > 0.5:
            share = (sleeve - 0.5) * 2
            end = widths[1] + share * (widths[2] - widths[1])
            tube(points[1], _between(points[1], points[2], share),
                 [widths[1] * loose * 1.1, end * loose * 1.15], look.sleeve, self.pose.yaw,
                 (0.5, 1.0), dim)
        if sleeve:
            share = min(1.0, sleeve * 2)
            end = widths[0] + share * (widths[1] - widths[0])
            tube(points[0], _between(points[0], points[1], share),
                 [widths[0] * 1.12, end * (1.15 + 0.4 * (look.looseness - 1) * (sleeve < 0.5))],
                 look.sleeve, self.pose.yaw, (0.0, 1.0 if sleeve < 0.5 else 0.5), dim,
                 rounded=sleeve >= 0.5)
            if sleeve < 0.5:
                ellipse(self.canvas.pixels, points[0], (widths[0],) * 2,
                        tuple(look.sleeve[2, 32] * dim * 0.85))
        if limb.side == look.bag_side and look.bag in ("handbag", "plastic"):
            self._carried(hand)

    def skirt(self) -> None:
        look = self.look
        if look.lower_kind == "trousers":
            return
        end = HIP + 0.02 - look.lower_length * (HIP - 0.06)
        swing = self.pose.stride * (HIP - end) * 0.35
        hips = self._breadth(look.hips, 0.075)
        flare = self._breadth(look.hips * (0.95 + 0.35 * (look.looseness - 0.8)) + 0.01,
                              0.08 + swing)
        rows = (0.5, 1.0) if look.lower_kind == "dress" else (0.0, 1.0)
        self._tube((0, 0.58, 0), (0, end, 0), [hips * 0.9, hips * 1.06, flare], look.lower,
                   rows, rounded=False)

    def torso(self) -> None:
        look = self.look
        top, bottom = (0, SHOULDER + 0.025, self._lean(SHOULDER)), (0, look.hem, 0)
        width = self._breadth(0.034, 0.036)
        self.canvas.tube(self.view.place(top), self.view.place((0, 0.9, self._lean(0.9))),
                         [width, width], look.skin, dim=0.85)
        hips, chest, belly = look.hips, look.shoulders, look.belly
        if look.lower_kind == "trousers":
            around = self._breadth(hips * 1.02, 0.078)
            self._tube((0, 0.57, 0), (0, 0.45, 0), [around * 0.95, around * 0.97], look.lower,
                       (0.0, 0.2))
        shape = [(0.042, 0.04), (chest * 0.78, 0.062), (chest * 0.97, 0.075), (chest * 1.02, 0.084),
                 (chest * 0.96, 0.086), (chest * 0.9, (0.084 + belly) / 2),
                 (chest * 0.5 + hips * 0.45, belly), (hips * 0.75 + chest * 0.25, belly),
                 (hips * 1.04, belly * 0.98), (hips * 1.08, 0.084), (hips * 1.1, 0.084)]
        loose = 0.96 + 0.12 * (look.looseness - 0.9)
        rows = (0.0, 0.55) if look.lower_kind == "dress" else (0.0, 1.0)
        self._tube(top, bottom, [self._breadth(*half) * loose for half in shape], look.upper,
                   rows, rounded=False)
        if look.bag in ("backpack", "messenger", "tote"):
            self._straps()

    def _straps(self) -> None:
        """Draws the straps of a bag where they are in sight."""
        look, facing = self.look, math.cos(self.pose.yaw)
        thick = 0.011 * self.view.pixels
        side, chest = look.bag_side, look.shoulders
        if look.bag == "backpack":
            for half in (-1, 1):
                over, under = ((half * chest * 0.58, 0.82, self._lean(SHOULDER) + 0.02),
                               (half * chest * 0.72, 0.66, 0.075))
                if facing > -0.15 and self.view.depth(under) > -0.02:
                    self._strap(over, under, thick * 1.25)
            return
        if look.bag == "tote":
            front = 0.07 if facing > 0 else -0.07
            self._strap((side * chest * 0.7, 0.825, 0), (side * chest * 0.9, 0.6, front), thick)
            return
        front = 0.085 if facing > 0 else -0.085
        self._strap((-side * chest * 0.5, 0.83, 0), (side * look.hips, 0.55, front), thick)

    def _strap(self, start: tuple, end: tuple, thick: float) -> None:
        self.canvas.tube(self.view.place(start), self.view.place(end), [thick, thick],
                         self.look.bag_colour)

    def head(self) -> None:
        look, (width, depth, height) = self.look, _HEAD
        middle = NECK + 0.018 + height
        ahead, size = self._lean(middle) + 0.012, self.view.pixels
        breadth = self.view.breadth(width, depth)
        if look.hair_style == "bushy" and look.hat == "none":
            ellipse(self.canvas.pixels, self.view.place((0, middle + 0.012, ahead - 0.012)),
                    (breadth * 1.22, height * 1.08 * size), tuple(look.hair))
        profile = [breadth * math.sqrt(max(0.0, 1 - (k / 5 - 1) ** 2)) + 0.3 for k in range(11)]
        profile[7:10] = [radius * 0.92 for radius in profile[7:10]]
        self._tube((0, middle + height, ahead), (0, middle - height, ahead), profile, look.head,
                   rounded=False)
        if look.hair_style == "bun" and look.hat == "none":
            ellipse(self.canvas.pixels, self.view.place((0, middle + 0.06, ahead - 0.05)),
                    (0.03 * size,) * 2, tuple(look.hair * 0.9))
        if look.hat == "cap" and math.cos(self.pose.yaw) > -0.5:
            ellipse(self.canvas.pixels, self.view.place((0, middle + 0.024, ahead + 0.06)),
                    (self.view.breadth(0.045, 0.045), 0.012 * size), tuple(look.hat_colour * 0.75))
        elif look.hat == "sun_hat":
            ellipse(self.canvas.pixels, self.view.place((0, middle + 0.024, ahead)),
                    (0.1 * size, 0.024 * size), tuple(look.hat_colour * 0.85))

    def hair_behind(self) -> None:
        ends = {"long": 0.72, "ponytail": 0.78, "bob": 0.83}
        look = self.look
        if look.hair_style not in ends or look.hat == "hood":
            return
        wide = {"long": 0.062, "bob": 0.06}.get(look.hair_style, 0.022)
        behind, lean = (-0.065 if look.hair_style == "ponytail" else -0.035), self._lean(0.8)
        half = self.view.breadth(wide, 0.035)
        self._tube((0, 0.94, behind + lean), (0, ends[look.hair_style], behind + lean),
                   [half * 0.9, half, half * 0.85], look.hair * np.float32(0.95), dim=0.95)

    def backpack(self) -> None:
        look = self.look
        if look.bag != "backpack":
            return
        size = 1.0 + 0.16 * (look.looseness - 1.15)
        top, bottom = (0, 0.81, -0.115 + self._lean(0.8)), (0, 0.81 - 0.26 * size, -0.115)
        width = self.view.breadth(0.094 * size, 0.06)
        self._tube(top, bottom, [width * 0.7, width, width * 1.02, width], look.bag_colour)
        if math.cos(self.pose.yaw) < -0.2:
            self._tube((0, 0.68, -0.16), (0, 0.6, -0.16), [width * 0.6, width * 0.65],
                       look.bag_second, rounded=False)
            self._tube((0, 0.765, -0.15), (0, 0.75, -0.15), [width * 0.7, width * 0.7],
                       look.bag_second, rounded=False)

    def hip_bag(self) -> None:
        look = self.look
        if look.bag not in ("messenger", "tote"):
            return
        side = look.bag_side * (look.hips + 0.035)
        if self.view.depth((side, 0, 0)) < -0.07:
            return
        width, top = self.view.breadth(0.035, 0.085), 0.6 if look.bag == "tote" else 0.55
        self._tube((side, top, 0), (side, top - 0.14, 0), [width * 0.95, width], look.bag_colour,
                   rounded=False)
        self._tube((side, top - 0.01, 0), (side, top - 0.05, 0), [width * 0.9, width * 0.9],
                   look.bag_second, rounded=False)

    def _foot(self, points: list, width: float, dim: float) -> None:
        look = self.look
        heel = (points[2][0], points[2][1] + width * 0.4)
        tip = (points[3][0], max(points[3][1], heel[1] + 0.5))
        low = [(x, y + width * 0.5) for x, y in (heel, tip)]
        self.canvas.tube(*low, [width * 0.95, width * 0.85], look.sole, dim=dim)
        self.canvas.tube(heel, tip, [width * 0.95, width * 0.8],
                         look.skin if look.bare_foot else look.shoes, dim=dim)

    def _carried(self, hand: tuple) -> None:
        look, size = self.look, self.view.pixels
        tall = 0.15 if look.bag == "plastic" else 0.1
        half = self.view.breadth(0.035, 0.07)
        top = (hand[0], hand[1] + 0.03 * size)
        for side in (-0.6, 0.6):
            self.canvas.tube(hand, (hand[0] + side * half, top[1] + 2), [0.9, 0.9],
                             look.bag_second)
        self.canvas.tube(top, (top[0], top[1] + tall * size), [half * 0.85, half * 1.05],
                         look.bag_colour, rounded=False)

    def _lean(self, height: float) -> float:
        return self.pose.lean * (height - HIP)

    def _breadth(self, half_width: float, half_depth: float) -> float:
        return self.view.breadth(half_width, half_depth) * self.look.build ** 0.6

    def _tube(self, start: tuple, end: tuple, radii: list, paint: np.ndarray,
              rows: tuple = (0.0, 1.0), dim: float = 1.0, rounded: bool = True) -> None:
        self.canvas.tube(self.view.place(start), self.view.place(end), radii, paint,
                         self.pose.yaw, rows, dim, rounded)


def _between(first: tuple, second: tuple, share: float) -> tuple:
    return tuple(a + share * (b - a) for a, b in zip(first, second))
