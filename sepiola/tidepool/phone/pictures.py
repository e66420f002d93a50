"""The phone's pictures: receipts, posters, labels, recycling marks, lost-property tags, rooms, fridges, menus, pets.

What a request asks for is read off shapes, colours, counts and large digits, so that 64 pixels are enough; writing is
there as well where signs have it. A scene is plain JSON data: what the picture shows, and its layout.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import Counter
from typing import ClassVar

from sepiola.tidepool.canvas import INK, WHITE, Canvas
from sepiola.tidepool.family import Scene, Traits
from sepiola.tidepool.phone.eatables import DISHES, FOODS
from sepiola.tidepool.phone.glyphs import draw_text
from sepiola.tidepool.phone.goods import BELONGINGS, MARKS, PRODUCTS, WASTE
from sepiola.tidepool.phone.icons import EXTRA, draw_icon
from sepiola.tidepool.phone.names import coloured, said, thing
from sepiola.tidepool.phone.places import PETS, PLACES, ROOMS, SHOPS
from sepiola.tidepool.words import COLOURS, join

WALLS = ("white", "grey", "red", "yellow", "green", "blue")
MOST_OF_A_FOOD = 4
_BINS = {"paper": "blue", "plastic": "yellow", "glass": "green", "metal": "grey", "organic": "brown", "battery": "red"}
_MATERIALS = {
    "bottle": ("plastic", "glass", "metal"),
    "can": ("metal", "plastic"),
    "newspaper": ("paper",),
    "battery": ("battery",),
    "box": ("paper", "plastic", "metal"),
    "cup": ("paper", "plastic", "glass"),
    "banana peel": ("organic",),
    "jar": ("glass", "plastic"),
}
Thing = tuple[str, object]  # a trait and its value


class Picture(ABC):
    """One kind of picture. `caption[language]` is a template over the values of `words`."""

    name: ClassVar[str]
    captions: ClassVar[dict[str, str]]

    @abstractmethod
    def sample(self, rng: random.Random) -> Scene:
        """A random scene."""

    @abstractmethod
    def draw(self, canvas: Canvas, scene: Scene) -> None:
        """Draws the scene."""

    @abstractmethod
    def words(self, scene: Scene, language: str) -> dict[str, str]:
        """What the picture shows, in words: the slots of the caption."""

    def objects(self, scene: Scene) -> list[Traits]:
        """What is to be seen, one thing each: the kind of picture, what it shows, and what is written digit by digit.

        A vision encoder is taught these, so that each of its features holds one thing that a request may ask for, and
        its place among those of its kind.
        """
        counts: Counter[str] = Counter()
        objects = []
        for trait, value in [("picture", self.name), *self.things(scene)]:
            objects.append({"kind": trait, trait: str(value), "nth": str(counts[trait])})
            counts[trait] += 1
        return objects

    @abstractmethod
    def things(self, scene: Scene) -> list[Thing]:
        """What the picture shows, in the order in which it is said."""

    def caption(self, scene: Scene, language: str) -> str:
        """One sentence that states all that requests ask about."""
        return self.captions[language].format(**self.words(scene, language))


def _digits(number: object) -> list[Thing]:
    return [("digit", digit) for digit in str(number)]


def _jitter(rng: random.Random) -> Scene:
    return {"x": rng.randint(-2, 2), "y": rng.randint(-2, 2)}


class Receipt(Picture):
    """A shop's sign and the total."""

    name = "receipt"
    captions: ClassVar = {
        "en": "A receipt from a {shop} with a total of {total}.",
        "zh": "一张{shop}的收据，合计{total}元。",
    }

    def sample(self, rng: random.Random) -> Scene:
        return {
            "shop": rng.choice(list(SHOPS)),
            "total": rng.randint(10, 99),
            "script": rng.choice("ez"),
            **_jitter(rng),
        }

    def words(self, scene: Scene, language: str) -> dict[str, str]:
        return {"shop": thing(language, scene["shop"]), "total": str(scene["total"])}

    def things(self, scene: Scene) -> list[Thing]:
        return [("shop", scene["shop"]), *_digits(scene["total"])]

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        x = 32 + scene["x"]
        canvas.rectangle(x - 25, 2, x + 25, 62, WHITE, outline=0.8)
        draw_icon(canvas, SHOPS[scene["shop"]], x, 16, 10)
        draw_text(canvas, "TOTAL" if scene["script"] == "e" else "合计", x - 6, 29.5, 6)
        draw_text(canvas, "$" if scene["script"] == "e" else "元", x + 16, 29.5, 6)
        draw_text(canvas, str(scene["total"]), x, 38, 20)


