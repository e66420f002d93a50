"""Tasks on the phone: a request of several calls, the phone before it, and the phone after the right calls.

A task is judged by the phone alone: it is right when the phone ends in that state, in whatever order the calls came and
whatever else the agent said. The requests are Tidepool's, so their splits share no phrasing and no open value.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sepiola.acting.phone import functions
from sepiola.acting.phone.apis import ADDRESS, NUMBER, Result, same_name
from sepiola.acting.phone.state import Contact, Notice, Pet, Phone, Room
from sepiola.calling.days import date_line
from sepiola.calling.functions import Call, Function
from sepiola.data.example import Example
from sepiola.errors import CallError, brief
from sepiola.specs.base import Plain, nearest
from sepiola.tidepool.phone import requests
from sepiola.tidepool.words import LANGUAGES


@dataclass(frozen=True)
class Task:
    """One task: what is asked, the right calls, and snapshots of the phone before and after them."""

    example: Example
    calls: tuple[Call, ...]
    start: Plain
    end: Plain

    @property
    def today(self) -> datetime.date:
        """The day of the request."""
        return datetime.date.fromisoformat(self.start["today"])

    @property
    def request(self) -> str:
        """What is asked, without the line that says the day."""
        return self.example.prompt.removeprefix(date_line(self.example.metadata["language"], self.today) + "\n")

    def phone(self) -> Phone:
        """A phone in the start state."""
        return Phone.from_snapshot(self.start)

    def reached(self, phone: Phone) -> bool:
        """Whether the phone is in the end state, whatever the order of the calls that led there."""
        return phone.outcome() == Phone.from_snapshot(self.end).outcome()


def tasks(split: str, count: int, *, seed: int = 0, languages: Sequence[str] = LANGUAGES) -> list[Task]:
    """`count` tasks of two to four calls; languages take turns. Raises DataError as `requests` does."""
    return [task_of(example) for example in requests(split, count, seed=seed, languages=languages, kinds=["several"])]


def task_of(example: Example) -> Task:
    """The task that one of Tidepool's phone requests sets, whatever its kind."""
    calls = tuple(Call(call["name"], call["arguments"]) for call in example.metadata["calls"])
    start = phone_for(calls, datetime.date.fromisoformat(example.metadata["today"]))
    end = start.copy()
    perform(end, calls)
    return Task(example, calls, start.snapshot(), end.snapshot())


def perform(phone: Phone, calls: Iterable[Call], known: Sequence[Function] | None = None) -> list[Result]:
    """Executes calls on the phone one after another, of its ten functions or of those that are `known`.

    Gives what each returned. Raises CallError for a call that fits no function, ActionError for one that the state does
    not allow; the calls before it stay done.
    """
    by_name = {function.name: function for function in (functions() if known is None else known)}
    results = []
    for call in calls:
        if call.name not in by_name:
            raise CallError(f"no function is named '{brief(call.name)}'; {nearest(call.name, list(by_name))}")
        results.append(by_name[call.name].act(phone, call.arguments))
    return results


def phone_for(calls: Iterable[Call], today: datetime.date) -> Phone:
    """The standard phone on that day, with what the calls speak of: contacts, things to claim, rooms and pets."""
    phone = Phone.start()
    phone.notices = [
        Notice(notice.kind, notice.item, notice.place, today - datetime.timedelta(days=days), notice.tag)
        for days, notice in enumerate(phone.notices, start=1)
    ]
    phone.today = today
    calls = list(calls)
    _keep(phone, [call for call in calls if call.name == "animal_care"])
    for call in calls:
        arguments = call.arguments
        if call.name in ("send_email", "send_text_message"):
            _know(phone, arguments["to"])
        elif call.name == "lost_and_found":
            _post(phone, arguments)
        elif call.name == "interior_design" and all(room.name != arguments["room"] for room in phone.rooms):
            phone.rooms.append(Room(arguments["room"]))
    return phone


def _know(phone: Phone, to: str) -> None:
    """Puts the person into the address book, unless it is there or an address or a number."""
    if ADDRESS.fullmatch(to) or NUMBER.fullmatch(to) or any(same_name(to, other.name) for other in phone.contacts):
        return
    place = len(phone.contacts) + 1
    phone.contacts.append(Contact(to, f"contact{place}@example.org", f"55502{place:02}"))


def _post(phone: Phone, arguments: Mapping[str, Any]) -> None:
    """Makes the board fit: what is claimed hangs there once, and what is reported has a tag that is new."""
    item, tag = arguments["item"], arguments.get("tag")
    phone.notices = [notice for notice in phone.notices if notice.item != item and (tag is None or notice.tag != tag)]
    if arguments["action"] == "claim":
        phone.notices.append(Notice("found", item, arguments.get("place"), phone.today, tag))


def _keep(phone: Phone, calls: Sequence[Call]) -> None:
    """Makes sure of the pets that are named, and of one alone of an animal that is called for without a name."""
    for call in calls:
        animal, name = call.arguments["animal"], call.arguments.get("name")
        pets = [pet for pet in phone.pets if pet.animal == animal]
        if name is not None and not any(same_name(name, pet.name) for pet in pets):
            phone.pets.append(Pet(name, animal))
    for animal in {call.arguments["animal"] for call in calls if "name" not in call.arguments}:
        named = [
            call.arguments["name"] for call in calls if call.arguments["animal"] == animal and "name" in call.arguments
        ]
        pets = [pet for pet in phone.pets if pet.animal == animal]
        kept = [pet for pet in pets if any(same_name(name, pet.name) for name in named)] or pets[:1]
        phone.pets = [pet for pet in phone.pets if pet.animal != animal] + (kept or [Pet("Pip", animal)])
