"""Runs the campaign of hostile inputs and interruptions and prints a table of what came of them.

Every input follows from the seed, its group and its number; `--group NAME --number N` repeats one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT / "tests" / "robustness"), str(_ROOT)]

from campaign.interruptions import GROUPS as INTERRUPTIONS  # noqa: E402
from campaign.readers import GROUPS as READERS  # noqa: E402
from campaign.runner import HANG_SECONDS, MAX_EXTRA_MEGABYTES, Tally, run_watched  # noqa: E402
from campaign.runs import GROUPS as RUNS  # noqa: E402
from campaign.settings import GROUPS as SETTINGS  # noqa: E402


def main() -> int:
    """Parses the command line and runs the groups; returns 1 if there was a fault."""
    groups = {**SETTINGS, **READERS, **RUNS, **INTERRUPTIONS}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="groups: " + ", ".join(groups))
    parser.add_argument("--minutes", type=float, default=10.0,
                        help="how long; the groups share the time (default: %(default)s)")
    parser.add_argument("--seed", default=None,
                        help="any text; the same seed makes the same inputs (default: the clock)")
    parser.add_argument("--most", type=int, default=1000, metavar="N",
                        help="most inputs of a group (default: %(default)s)")
    parser.add_argument("--group", action="append", choices=sorted(groups), metavar="NAME",
                        help="only this group; may be repeated (default: all)")
    parser.add_argument("--number", type=int, help="only this input of the group")
    parsed = parser.parse_args()
    seed = parsed.seed if parsed.seed is not None else str(int(time.time()))
    names = parsed.group or list(groups)
    print(f"seed {seed}", flush=True)
    tallies, end = [], time.monotonic() + 60 * parsed.minutes
    for place, name in enumerate(names):
        now = time.monotonic()
        until = now + (end - now) / (len(names) - place)
        first, most = ((parsed.number, parsed.number + 1) if parsed.number is not None
                       else (0, parsed.most))
        # An interruption is two or three commands one after the other.
        limit = 8 * HANG_SECONDS if name in INTERRUPTIONS else HANG_SECONDS
        tallies.append(run_watched(name, groups[name], seed, until, first, most, limit))
        print(_row(tallies[-1]), file=sys.stderr, flush=True)
        for fault in tallies[-1].faults:
            print("  " + repr(fault)[1:-1], file=sys.stderr, flush=True)
    print(_table(tallies))
    return int(any(tally.faults or tally.extra_megabytes > MAX_EXTRA_MEGABYTES
                   for tally in tallies))


def _row(tally: Tally) -> str:
    return (f"| {tally.group} | {tally.inputs} | {tally.refused} | {tally.accepted} | "
            f"{len(tally.faults)} | {tally.slowest:.1f} | {tally.extra_megabytes:.0f} |")


def _table(tallies: list[Tally]) -> str:
    heads = "| group | inputs | refused | accepted | faults | slowest (s) | memory (MB) |"
    return "\n".join([heads, "|---|---|---|---|---|---|---|", *map(_row, tallies)])


if __name__ == "__main__":
    raise SystemExit(main())
