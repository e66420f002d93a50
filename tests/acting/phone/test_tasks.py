"""Tasks of several calls: right ends, replays, and a judge that nothing but the right state satisfies."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest

from sepiola.acting.phone import Phone, android, functions
from sepiola.acting.phone.tasks import Task, perform, phone_for, task_of, tasks
from sepiola.calling.functions import Call
from sepiola.errors import ActionError, CallError, DataError
from sepiola.tidepool import SPLITS
from sepiola.tidepool.phone import FUNCTIONS, requests

TODAY = Phone.start().today


@pytest.fixture(scope="module")
def held_out() -> list[Task]:
    return tasks("test", 300)


def test_the_right_calls_lead_to_the_end_and_nothing_done_does_not(held_out: list[Task]) -> None:
    for task in held_out:
        phone = task.phone()
        assert len(perform(phone, task.calls)) == len(task.calls)
        assert phone.snapshot() == task.end and task.reached(phone)
        assert not task.reached(task.phone())


def test_the_request_is_what_was_said_on_the_day(held_out: list[Task]) -> None:
    """An agent is told the day by itself."""
    shorter = 0
    for task in held_out:
        assert task.phone().today == task.today
        assert task.example.prompt.endswith(task.request) and "20" not in task.request.split("\n")[0][:12]
        shorter += task.request != task.example.prompt
    assert 100 < shorter < 300


def test_one_function_may_be_called_twice(held_out: list[Task]) -> None:
    twice = [task for task in held_out if len({call.name for call in task.calls}) < len(task.calls)]
    assert len(twice) > 30
    assert {task.example.metadata["language"] for task in twice} == {"en", "zh"}


def test_a_log_that_went_through_json_leads_to_the_same_state(held_out: list[Task]) -> None:
    for task in held_out[:60]:
        log = json.dumps([call.to_json() for call in task.calls], ensure_ascii=False)
        phone = Phone.from_snapshot(json.loads(json.dumps(task.start)))
        perform(phone, [Call(**call) for call in json.loads(log)])
        assert phone.snapshot() == task.end


def test_the_order_of_the_calls_does_not_matter(held_out: list[Task]) -> None:
    orders = 0
    for task in held_out[:100]:
        for order in itertools.permutations(task.calls):
            phone = task.phone()
            perform(phone, order)
            assert task.reached(phone)
            orders += 1
    assert orders > 300


def test_a_call_too_few_or_too_many_misses_the_end(held_out: list[Task]) -> None:
    for task in held_out[:150]:
        for left_out in range(len(task.calls)):
            phone = task.phone()
            perform(phone, task.calls[:left_out] + task.calls[left_out + 1 :])
            assert not task.reached(phone)
        phone = task.phone()
        perform(phone, [*task.calls, Call("google_search", {"query": "weather", "results": 1})])
        assert not task.reached(phone)


def test_a_changed_text_misses_the_end(held_out: list[Task]) -> None:
    changed = 0
    for task in held_out:
        for place, call in enumerate(task.calls):
            for slot in {"message", "body", "query", "product", "dish"} & set(call.arguments):
                wrong = Call(call.name, {**call.arguments, slot: "x" + call.arguments[slot]})
                phone = task.phone()
                perform(phone, [*task.calls[:place], wrong, *task.calls[place + 1 :]])
                assert not task.reached(phone)
                changed += 1
    assert changed > 100


def test_tasks_have_two_to_four_calls_of_all_functions_in_both_languages(held_out: list[Task]) -> None:
    lengths = Counter(len(task.calls) for task in held_out)
    assert set(lengths) == {2, 3, 4} and min(lengths.values()) > 20
    for language in ("en", "zh"):
        mine = [task for task in held_out if task.example.metadata["language"] == language]
        assert len(mine) == 150 and {call.name for task in mine for call in task.calls} == set(FUNCTIONS)
    assert len({task.start["today"] for task in held_out}) > 50


def test_splits_share_no_phrasing_and_no_open_value() -> None:
    made = {split: [task.example.metadata for task in tasks(split, 300)] for split in SPLITS}
    for kind in ("templates", "values"):
        used = {split: {text for metadata in made[split] for text in metadata[kind]} for split in SPLITS}
        for one, other in itertools.combinations(SPLITS, 2):
            assert not used[one] & used[other], kind


def test_tasks_are_seeded() -> None:
    assert [task.end for task in tasks("val", 12)] == [task.end for task in tasks("val", 20)[:12]]
    assert [task.end for task in tasks("val", 12)] != [task.end for task in tasks("val", 12, seed=1)]
    with pytest.raises(DataError, match="dev"):
        tasks("dev", 1)


@pytest.mark.parametrize("kind", ["text", "picture", "distracted", "irrelevant", "near miss"])
def test_every_request_sets_a_task(kind: str) -> None:
    """Its calls are ones that a phone allows, also those that are read off a picture."""
    for example in requests("test", 400, kinds=[kind]):
        task = task_of(example)
        assert (task.start == task.end) == (not task.calls)
        assert task.reached(Phone.from_snapshot(task.end))


def test_a_pet_that_is_named_and_one_that_is_not_may_be_one() -> None:
    for first, second in ({"name": "Kit"}, {}), ({}, {"name": "Kit"}), ({}, {}):
        booked = {"animal": "cat", "service": "checkup", "day": TODAY.isoformat()}
        calls = [Call("animal_care", booked | first), Call("animal_care", booked | second | {"service": "walking"})]
        phone = phone_for(calls, TODAY)
        perform(phone, calls)
        assert [len(pet.appointments) for pet in phone.pets if pet.animal == "cat"] == [2]


def test_a_phone_has_what_its_calls_speak_of() -> None:
    calls = [
        Call("animal_care", {"animal": "cat", "service": "checkup", "day": TODAY.isoformat()}),
        Call("animal_care", {"animal": "fish", "service": "checkup", "day": TODAY.isoformat(), "name": "泡泡"}),
        Call("lost_and_found", {"action": "claim", "item": "umbrella", "tag": "9"}),
        Call("lost_and_found", {"action": "report_found", "item": "帽子", "tag": "L-317"}),
        Call("interior_design", {"room": "nursery", "style": "modern"}),
        Call("send_email", {"to": "赵六", "subject": "你好", "body": "周五见"}),
        Call("send_text_message", {"to": "anna", "message": "Hello"}),
        Call("send_text_message", {"to": "204", "message": "Hello"}),
    ]
    phone = phone_for(calls, TODAY)
    assert len(perform(phone, calls)) == len(calls)
    assert len(phone.contacts) == len(Phone.start().contacts) + 1


def test_a_replay_stops_at_the_call_that_is_wrong() -> None:
    phone = Phone.start()
    right = Call("google_search", {"query": "squid"})
    with pytest.raises(CallError, match="no function is named 'google_serch'; did you mean 'google_search'"):
        perform(phone, [right, Call("google_serch", {"query": "x"})])
    with pytest.raises(CallError, match="results"):
        perform(phone, [right, Call("google_search", {"query": "x", "results": 21})])
    with pytest.raises(ActionError, match="no contact"):
        perform(phone, [right, Call("send_text_message", {"to": "Nobody", "message": "x"}), right])
    assert len(phone.searches) == 3


def test_a_replay_knows_the_functions_that_it_is_given() -> None:
    phone = Phone.start()
    calls = [
        Call("create_contact", {"name": "赵六", "number": "5550199"}),
        Call("set_alarm", {"at": "06:30", "daily": True}),
        Call("create_calendar_event", {"title": "会议", "start": "2026-03-04T12:00"}),
        Call("send_text_message", {"to": "赵六", "message": "欢迎"}),
    ]
    perform(phone, calls, [*functions(), *android.functions()])
    again = Phone.start()
    perform(again, calls, [*functions(), *android.functions()])
    assert phone == again and phone.texts[0].number == "5550199" and len(phone.device.events) == 1