class Poster(Picture):
    """A place and a date."""

    name = "poster"
    captions: ClassVar = {
        "en": "A poster with the {place} and the date {month}-{day}.",
        "zh": "一张海报，地点是{place}，日期是{month}月{day}日。",
    }

    def sample(self, rng: random.Random) -> Scene:
        month, day = rng.randint(1, 12), rng.randint(1, 28)
        return {
            "place": rng.choice(list(PLACES)),
            "month": month,
            "day": day,
            "script": rng.choice("ez"),
            **_jitter(rng),
        }

    def words(self, scene: Scene, language: str) -> dict[str, str]:
        return {"place": thing(language, scene["place"]), "month": str(scene["month"]), "day": str(scene["day"])}

    def things(self, scene: Scene) -> list[Thing]:
        return [("place", scene["place"]), *_digits(f"{scene['month']:02}{scene['day']:02}")]

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        x, y = 32 + scene["x"], scene["y"]
        canvas.rectangle(3, 3, 61, 61, EXTRA["cream"], outline=1.2)
        draw_icon(canvas, PLACES[scene["place"]], x, 20 + y / 2, 13)
        english = scene["script"] == "e"
        text = f"{scene['month']}-{scene['day']}" if english else f"{scene['month']}月{scene['day']}日"
        height = 14 if english else 11 if len(text) < 6 else 9.5
        draw_text(canvas, text, 32, 43, height)


class Label(Picture):
    """A product and its price."""

    name = "label"
    captions: ClassVar = {
        "en": "A product label: a {product} for {price}.",
        "zh": "一张商品标签：{product}，价格{price}元。",
    }

    def sample(self, rng: random.Random) -> Scene:
        return {
            "product": rng.choice(list(PRODUCTS)),
            "price": rng.randint(10, 99),
            "script": rng.choice("ez"),
            **_jitter(rng),
        }

    def words(self, scene: Scene, language: str) -> dict[str, str]:
        return {"product": thing(language, scene["product"]), "price": str(scene["price"])}

    def things(self, scene: Scene) -> list[Thing]:
        return [("product", scene["product"]), *_digits(scene["price"])]

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        x = 31 + scene["x"]
        canvas.polygon([(4, 10), (10, 3), (54, 3), (60, 10), (60, 61), (4, 61)], EXTRA["pink"], outline=1)
        canvas.ellipse(32, 8, 2, 2, WHITE, outline=0.6)
        draw_icon(canvas, PRODUCTS[scene["product"]], x, 24, 12)
        if scene["script"] == "e":
            draw_text(canvas, f"${scene['price']}", 32, 42, 16)
        else:
            draw_text(canvas, f"{scene['price']}元", 32, 42, 16)


class Recycling(Picture):
    """A thing to throw away, and the bin with the mark of its material."""

    name = "recycling"
    captions: ClassVar = {
        "en": "A {item} beside a recycling bin for {material}.",
        "zh": "一个{item}，旁边是{material}回收桶。",
    }

    def sample(self, rng: random.Random) -> Scene:
        item = rng.choice([item for item, materials in _MATERIALS.items() for _ in materials])
        return {"item": item, "material": rng.choice(_MATERIALS[item]), **_jitter(rng), "lid": rng.randint(-2, 2)}

    def words(self, scene: Scene, language: str) -> dict[str, str]:
        return {"item": thing(language, scene["item"]), "material": said("material", language, scene["material"])}

    def things(self, scene: Scene) -> list[Thing]:
        return [("item", scene["item"]), ("material", scene["material"])]

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        colour = _BINS[scene["material"]]
        rgb = canvas.palette[colour] if colour in canvas.palette else EXTRA[colour]
        y = 18 + scene["lid"]
        canvas.polygon([(27, y), (61, y), (57, 61), (31, 61)], rgb, outline=1)
        canvas.rectangle(25, y - 6, 62.5, y, rgb, outline=1)
        draw_icon(canvas, MARKS[scene["material"]], 44, y + 20, 10)
        draw_icon(canvas, WASTE[scene["item"]], 13 + scene["x"] / 2, 40 + 2 * scene["y"], 10)


class Tag(Picture):
    """A lost thing of some colour, and the number of its tag."""

    name = "tag"
    captions: ClassVar = {
        "en": "A lost-property tag with the number {number}: a {thing}.",
        "zh": "一张失物标签，编号{number}：{thing}。",
    }

    def sample(self, rng: random.Random) -> Scene:
        number = rng.randint(100, 999)
        item, colour = rng.choice(list(BELONGINGS)), rng.choice(COLOURS)
        return {"item": item, "colour": colour, "number": number, "script": rng.choice("ez"), **_jitter(rng)}

    def words(self, scene: Scene, language: str) -> dict[str, str]:
        return {"thing": coloured(language, scene["colour"], scene["item"]), "number": str(scene["number"])}

    def things(self, scene: Scene) -> list[Thing]:
        return [("colour", scene["colour"]), ("belonging", scene["item"]), *_digits(scene["number"])]

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        canvas.rectangle(3, 3, 61, 61, WHITE, outline=1)
        draw_text(canvas, "LOST" if scene["script"] == "e" else "失物", 14, 5.5, 5)
        draw_icon(canvas, BELONGINGS[scene["item"]], 32 + scene["x"], 25, 13, scene["colour"])
        draw_text(canvas, str(scene["number"]), 32, 42, 16)


