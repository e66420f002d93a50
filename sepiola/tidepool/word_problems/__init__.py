"""Word problems of several steps with worked chains of reasoning, in English and Chinese."""

from sepiola.tidepool.word_problems.world import false_sums, textbook, word_problems

__all__ = ["false_sums", "textbook", "word_problems"]
