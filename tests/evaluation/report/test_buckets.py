"""Bucket tables: systems in lines, buckets in columns, each cell with its interval."""

from __future__ import annotations

import json

from sepiola.evaluation.metrics.scienceqa import BUCKETS, PUBLISHED
from sepiola.evaluation.report.buckets import bucket_tables
from tests.evaluation.reports import REPORT, bucket


def test_bucket_tables_stand_side_by_side() -> None:
    report = json.loads(json.dumps(REPORT | {"baselines": {"chance": REPORT["baselines"]["chance"]}}))
    (table,) = bucket_tables(report)
    assert [c["name"] for c in table["columns"]] == ["All", *BUCKETS]
    own, chance, human = table["lines"][:3]
    assert (own["name"], own["own"], own["cells"][0]["value"]) == ("Ours", True, "81.2")
    assert own["cells"][1] == {"value": "70.0", "note": "60.0 to 80.0"}
    assert chance["cells"][1 + BUCKETS.index("IMG")]["value"] == "35.0"
    assert chance["cells"][1] is None and chance["cells"][0]["note"].endswith("n = 10")
    assert (human["name"], human["published"], human["cells"][0]["value"]) == ("Human", True, "88.4")
    assert len(table["lines"]) == 2 + len(PUBLISHED)
    assert own["cells"][0]["note"].endswith("3 unparsed") and table["caption"] == "Unparsed: 3 of 424 answers."


def test_several_bucket_tables_match_by_name() -> None:
    report = {
        **bucket(0.8),
        "buckets": {"language": {"en": bucket(0.9), "zh": bucket(0.7)}, "family": {"magnets": bucket(0.6)}},
        "rows": [{"name": "blind", **bucket(0.5), "buckets": {"language": {"zh": bucket(0.4)}}}],
        "published": PUBLISHED,
    }
    language, family = bucket_tables(report)
    assert (language["title"], family["title"]) == ("By language", "By family")
    assert [cell and cell["value"] for cell in language["lines"][1]["cells"]] == ["50.0", None, "40.0"]
    assert [line["name"] for line in family["lines"]] == ["This model", "blind"], "no published row fits"