class Room(Picture):
    """A room by its furniture, with walls of some colour."""

    name = "room"
    captions: ClassVar = {"en": "A {room} with {wall} walls.", "zh": "一间{room}，墙是{wall}的。"}

    def sample(self, rng: random.Random) -> Scene:
        floor = rng.choice(("brown", "cream", "orange"))
        return {"room": rng.choice(list(ROOMS)), "wall": rng.choice(WALLS), "floor": floor, **_jitter(rng)}

    def words(self, scene: Scene, language: str) -> dict[str, str]:
        return {"room": said("room", language, scene["room"]), "wall": said("colour", language, scene["wall"])}

    def things(self, scene: Scene) -> list[Thing]:
        return [("room", scene["room"]), ("wall", scene["wall"])]

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        wall = scene["wall"]
        canvas.rectangle(3, 3, 61, 50, canvas.palette[wall] if wall in canvas.palette else EXTRA[wall], outline=1)
        canvas.rectangle(3, 50, 61, 61, EXTRA[scene["floor"]], outline=1)
        x, y = 32 + scene["x"], 35 + scene["y"]
        canvas.ellipse(x, y, 23, 21, EXTRA["cream"])
        draw_icon(canvas, ROOMS[scene["room"]], x, y, 18)


class Fridge(Picture):
    """Two or three foods, each on its shelf as often as there are of it."""

    name = "fridge"
    captions: ClassVar = {"en": "A fridge with {foods}.", "zh": "冰箱里有{foods}。"}

    def sample(self, rng: random.Random) -> Scene:
        foods = rng.sample(list(FOODS), rng.choice((2, 3)))
        return {"foods": [{"food": food, "count": rng.randint(1, MOST_OF_A_FOOD)} for food in foods], **_jitter(rng)}

    def words(self, scene: Scene, language: str) -> dict[str, str]:
        foods = [f"{shelf['count']} {shelf['food']}" for shelf in scene["foods"]]
        if language == "zh":
            foods = [f"{shelf['count']}个{thing('zh', shelf['food'])}" for shelf in scene["foods"]]
        return {"foods": join(language, foods)}

    def things(self, scene: Scene) -> list[Thing]:
        return [seen for shelf in scene["foods"] for seen in (("count", shelf["count"]), ("food", shelf["food"]))]

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        canvas.rectangle(2, 2, 62, 62, EXTRA["grey"], outline=1)
        canvas.rectangle(4, 4, 60, 60, (236, 244, 250))
        for place, shelf in enumerate(scene["foods"]):
            floor = 22 + 19 * place
            canvas.line([(4, floor), (60, floor)], EXTRA["grey"], 1.2)
            for each in range(shelf["count"]):
                draw_icon(canvas, FOODS[shelf["food"]], 11 + 14 * each + scene["x"] / 2, floor - 8, 6.3)


class Menu(Picture):
    """The dish of the day and its price."""

    name = "menu"
    captions: ClassVar = {"en": "A menu offers {dish} for {price}.", "zh": "菜单上有{dish}，价格{price}元。"}

    def sample(self, rng: random.Random) -> Scene:
        return {
            "dish": rng.choice(list(DISHES)),
            "price": rng.randint(10, 99),
            "script": rng.choice("ez"),
            **_jitter(rng),
        }

    def words(self, scene: Scene, language: str) -> dict[str, str]:
        return {"dish": thing(language, scene["dish"]), "price": str(scene["price"])}

    def things(self, scene: Scene) -> list[Thing]:
        return [("dish", scene["dish"]), *_digits(scene["price"])]

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        canvas.rectangle(3, 3, 61, 61, (250, 244, 226), outline=1)
        canvas.line([(6, 14), (58, 14)], INK, 0.8)
        draw_text(canvas, "MENU" if scene["script"] == "e" else "菜单", 32, 5, 7)
        draw_icon(canvas, DISHES[scene["dish"]], 32 + scene["x"], 31 + scene["y"] / 2, 13)
        draw_text(canvas, str(scene["price"]), 44, 48, 10)


class Pet(Picture):
    """An animal on a lawn or a rug."""

    name = "pet"
    captions: ClassVar = {"en": "A {animal}.", "zh": "一只{animal}。"}

    def sample(self, rng: random.Random) -> Scene:
        rug = rng.choice(("cream", "sky", "white"))
        return {
            "animal": rng.choice(list(PETS)),
            "rug": rug,
            "size": rng.randint(17, 23),
            "wide": rng.randint(23, 28),
            **_jitter(rng),
        }

    def words(self, scene: Scene, language: str) -> dict[str, str]:
        return {"animal": said("animal", language, scene["animal"])}

    def things(self, scene: Scene) -> list[Thing]:
        return [("animal", scene["animal"])]

    def draw(self, canvas: Canvas, scene: Scene) -> None:
        canvas.ellipse(32, 33, scene["wide"], 27, EXTRA[scene["rug"]], outline=0.8)
        draw_icon(canvas, PETS[scene["animal"]], 32 + scene["x"], 32 + scene["y"], scene["size"])


PICTURES: dict[str, Picture] = {
    picture.name: picture
    for picture in (Receipt(), Poster(), Label(), Recycling(), Tag(), Room(), Fridge(), Menu(), Pet())
}
