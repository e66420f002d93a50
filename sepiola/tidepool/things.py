"""What things a Tidepool picture shows, as nouns: the truth behind questions whether something is in it.

A thing is a kind ("thermometer") or a colour and a kind ("red fish"). Shapes are asked about only where shapes are the
subject: elsewhere a house or a thermometer's bulb might pass for one.
"""

from __future__ import annotations

from sepiola.tidepool.family import Scene
from sepiola.tidepool.words import SHAPES, word

_ALONE = {"magnets": ("magnet",), "thermometers": ("thermometer",), "maps": ("compass",)}
_COLOURED = {
    "springs": ("springs", "spring"),
    "maps": ("towns", "town"),
    "food webs": ("fish", "fish"),
    "charts": ("bars", "chart bar"),
}  # the scene's list, and what its items are
_SHAPED = {"objects": "objects", "counting": "groups", "relations": "objects"}
_CHINESE = {
    "magnet": "磁铁", "thermometer": "温度计", "compass": "指北针", "spring": "弹簧", "town": "小镇", "fish": "鱼",
    "chart bar": "柱子",
}  # fmt: skip


def things(family: str, scene: Scene) -> frozenset[str]:
    """All things that a scene of the family shows."""
    names = set(_ALONE.get(family, ()))
    if family in _COLOURED:
        key, kind = _COLOURED[family]
        names |= {f"{item['colour']} {kind}" for item in scene[key]}
    if family in _SHAPED:
        items = scene[_SHAPED[family]]
        names |= {f"{o['colour']} {o['shape']}" for o in (items.values() if isinstance(items, dict) else items)}
    return frozenset(names | ({"black star"} if family == "relations" else set()))


def may_be_asked(family: str, thing: str) -> bool:
    """Whether it is beyond doubt that a picture of the family lacks a thing that its scene does not hold."""
    return family in _SHAPED or thing.rpartition(" ")[2] not in SHAPES


def name(thing: str, language: str) -> str:
    """The thing as a noun: "red fish", 红色的鱼."""
    if language != "zh":
        return thing
    if thing in _CHINESE:
        return _CHINESE[thing]
    colour, _, kind = thing.partition(" ")
    return f"{word('zh', colour)}的{_CHINESE.get(kind) or word('zh', kind)}"
