"""DAQUAR (Malinowski and Fritz, 2014, arXiv 1410.0210): open questions about rooms; answers may be sets of things."""

from sepiola.evaluation.benchmarks.questions import Questions

BENCHMARK = Questions()
