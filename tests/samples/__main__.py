"""`python -m tests.samples --count 10000`: samples of random weights under constraints, each of which must be valid."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from tests.samples.kinds import KINDS
from tests.samples.sampling import sample, totals
from tests.samples.validity import JSONSCHEMA


def main() -> None:
    """Samples, and prints a line of JSON for each kind in each budget, and for all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.samples")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append")
    given = parser.parse_args()
    kinds, data = given.kind or list(KINDS), os.environ.get("SEPIOLA_DATA")
    if "schemas" in kinds and data is None:
        sys.exit("schemas reads bfcl and toolalpaca: set SEPIOLA_DATA to their folder, or name other kinds by --kind")
    began = time.monotonic()
    rows = sample(given.count, given.seed, kinds, Path(data) if data is not None else None)
    for row in rows:
        print(json.dumps(row.to_json(), ensure_ascii=False))
    total = totals(rows)
    checked = "fits, Function.check, BFCL's rules" + (", jsonschema" if JSONSCHEMA else "; jsonschema is not installed")
    print(json.dumps({**total, "checked_by": checked, "seed": given.seed, "seconds": round(time.monotonic() - began)}))
    sys.exit(1 if total["faults"] or total["valid"] < total["samples"] else 0)


if __name__ == "__main__":
    main()
