"""What our attacks cost and find, beside other libraries: `make bench` runs all sections."""

import argparse
import os
import time

import torch

from tests.benchmarks import measure, peers
from tests.benchmarks.sections import FULL, QUICK, SECTIONS


def main() -> None:
    """Print the sections that were asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"some of {', '.join(SECTIONS)} (all)")
    parser.add_argument("--quick", action="store_true", help="fewer images and steps: to see that it runs")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no section called {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")

    os.environ["TQDM_DISABLE"] = "1"
    torch.set_num_threads(measure.cores())
    print(f"Measured on {measure.machine()}; peers: {', '.join(peers.installed()) or 'none installed'}.")
    for name in arguments.sections or SECTIONS:
        began = time.perf_counter()
        print(f"\n{SECTIONS[name](QUICK if arguments.quick else FULL)}", flush=True)
        print(f"\n({name}: {time.perf_counter() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
