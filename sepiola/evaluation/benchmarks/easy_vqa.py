"""easy-VQA: questions about one coloured shape."""

from sepiola.evaluation.benchmarks.questions import Questions

BENCHMARK = Questions()
