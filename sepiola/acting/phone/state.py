"""The state of the simulated phone: what its functions act on and what tests inspect.

Plain typed data. Nothing here reads a clock, a file or the network: `today` is part of the state. A phone goes
to plain JSON data and back, so a log of calls can be replayed and two phones compared.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from sepiola.errors import DataError, brief, shown
from sepiola.specs.base import Plain

SearchKind = Literal["web", "images", "news", "maps"]
Material = Literal["paper", "plastic", "glass", "metal", "organic", "battery"]
NoticeKind = Literal["lost", "found"]
RoomName = Literal["living_room", "bedroom", "kitchen", "bathroom", "study", "nursery"]
Style = Literal["modern", "rustic", "industrial", "scandinavian", "japanese", "traditional"]
Colour = Literal["white", "grey", "red", "yellow", "green", "blue"]
Unit = Literal["piece", "pack", "bottle", "kilogram"]
Animal = Literal["dog", "cat", "rabbit", "bird", "fish", "turtle"]
Service = Literal["checkup", "vaccination", "grooming", "walking", "boarding"]
Camera = Literal["front", "back"]
Resolution = Literal["720p", "1080p", "4K"]
Sound = Literal["media", "ringtone", "alarm", "call"]
TravelMode = Literal["driving", "walking", "cycling", "transit"]
NewsLanguage = Literal["en", "zh"]
Region = Literal["US", "UK", "CN", "SG", "AU"]


def _local(at: TimeOfDay) -> TimeOfDay:
    if at.tzinfo is not None:
        raise ValueError("a time of the phone names no time zone")
    return at


TimeOfDay = TypeVar("TimeOfDay", datetime.time, datetime.datetime)
Clock = Annotated[datetime.time, AfterValidator(_local)]
Moment = Annotated[datetime.datetime, AfterValidator(_local)]


class _Record:
    """Base of the records: unknown keys of a snapshot are refused."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Contact(_Record):
    """A person in the address book."""

    name: str
    email: str | None
    number: str


@dataclass(frozen=True)
class Mail(_Record):
    """An e-mail that was sent."""

    address: str
    subject: str
    body: str


@dataclass(frozen=True)
class Text(_Record):
    """A text message that was sent."""

    number: str
    message: str


@dataclass(frozen=True)
class Search(_Record):
    """A search that was made."""

    query: str
    kind: SearchKind
    results: int


@dataclass(frozen=True)
class CartLine(_Record):
    """A product in the shopping cart. `max_price` is for one piece; None is any price."""

    product: str
    quantity: int
    max_price: float | None = None


