"""Forms of requests: which function is asked for, what is fixed, and what must be read off which picture.

A form's phrasings are in `phrases_en` and `phrases_zh` under its name. Their slots give the arguments that the text
states; what nobody states is left out of the call.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sepiola.tidepool.family import Scene
from sepiola.tidepool.phone.dates import next_occurrence
from sepiola.tidepool.phone.names import thing

FUNCTIONS = (
    "send_email",
    "send_text_message",
    "google_search",
    "amazon_shopping",
    "smart_recycling",
    "lost_and_found",
    "interior_design",
    "instacart_shopping",
    "doordash_delivery",
    "animal_care",
)

Arguments = dict[str, object]


@dataclass(frozen=True)
class Seen:
    """A picture that a request is about: its words in the request's language, its scene, and the day that is today."""

    words: Mapping[str, str]
    scene: Scene
    language: str
    today: datetime.date


Read = Callable[[Seen], Arguments]


@dataclass(frozen=True)
class Form:
    """One way to ask for a function. `read` gives arguments from the picture."""

    function: str
    name: str
    fixed: Arguments = field(default_factory=dict)
    picture: str | None = None
    read: Read | None = None


def _poster_day(seen: Seen) -> Arguments:
    return {"day": next_occurrence(seen.today, seen.scene["month"], seen.scene["day"]).isoformat()}


def _foods(seen: Seen) -> Arguments:
    shelves = seen.scene["foods"]
    return {"items": [{"name": thing(seen.language, shelf["food"]), "quantity": shelf["count"]} for shelf in shelves]}


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("send_email", "email"),
        Form("send_email", "email.place", picture="poster", read=lambda seen: {"body": seen.words["place"]}),
        Form("send_text_message", "text"),
        Form("send_text_message", "text.total", picture="receipt", read=lambda seen: {"message": seen.words["total"]}),
        Form("send_text_message", "text.place", picture="poster", read=lambda seen: {"message": seen.words["place"]}),
        Form("send_text_message", "text.number", picture="tag", read=lambda seen: {"to": seen.words["number"]}),
        Form("google_search", "search"),
        Form("google_search", "search.place", picture="poster", read=lambda seen: {"query": seen.words["place"]}),
        Form(
            "google_search",
            "search.shop",
            fixed={"kind": "maps"},
            picture="receipt",
            read=lambda seen: {"query": seen.words["shop"]},
        ),
        Form("google_search", "search.product", picture="label", read=lambda seen: {"query": seen.words["product"]}),
        Form("amazon_shopping", "buy"),
        Form("amazon_shopping", "buy.product", picture="label", read=lambda seen: {"product": seen.words["product"]}),
        Form(
            "amazon_shopping",
            "buy.price",
            picture="label",
            read=lambda seen: {"product": seen.words["product"], "max_price": seen.scene["price"]},
        ),
        Form("amazon_shopping", "buy.total", picture="receipt", read=lambda seen: {"max_price": seen.scene["total"]}),
        Form("smart_recycling", "recycle"),
        Form(
            "smart_recycling",
            "recycle.mark",
            picture="recycling",
            read=lambda seen: {"material": seen.scene["material"]},
        ),
        Form(
            "smart_recycling",
            "recycle.both",
            picture="recycling",
            read=lambda seen: {"item": seen.words["item"], "material": seen.scene["material"]},
        ),
        Form("lost_and_found", "lost", fixed={"action": "report_lost"}),
        Form("lost_and_found", "found", fixed={"action": "report_found"}),
        Form("lost_and_found", "claim", fixed={"action": "claim"}),
        Form(
            "lost_and_found",
            "found.tag",
            fixed={"action": "report_found"},
            picture="tag",
            read=lambda seen: {"item": seen.words["thing"], "tag": seen.words["number"]},
        ),
        Form(
            "lost_and_found",
            "claim.tag",
            fixed={"action": "claim"},
            picture="tag",
            read=lambda seen: {"item": seen.words["thing"], "tag": seen.words["number"]},
        ),
        Form("interior_design", "design"),
        Form("interior_design", "design.room", picture="room", read=lambda seen: {"room": seen.scene["room"]}),
        Form(
            "interior_design",
            "design.both",
            picture="room",
            read=lambda seen: {"room": seen.scene["room"], "colour": seen.scene["wall"]},
        ),
        Form("interior_design", "design.wall", picture="room", read=lambda seen: {"colour": seen.scene["wall"]}),
        Form("instacart_shopping", "groceries"),
        Form("instacart_shopping", "groceries.fridge", picture="fridge", read=_foods),
        Form("doordash_delivery", "order"),
        Form("doordash_delivery", "order.menu", picture="menu", read=lambda seen: {"dish": seen.words["dish"]}),
        Form("animal_care", "pet"),
        Form("animal_care", "pet.animal", picture="pet", read=lambda seen: {"animal": seen.scene["animal"]}),
        Form("animal_care", "pet.poster", picture="poster", read=_poster_day),
    )
}
