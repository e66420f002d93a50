"""`python -m tests.verdicts --count 10000`: on how many perturbed calls our checker and bfcl_eval agree."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from tests.verdicts.comparing import compare
from tests.verdicts.theirs import WHY_NOT, verdict


def main() -> None:
    """Compares, and prints the counts as a line of JSON; status 1 where the verdicts differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.verdicts")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    judge, data = verdict(), os.environ.get("SEPIOLA_DATA")
    if judge is None or data is None:
        sys.exit(WHY_NOT if judge is None else "set SEPIOLA_DATA to the folder that holds act/bfcl")
    compared = compare(given.count, given.seed, Path(data) / "act" / "bfcl", judge)
    print(json.dumps({**compared.to_json(), "seed": given.seed}, ensure_ascii=False))
    sys.exit(0 if compared.agreed == compared.count else 1)


if __name__ == "__main__":
    main()
