"""The ten functions of the phone, after Octopus v3 (Chen and Li, 2024): each acts on a `Phone` and returns JSON data.

Every function takes at least one argument that a picture can show: a place on a poster, a number on a tag, a
receipt's total, a recycling mark, a room, a dish on a menu, a pet. Texts stay in the user's language; the members of a
`Literal` are English in both. A call that the phone's state does not allow raises ActionError and changes nothing.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from sepiola.acting.phone.state import (
    Animal,
    Appointment,
    CartLine,
    Colour,
    Contact,
    Delivery,
    Design,
    GroceryItem,
    GroceryOrder,
    Mail,
    Material,
    Notice,
    Phone,
    RoomName,
    Search,
    SearchKind,
    Service,
    Style,
    Text,
)
from sepiola.errors import ActionError, brief

Result = dict[str, object]

MOST_IN_CART = 99  # pieces of one product
LISTED = 10  # names that a message lists
_Time = TypeVar("_Time", datetime.time, datetime.datetime)
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
NUMBER = re.compile(r"\+?[0-9][0-9 -]{1,17}[0-9]")


def send_email(
    phone: Phone,
    to: Annotated[str, Field(min_length=1, max_length=60)],
    subject: Annotated[str, Field(min_length=1, max_length=80)],
    body: Annotated[str, Field(min_length=1, max_length=200)],
) -> Result:
    """Sends an e-mail to a contact or to an address.

    Args:
        to: Name of a contact, or an e-mail address.
        subject: Subject line.
        body: Text of the e-mail, such as the place on a poster.
    """
    address = to if ADDRESS.fullmatch(to) else _contact(phone, to, "send_email", "an e-mail address").email
    if address is None:
        raise ActionError(f"send_email: '{brief(to)}' has no e-mail address; give one")
    address = address.lower()
    phone.mails.append(Mail(address, subject, body))
    return {"sent_to": address}


def send_text_message(
    phone: Phone,
    to: Annotated[str, Field(min_length=1, max_length=40)],
    message: Annotated[str, Field(min_length=1, max_length=160)],
) -> Result:
    """Sends a text message to a contact or to a phone number.

    Args:
        to: Name of a contact, or a phone number, such as the one on a tag.
        message: Text of the message.
    """
    function, other = "send_text_message", "a phone number"
    number = digits(to) if NUMBER.fullmatch(to) else _contact(phone, to, function, other).number
    phone.texts.append(Text(number, message))
    return {"sent_to": number}


def google_search(
    phone: Phone,
    query: Annotated[str, Field(min_length=1, max_length=80)],
    kind: SearchKind = "web",
    results: Annotated[int, Field(ge=1, le=20)] = 10,
) -> Result:
    """Searches the web.

    Args:
        query: What to search for, such as the place on a poster.
        kind: What to search among: web (网页), images (图片, pictures), news (新闻), maps (地图).
        results: How many results to show.
    """
    phone.searches.append(Search(query, kind, results))
    return {"query": query, "kind": kind, "results": results}


def amazon_shopping(
    phone: Phone,
    product: Annotated[str, Field(min_length=1, max_length=60)],
    quantity: Annotated[int, Field(ge=1, le=20)] = 1,
    max_price: Annotated[float, Field(ge=1, le=10_000)] | None = None,
) -> Result:
    """Puts a product into the shopping cart.

    Args:
        product: Name of the product, such as the one on a label.
        quantity: How many pieces.
        max_price: Highest price of a piece, such as the total of a receipt.
    """
    price = None if max_price is None else float(max_price)
    held = sum(line.quantity for line in phone.cart if line.product == product)
    if held + quantity > MOST_IN_CART:
        raise ActionError(
            f"amazon_shopping: {held} of '{brief(product)}' are in the cart, and {quantity} more would pass "
            f"{MOST_IN_CART}; order fewer"
        )
    for place, line in enumerate(phone.cart):
        if (line.product, line.max_price) == (product, price):
            phone.cart[place] = CartLine(product, line.quantity + quantity, price)
            break
    else:
        phone.cart.append(CartLine(product, quantity, price))
    return {"product": product, "in_cart": held + quantity}


def smart_recycling(
    phone: Phone,
    item: Annotated[str, Field(min_length=1, max_length=40)],
    material: Material,
    pieces: Annotated[int, Field(ge=1, le=20)] = 1,
) -> Result:
    """Sorts waste into the recycling bin of its material.

    Args:
        item: What is thrown away.
        material: Its material, by the recycling mark on the product or on the bin: paper (纸), plastic (塑料),
            glass (玻璃), metal (金属), organic (厨余, food waste), battery (电池, batteries).
        pieces: How many pieces.
    """
    found = [bin_ for bin_ in phone.bins if bin_.material == material]
    if not found:
        raise ActionError(f"smart_recycling: no bin is for {material}; bins: {_listed(b.material for b in phone.bins)}")
    bin_ = found[0]
    if pieces > bin_.free:
        raise ActionError(f"smart_recycling: the bin for {material} has room for {bin_.free} pieces, got {pieces}")
    bin_.contents[item] = bin_.contents.get(item, 0) + pieces
    return {"bin": material, "room_left": bin_.free}


def lost_and_found(
    phone: Phone,
    action: Literal["report_lost", "report_found", "claim"],
    item: Annotated[str, Field(min_length=1, max_length=40)],
    place: Annotated[str, Field(min_length=1, max_length=60)] | None = None,
    tag: Annotated[str, Field(min_length=1, max_length=12)] | None = None,
    day: datetime.date | None = None,
) -> Result:
    """Reports a thing that was lost or found, or claims one that was found.

    Args:
        action: What to do: report_lost (lost, 丢了, 弄丢了), report_found (found, 捡到了, 捡了),
            claim (claim, 要认领, 来认领).
        item: The thing.
        place: Where it was lost or found; a claim needs none.
        tag: Number of its lost-property tag; a claim without one goes by the thing's name.
        day: When it was lost or found; today when left out. A claim needs none.
    """
    if action == "claim":
        return _claim(phone, item, tag)
    day = phone.today if day is None else day
    if day > phone.today:
        raise ActionError(f"lost_and_found: day {day} is still to come (today is {phone.today}); give a day that was")
    if tag is not None and any(notice.tag == tag for notice in phone.notices):
        raise ActionError(f"lost_and_found: tag '{brief(tag)}' is on the board already; claim it, or give another tag")
    phone.notices.append(Notice("lost" if action == "report_lost" else "found", item, place, day, tag))
    return {"reported": item, "day": day.isoformat()}


def interior_design(
    phone: Phone,
    room: RoomName,
    style: Style,
    colour: Colour | None = None,
    budget: Annotated[int, Field(ge=100, le=50_000)] | None = None,
) -> Result:
    """Designs a room of the home anew.

    Args:
        room: The room, such as the one in a picture: living_room (客厅, lounge), bedroom (卧室), kitchen (厨房),
            bathroom (浴室, 卫生间), study (书房, home office), nursery (儿童房).
        style: Style of the furniture: modern (现代), rustic (乡村, 田园, country), industrial (工业),
            scandinavian (北欧, Nordic), japanese (日式, Japanese), traditional (传统, classic).
        colour: Colour of the walls, such as that of a room in a picture: grey (灰色, gray).
        budget: The most to be spent.
    """
    found = [own for own in phone.rooms if own.name == room]
    if not found:
        raise ActionError(f"interior_design: this home has no {room}; rooms: {_listed(r.name for r in phone.rooms)}")
    found[0].designs.append(Design(style, colour, budget))
    return {"room": room, "designs": len(found[0].designs)}


def instacart_shopping(
    phone: Phone,
    items: Annotated[list[GroceryItem], Field(min_length=1, max_length=5)],
    day: datetime.date | None = None,
) -> Result:
    """Orders groceries.

    Args:
        items: What to buy, such as what a fridge holds.
        day: When to deliver; today when left out.
    """
    day = coming("instacart_shopping", phone, day or phone.today, 14)
    names = [item.name for item in items]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ActionError(f"instacart_shopping: '{brief(twice[0])}' is listed twice; give one item with its quantity")
    phone.grocery_orders.append(GroceryOrder(list(items), day))
    return {"ordered": names, "day": day.isoformat()}


def doordash_delivery(
    phone: Phone,
    restaurant: Annotated[str, Field(min_length=1, max_length=60)],
    dish: Annotated[str, Field(min_length=1, max_length=60)],
    quantity: Annotated[int, Field(ge=1, le=10)] = 1,
    at: datetime.time | None = None,
) -> Result:
    """Orders a dish from a restaurant, delivered today.

    Args:
        restaurant: Name of the restaurant.
        dish: Name of the dish, such as one on a menu.
        quantity: How many servings.
        at: When to deliver; as soon as possible when left out.
    """
    opens, closes = phone.kitchen_hours
    if at is not None and not opens <= local("doordash_delivery", at) <= closes:
        raise ActionError(
            f"doordash_delivery: at {at:%H:%M} no kitchen delivers; give a time from {opens:%H:%M} to {closes:%H:%M}"
        )
    phone.deliveries.append(Delivery(restaurant, dish, quantity, at))
    return {"ordered": dish, "quantity": quantity, "from": restaurant}


def animal_care(
    phone: Phone,
    animal: Animal,
    service: Service,
    day: datetime.date,
    name: Annotated[str, Field(min_length=1, max_length=30)] | None = None,
    at: datetime.time | None = None,
) -> Result:
    """Books a service for a pet.

    Args:
        animal: What animal the pet is, such as the one in a picture: dog (狗), cat (猫), rabbit (兔子), bird (鸟),
            fish (鱼), turtle (乌龟).
        service: What to book: checkup (体检, check-up), vaccination (疫苗, vaccine), grooming (美容),
            walking (遛弯, walk), boarding (寄养).
        day: The day of the appointment, such as the date on a poster.
        name: The pet's name; needed where there are two of an animal.
        at: The time of the appointment; any time of the day when left out.
    """
    day = coming("animal_care", phone, day, 365)
    at = None if at is None else local("animal_care", at)
    pets = [pet for pet in phone.pets if pet.animal == animal and (name is None or same_name(name, pet.name))]
    if len(pets) != 1:
        known = _listed(f"{pet.animal} {pet.name}" for pet in phone.pets)
        asked = f"{animal} '{brief(name)}'" if name else animal
        fault = f"there is no {asked}" if not pets else f"there are {len(pets)} pets that are a {animal}; give the name"
        raise ActionError(f"animal_care: {fault}; pets: {known}")
    pets[0].appointments.append(Appointment(service, day, at))
    return {"pet": pets[0].name, "service": service, "day": day.isoformat()}


def _contact(phone: Phone, name: str, function: str, other: str) -> Contact:
    """The one contact of this name. `other` is what may be given instead."""
    found = [contact for contact in phone.contacts if same_name(name, contact.name)]
    if len(found) == 1:
        return found[0]
    known = _listed(contact.name for contact in phone.contacts)
    fault = (
        f"no contact is called '{brief(name)}'" if not found else f"{len(found)} contacts are called '{brief(name)}'"
    )
    raise ActionError(f"{function}: to: {fault}; give {other}, or one of: {known}")


def digits(number: str) -> str:
    """A phone number without spaces and dashes."""
    return re.sub(r"[ -]", "", number)


def _listed(names: Iterable[str]) -> str:
    """The first names, for a message."""
    listed = [brief(name) for name in names]
    return ", ".join(listed[:LISTED]) + (f" and {len(listed) - LISTED} more" if len(listed) > LISTED else "") or "none"


def same_name(name: str, other: str) -> bool:
    """Whether two names are one, whatever their case."""
    return name.strip().casefold() == other.strip().casefold()


def _claim(phone: Phone, item: str, tag: str | None) -> Result:
    found = [
        notice
        for notice in phone.notices
        if notice.kind == "found" and not notice.claimed and (notice.tag == tag if tag else notice.item == item)
    ]
    if len(found) != 1:
        what = f"tag '{brief(tag)}'" if tag else f"'{brief(item)}'"
        fault = f"no unclaimed notice has {what}" if not found else f"{len(found)} notices have {what}; give the tag"
        raise ActionError(f"lost_and_found: {fault}")
    found[0].claimed = True
    return {"claimed": found[0].item, "place": found[0].place}


def coming(function: str, phone: Phone, day: datetime.date, most: int) -> datetime.date:
    """The day itself when it lies within `most` days from today."""
    if not 0 <= (day - phone.today).days <= most:
        raise ActionError(f"{function}: day {day} is out of range; give one from {phone.today} to {most} days later")
    return day


def local(function: str, at: _Time) -> _Time:
    """The time itself when it names no time zone."""
    if at.tzinfo is not None:
        raise ActionError(f"{function}: {at} names a time zone; the phone knows local time alone")
    return at
