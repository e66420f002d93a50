"""Tidepool: the built-in procedural world of pictures and questions in English and Chinese."""

from sepiola.tidepool.binding import episodes
from sepiola.tidepool.claims import Claim, check, claims, false_claims, hallucinated
from sepiola.tidepool.family import Family, Query, Scene
from sepiola.tidepool.hasty import hasty_captions
from sepiola.tidepool.preferences import preferences
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
    "false_claims",
    "generate",
    "group_of",
    "hallucinated",
    "hasty_captions",
    "preferences",
    "split_of",
]
