"""A walking skeleton: three-dimensional joints and their projection."""

from __future__ import annotations

import dataclasses
import math

from tfrecords.synthetic.identity import Identity

# Heights of landmarks of a standing body, in body heights above the ground.
ANKLE, KNEE, HIP, SHOULDER, NECK, CROWN = 0.045, 0.27, 0.50, 0.81, 0.84, 1.0
_UPPER_ARM, _FOREARM, _FOOT = 0.165, 0.155, 0.095


@dataclasses.dataclass(frozen=True)
class Pose:
    """One moment of one walk. Angles in radians; yaw 0 faces the camera, pi shows the back."""

    yaw: float
    pitch: float
    phase: float
    stride: float
    lean: float
    elbows: tuple  # (left, right)


@dataclasses.dataclass(frozen=True)
class Limb:
    """The joints of an arm or a leg, from the body outwards, each (x, y, z) in body heights."""

    side: int  # 1 left, -1 right
    joints: tuple


@dataclasses.dataclass(frozen=True)
class View:
    """Turns body coordinates (x to its left, y up, z forward) into canvas pixels."""

    x: float
    ground: float
    pixels: float  # per body height
    yaw: float
    pitch: float

    def depth(self, joint: tuple) -> float:
        """Returns how much nearer than the body's axis the joint is."""
        return joint[2] * math.cos(self.yaw) - joint[0] * math.sin(self.yaw)

    def place(self, joint: tuple) -> tuple[float, float]:
        """Returns the pixel (x, y) of a joint."""
        across = joint[0] * math.cos(self.yaw) + joint[2] * math.sin(self.yaw)
        drop = self.depth(joint) * math.sin(self.pitch)
        return (self.x + across * self.pixels,
                self.ground - (joint[1] * math.cos(self.pitch) - drop) * self.pixels)

    def breadth(self, half_width: float, half_depth: float) -> float:
        """Returns the half-width in pixels of an elliptic cylinder seen at this yaw."""
        return self.pixels * math.hypot(half_width * math.cos(self.yaw),
                                        half_depth * math.sin(self.yaw))


def legs(identity: Identity, pose: Pose) -> tuple[Limb, Limb]:
    """Returns (left, right) with joints hip, knee, ankle, toe; the lower foot is on the ground."""
    limbs = [_leg(side, identity.hips * 0.6, pose) for side in (1, -1)]
    lowest = min(limb.joints[2][1] for limb in limbs) - ANKLE
    return tuple(Limb(limb.side, tuple((x, y - lowest, z) for x, y, z in limb.joints))
                 for limb in limbs)


def arms(identity: Identity, pose: Pose) -> tuple[Limb, Limb]:
    """Returns (left, right) with joints shoulder, elbow, wrist."""
    return tuple(_arm(side, identity.shoulders, pose) for side in (1, -1))


def _leg(side: int, offset: float, pose: Pose) -> Limb:
    phase = pose.phase if side > 0 else pose.phase + math.pi
    swing = pose.stride * math.sin(phase)
    bend = 0.06 + 1.5 * pose.stride * max(0.0, math.cos(phase))
    knee = _hang((side * offset, HIP, 0.0), HIP - KNEE, swing)
    ankle = _hang((side * offset * 0.85, knee[1], knee[2]), KNEE - ANKLE, swing - bend)
    level = swing - bend * 0.8
    toe = (ankle[0] * 1.3, ankle[1] - 0.02 + _FOOT * math.sin(level) * 0.7,
           ankle[2] + _FOOT * math.cos(level))
    return Limb(side, ((side * offset, HIP, 0.0), knee, ankle, toe))


def _arm(side: int, offset: float, pose: Pose) -> Limb:
    phase = pose.phase if side < 0 else pose.phase + math.pi
    swing = 0.8 * pose.stride * math.sin(phase)
    bend = pose.elbows[0 if side > 0 else 1]
    shoulder = (side * offset * 0.88, SHOULDER - 0.028, pose.lean * (SHOULDER - HIP))
    elbow = _hang(shoulder, _UPPER_ARM, swing)
    elbow = (elbow[0] + side * 0.016, elbow[1], elbow[2])
    wrist = _hang(elbow, _FOREARM, swing + bend)
    return Limb(side, (shoulder, elbow, (wrist[0] - side * 0.008, wrist[1], wrist[2])))


def _hang(joint: tuple, length: float, angle: float) -> tuple:
    """Returns the end of a bone below `joint`, at `angle` radians forward of vertical."""
    return (joint[0], joint[1] - length * math.cos(angle), joint[2] + length * math.sin(angle))