@dataclass
class Bin(_Record):
    """A recycling bin for one material: how many pieces of what are in it, and how many fit."""

    material: Material
    capacity: int
    contents: dict[str, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        """How many pieces still fit."""
        return self.capacity - sum(self.contents.values())


@dataclass
class Notice(_Record):
    """A notice on the lost-and-found board."""

    kind: NoticeKind
    item: str
    place: str | None
    day: datetime.date
    tag: str | None = None
    claimed: bool = False


@dataclass(frozen=True)
class Design(_Record):
    """A design of a room. None leaves the colour or the budget open."""

    style: Style
    colour: Colour | None = None
    budget: int | None = None


@dataclass
class Room(_Record):
    """A room of the home with its designs, the last one in force."""

    name: RoomName
    designs: list[Design] = field(default_factory=list)


@dataclass(frozen=True)
class GroceryItem(_Record):
    """What to buy, and how much of it."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    quantity: Annotated[int, Field(ge=1, le=20)] = 1
    unit: Unit = "piece"


@dataclass(frozen=True)
class GroceryOrder(_Record):
    """A grocery order and the day on which it comes."""

    items: list[GroceryItem]
    day: datetime.date


@dataclass(frozen=True)
class Delivery(_Record):
    """A meal on its way. `at` is None for as soon as possible."""

    restaurant: str
    dish: str
    quantity: int
    at: Clock | None = None


@dataclass(frozen=True)
class Appointment(_Record):
    """A booked service for a pet. `at` is None for any time of the day."""

    service: Service
    day: datetime.date
    at: Clock | None = None


@dataclass
class Pet(_Record):
    """A pet with its appointments."""

    name: str
    animal: Animal
    appointments: list[Appointment] = field(default_factory=list)


@dataclass(frozen=True)
class Photo(_Record):
    """A photo that was taken."""

    camera: Camera
    resolution: Resolution


@dataclass(frozen=True)
class Event(_Record):
    """An entry of the calendar."""

    title: str
    start: Moment
    minutes: int


@dataclass(frozen=True)
class Alarm(_Record):
    """An alarm that is set."""

    at: Clock
    label: str | None = None
    daily: bool = False


@dataclass(frozen=True)
class News(_Record):
    """Trending news that were asked for. None is any topic."""

    topic: str | None
    language: NewsLanguage
    region: Region
    results: int


@dataclass(frozen=True)
class Forecast(_Record):
    """A weather forecast that was asked for."""

    location: str
    days: int


@dataclass(frozen=True)
class Route(_Record):
    """A route that was asked for. `depart` is None for now."""

    destination: str
    mode: TravelMode
    depart: Moment | None = None


@dataclass
class Device(_Record):
    """What belongs to the device itself. `quiet_until` is the end of "do not disturb", None when it is off."""

    photos: list[Photo] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    timers: list[int] = field(default_factory=list)  # minutes
    news: list[News] = field(default_factory=list)
    forecasts: list[Forecast] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)  # queries
    routes: list[Route] = field(default_factory=list)
    flashlight: bool = False
    volume: dict[Sound, int] = field(
        default_factory=lambda: {"media": 50, "ringtone": 50, "alarm": 50, "call": 50}  # per cent
    )
    quiet_until: Clock | None = None


@dataclass
class Phone(_Record):
    """A simulated phone. `today` is the day that its dates are counted from; no clock is read."""

    today: datetime.date
    contacts: list[Contact] = field(default_factory=list)
    mails: list[Mail] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    searches: list[Search] = field(default_factory=list)
    cart: list[CartLine] = field(default_factory=list)
    bins: list[Bin] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    rooms: list[Room] = field(default_factory=list)
    grocery_orders: list[GroceryOrder] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    kitchen_hours: tuple[Clock, Clock] = (datetime.time(9), datetime.time(22))
    pets: list[Pet] = field(default_factory=list)
    device: Device = field(default_factory=Device)

    @classmethod
    def start(cls) -> Phone:
        """The standard start state: contacts and pets with English and Chinese names, bins, rooms, an empty outbox."""
        monday = datetime.date(2026, 3, 2)
        materials: tuple[Material, ...] = ("paper", "plastic", "glass", "metal", "organic", "battery")
        rooms: tuple[RoomName, ...] = ("living_room", "bedroom", "kitchen", "bathroom", "study")
        return cls(
            today=monday,
            contacts=[
                Contact("Anna", "anna@example.org", "5550101"),
                Contact("Ben", "ben@example.org", "5550102"),
                Contact("Mr. Cole", "cole@example.org", "5550103"),
                Contact("李雷", "lilei@example.cn", "13800000101"),
                Contact("王芳", "wangfang@example.cn", "13800000102"),
                Contact("妈妈", "mama@example.cn", "13800000103"),
            ],
            bins=[Bin(material, capacity=50) for material in materials],
            notices=[
                Notice("found", "umbrella", "bus 12", datetime.date(2026, 2, 27), "L-204"),
                Notice("found", "钥匙", "图书馆", datetime.date(2026, 2, 28), "L-317"),
            ],
            rooms=[Room(name) for name in rooms],
            pets=[Pet("Rex", "dog"), Pet("Momo", "cat"), Pet("小白", "rabbit"), Pet("豆豆", "cat")],
        )

    def snapshot(self) -> Plain:
        """The whole state as plain JSON data; equal phones give equal data."""
        data: Plain = _ADAPTER.dump_python(self, mode="json")
        return data

    def outcome(self) -> Plain:
        """The snapshot with all lists sorted: two runs that differ in the order of their calls alone agree."""
        data: Plain = _sorted(self.snapshot())
        return data

    @classmethod
    def from_snapshot(cls, data: object) -> Phone:
        """The phone that `snapshot` described. Raises DataError that names the key that is wrong."""
        try:
            return _ADAPTER.validate_json(json.dumps(data, allow_nan=False), strict=True)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_context=False)[0]
            path = brief(".".join(map(str, fault["loc"]))) or "the snapshot"
            why = f"{fault['msg'][0].lower()}{fault['msg'][1:]}, got {shown(fault['input'])}"
            raise DataError(f"phone: {path}: {why}; expected what Phone.snapshot() gives") from None
        except (TypeError, ValueError, RecursionError):
            raise DataError(f"phone: expected the JSON data that Phone.snapshot() gives, got {shown(data)}") from None

    def copy(self) -> Phone:
        """A phone of its own in the same state."""
        return Phone.from_snapshot(self.snapshot())


def _sorted(value: object) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(member) for key, member in value.items()}
    if isinstance(value, list):
        return sorted(map(_sorted, value), key=lambda member: json.dumps(member, sort_keys=True))
    return value


_ADAPTER: TypeAdapter[Phone] = TypeAdapter(Phone)
