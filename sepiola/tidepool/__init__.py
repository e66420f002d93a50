"""Tidepool: the built-in procedural world of pictures and questions in English and Chinese."""

from sepiola.tidepool.binding import episodes
from sepiola.tidepool.claims import Claim, check, claims, hallucinated
from sepiola.tidepool.family import Family, Query, Scene
from sepiola.tidepool.world import FAMILIES, SPLITS, captions, generate, group_of, split_of

__all__ = [
    "FAMILIES",
    "SPLITS",
    "Claim",
    "Family",
    "Query",
    "Scene",
    "captions",
    "check",
    "claims",
    "episodes",
    "generate",
    "group_of",
    "hallucinated",
    "split_of",
]
