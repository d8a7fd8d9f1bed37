"""Draws a dressed pedestrian onto a canvas, far parts first."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tfrecords.synthetic.brush import darken, ellipse, shaded, tube
from tfrecords.synthetic.fabric import garment_paint, head_paint, torso_paint
from tfrecords.synthetic.identity import Garment, Identity
from tfrecords.synthetic.pose import HIP, NECK, SHOULDER, Limb, Pose, View, arms, legs

_LEG_WIDTHS, _ARM_WIDTHS = (0.052, 0.036, 0.024), (0.033, 0.026, 0.018)
_HEAD = (0.05, 0.058, 0.072)  # half width, half depth, half height


def draw_person(canvas: np.ndarray, identity: Identity, pose: Pose, x: float, ground: float,
                pixels: float, light: float = 0.0) -> None:
    """Draws a pedestrian with feet at (x, ground), `pixels` per body height, onto uint8 RGB.

    `light` (-1 to 1) is the side that the light comes from.
    """
    draw_shadow(canvas, x, ground, pixels, light)
    draw_figure(canvas, identity, pose, x, ground, pixels, light)


def draw_shadow(canvas: np.ndarray, x: float, ground: float, pixels: float, light: float) -> None:
    """Darkens the ground around the feet; see `draw_person`."""
    darken(canvas, (x - light * 0.08 * pixels, ground), (0.2 * pixels, 0.05 * pixels), 0.5)


def draw_figure(canvas: np.ndarray, identity: Identity, pose: Pose, x: float, ground: float,
                pixels: float, light: float) -> None:
    """Draws a pedestrian without a shadow; see `draw_person`."""
    view = View(x, ground, pixels * identity.stature, pose.yaw, pose.pitch)
    figure = _Figure(canvas, identity, pose, view, light)
    facing = math.cos(pose.yaw)
    if identity.bag == "backpack" and facing >= 0:
        figure.backpack()
    if facing >= 0:
        figure.hair_behind()
    limbs = sorted(arms(identity, pose), key=lambda arm: view.depth(arm.joints[1]))
    for leg in sorted(legs(identity, pose), key=lambda leg: view.depth(leg.joints[1])):
        figure.leg(leg)
    # A side view hides the far arm behind the torso; a front view hides neither.
    hidden = 1 if abs(math.sin(pose.yaw)) > 0.35 else 0
    for arm in limbs[:hidden]:
        figure.arm(arm)
    figure.skirt()
    figure.torso()
    figure.head()
    if facing < 0:
        figure.hair_behind()
        if identity.bag == "backpack":
            figure.backpack()
    figure.hip_bag()
    for arm in limbs[hidden:]:
        figure.arm(arm)


@dataclasses.dataclass(frozen=True)
class _Figure:
    canvas: np.ndarray
    identity: Identity
    pose: Pose
    view: View
    light: float

    def leg(self, limb: Limb) -> None:
        points = [self.view.place(joint) for joint in limb.joints]
        widths = self._widths(_LEG_WIDTHS)
        dim = 1.0 if self.view.depth(limb.joints[1]) >= 0 else 0.82
        cloth, skin = self._cloth(self.identity.lower, dim), shaded(self.identity.skin, dim)
        covered = {"trousers": 2, "shorts": 1}.get(self.identity.lower_kind, 0)
        self._foot(points, widths, dim)
        for bone in (1, 0):
            loose = 1.15 if covered > bone else 0.9
            self._bone(points[bone], points[bone + 1], widths[bone] * loose,
                       widths[bone + 1] * loose, cloth if covered > bone else skin)
        if covered == 1:
            self._bone(points[0], _between(points[0], points[1], 0.95), widths[0] * 1.2,
                       widths[1] * 1.45, cloth)
        if self.identity.boots and covered < 2:
            self._bone(_between(points[1], points[2], 0.35), points[2], widths[1], widths[2] * 1.3,
                       shaded(self.identity.shoes, dim))

    def arm(self, limb: Limb) -> None:
        points = [self.view.place(joint) for joint in limb.joints]
        widths = self._widths(_ARM_WIDTHS)
        near = self.view.depth(limb.joints[0]) >= -0.03
        dim = 0.94 if near else 0.78
        skin, upper = shaded(self.identity.skin, dim), self.identity.upper
        if upper.pattern == "contrast_sleeves":
            upper = Garment(upper.second, upper.second, "plain", 1)
        elif upper.pattern in ("logo", "open_jacket", "band", "two_tone"):
            colour = upper.second if upper.pattern == "two_tone" else upper.colour
            upper = Garment(colour, colour, "plain", 1)
        cloth = self._cloth(upper, dim)
        ellipse(self.canvas, points[2], (widths[2] * 1.15, widths[2] * 1.5), skin)
        paints = {"long": (cloth, cloth), "short": (cloth, skin),
                  "none": (skin, skin)}[self.identity.sleeves]
        loose = [1.12 if paint is cloth else 0.9 for paint in paints]
        self._bone(points[1], points[2], widths[1] * loose[1], widths[2] * loose[1], paints[1])
        self._bone(points[0], points[1], widths[0] * loose[0], widths[1] * loose[0] * 1.05,
                   paints[0])
        if self.identity.bag == "handbag" and limb.side == self.identity.bag_side:
            self._handbag(points[2])

    def skirt(self) -> None:
        ends = {"skirt": 0.3, "long_skirt": 0.13}
        if self.identity.lower_kind not in ends:
            return
        end = ends[self.identity.lower_kind]
        swing = self.pose.stride * (HIP - end) * 0.45
        hips = self._breadth(self.identity.hips, 0.07)
        flare = self._breadth(self.identity.hips * 1.15 + 0.02, 0.075 + swing)
        self._tube((0, 0.57, 0), (0, end, 0), (hips * 0.85, hips * 1.05, flare),
                   self._cloth(self.identity.lower), rounded=False)

    def torso(self) -> None:
        who = self.identity
        top, bottom = (0, SHOULDER + 0.03, self._lean(SHOULDER)), (0, who.hem, 0)
        neck = self.view.place((0, 0.9, self._lean(0.9)))
        shoulders = self.view.place(top)
        width = self._breadth(0.032, 0.034)
        tube(self.canvas, shoulders, neck, (width, width), shaded(who.skin, 0.88), self.light)
        hips = self._breadth(who.hips * 1.1, 0.072)
        profile = [self._breadth(0.04, 0.038),
                   self._breadth(who.shoulders * 0.8, 0.06),
                   self._breadth(who.shoulders * 0.97, 0.07),
                   self._breadth(who.shoulders * 0.96, 0.076),
                   self._breadth(who.shoulders * 0.93, 0.077),
                   self._breadth(who.shoulders * 0.88, 0.075),
                   self._breadth(who.shoulders * 0.6 + who.hips * 0.3, 0.072),
                   self._breadth(who.shoulders * 0.45 + who.hips * 0.45, 0.068),
                   self._breadth(who.shoulders * 0.3 + who.hips * 0.6, 0.069),
                   hips * 0.95, hips, hips, hips]
        if who.hem < 0.4:
            profile += [hips * 1.02, hips * 1.04, hips * 1.08, hips * 1.12]
        if who.lower_kind in ("trousers", "shorts"):
            self._tube((0, 0.56, 0), (0, 0.455, 0), (hips * 0.9, hips * 0.9),
                       self._cloth(who.lower))
        self._tube(top, bottom, profile, torso_paint(who, self.pose.yaw), rounded=False)

    def head(self) -> None:
        who, (width, depth, height) = self.identity, _HEAD
        middle = NECK + 0.02 + height
        breadth = self.view.breadth(width, depth)
        tall = height + 0.008 * (who.hat == "beanie")
        ahead = self._lean(middle) + 0.012
        if who.hair_style == "afro" and who.hat == "none":
            ellipse(self.canvas, self.view.place((0, middle + 0.02, ahead - 0.02)),
                    (breadth * 1.5, height * 1.2 * self.view.pixels), who.hair)
        profile = [breadth * math.sqrt(max(0.0, 1 - (k / 5 - 1) ** 2)) + 0.3 for k in range(11)]
        profile[7:10] = [radius * 0.93 for radius in profile[7:10]]
        self._tube((0, middle + tall, ahead), (0, middle - height, ahead), profile,
                   head_paint(who, self.pose.yaw), rounded=False)
        if who.hair_style == "bun" and who.hat in ("none", "cap"):
            knot = self.view.place((0, middle + 0.05, ahead - 0.05))
            ellipse(self.canvas, knot, (0.03 * self.view.pixels,) * 2, shaded(who.hair, 0.9))
        self._brim(middle, ahead)

    def hair_behind(self) -> None:
        ends = {"long": 0.74, "ponytail": 0.77}
        who = self.identity
        if who.hair_style not in ends or who.hat == "hood":
            return
        wide = self._breadth(0.05 if who.hair_style == "long" else 0.02, 0.03) / who.build ** 0.5
        behind = -0.04 if who.hair_style == "long" else -0.065
        lean = self._lean(0.8)
        self._tube((0, 0.92, behind + lean), (0, ends[who.hair_style], behind + lean),
                   (wide, wide * 0.9), shaded(who.hair, 0.92))

    def backpack(self) -> None:
        who = self.identity
        top, bottom = (0, 0.79, -0.11 + self._lean(0.8)), (0, 0.56, -0.105)
        width = self.view.breadth(0.088, 0.052)
        self._tube(top, bottom, (width * 0.7, width, width, width * 0.95), who.bag_colour)
        if math.cos(self.pose.yaw) < -0.2:
            self._tube((0, 0.66, -0.15), (0, 0.58, -0.15), (width * 0.55, width * 0.6),
                       shaded(who.bag_colour, 0.7), rounded=False)

    def hip_bag(self) -> None:
        if self.identity.bag != "messenger":
            return
        side = self.identity.bag_side * (self.identity.hips + 0.035)
        if self.view.depth((side, 0, 0)) < -0.07:
            return
        width = self.view.breadth(0.035, 0.085)
        self._tube((side, 0.535, 0), (side, 0.425, 0), (width * 0.95, width),
                   self.identity.bag_colour, rounded=False)

    def _foot(self, points: list, widths: list, dim: float) -> None:
        shoe = shaded(self.identity.shoes, dim)
        width = widths[2] * 0.95
        heel = (points[2][0], points[2][1] + width * 0.3)
        tip = (points[3][0], max(points[3][1], heel[1] + 0.5))
        self._bone(heel, tip, width, width * 0.8, shoe)

    def _handbag(self, wrist: tuple) -> None:
        size = self.view.pixels
        bag = shaded(self.identity.bag_colour, 0.95)
        top = wrist[1] + 0.035 * size
        half = self.view.breadth(0.03, 0.07)
        for side in (-0.6, 0.6):
            tube(self.canvas, wrist, (wrist[0] + side * half, top + 2), (1.2, 1.2), bag)
        tube(self.canvas, (wrist[0], top), (wrist[0], top + 0.1 * size), (half * 0.9, half * 1.05),
             bag, self.light, rounded=False)

    def _brim(self, middle: float, ahead: float) -> None:
        who, size = self.identity, self.view.pixels
        if who.hat == "cap" and math.cos(self.pose.yaw) > -0.5:
            place = self.view.place((0, middle + 0.02, ahead + 0.055))
            ellipse(self.canvas, place, (self.view.breadth(0.045, 0.045), 0.012 * size),
                    shaded(who.hat_colour, 0.75))
        elif who.hat == "sun_hat":
            place = self.view.place((0, middle + 0.022, ahead))
            ellipse(self.canvas, place, (0.1 * size, 0.021 * size), shaded(who.hat_colour, 0.85))

    def _lean(self, height: float) -> float:
        return self.pose.lean * (height - HIP)

    def _widths(self, widths: tuple) -> list:
        return [width * self.view.pixels * self.identity.build ** 0.6 for width in widths]

    def _breadth(self, half_width: float, half_depth: float) -> float:
        return self.view.breadth(half_width, half_depth) * self.identity.build ** 0.5

    def _cloth(self, garment: Garment, dim: float = 1.0):
        dimmed = dataclasses.replace(garment, colour=shaded(garment.colour, dim),
                                     second=shaded(garment.second, dim))
        return (dimmed.colour if garment.pattern == "plain" else
                garment_paint(dimmed, self.pose.yaw))

    def _bone(self, start: tuple, end: tuple, first: float, second: float, paint) -> None:
        tube(self.canvas, start, end, (first, second), paint, self.light)

    def _tube(self, start: tuple, end: tuple, radii, paint, rounded: bool = True) -> None:
        tube(self.canvas, self.view.place(start), self.view.place(end), radii, paint, self.light,
             rounded)


def _between(first: tuple, second: tuple, share: float) -> tuple:
    return tuple(a + share * (b - a) for a, b in zip(first, second))
