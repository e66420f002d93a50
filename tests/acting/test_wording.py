"""Orders and mentions made of names and descriptions, in both languages."""

from __future__ import annotations

import pytest

from sepiola.acting.wording import aliases, label, mentions, orders, served, switches, words_of


def test_names_are_words() -> None:
    assert words_of("max_price") == words_of("maxPrice") == words_of("max-price") == ["max", "price"]


@pytest.mark.parametrize(
    ("name", "description", "english", "chinese"),
    [
        ("set_alarm", "Sets an alarm.", "set an alarm", "设置闹钟"),
        ("searchFlights", "Searches flights, cheapest first.", "search flights", "search flights"),
        ("play_song", "Carries a song to the player. Then plays it.", "carry a song to the player", "播放歌曲"),
        ("water", "给植物浇水。", "water", "给植物浇水"),
        ("weather_forecast", "Tells the weather.", "tell the weather", "tell the weather"),
        ("pass_through", "", "pass through", "pass through"),
    ],
)
def test_a_function_is_ordered_by_its_name_or_description(
    name: str, description: str, english: str, chinese: str
) -> None:
    assert english in orders(name, description, "en") and chinese in orders(name, description, "zh")
    assert all(order and "{" not in order for language in ("en", "zh") for order in orders(name, description, language))


def test_arguments_are_mentioned_by_what_they_are() -> None:
    assert " to {to}" in mentions("to", "", "en", text=True)
    assert mentions("sleep_minutes", "", "en", text=False)[0] == " for {sleep_minutes} minutes"
    assert "，{sleep_minutes}分钟" in mentions("sleep_minutes", "", "zh", text=False)
    assert ", the items are {items}" in mentions("items", "", "en", text=False)
    assert "，城市是{city}" in mentions("city", "", "zh", text=True)
    assert "，口味是{flavour}" in mentions("flavour", "口味", "zh", text=True)
    assert label("flavour", "", "zh") == "flavour" and label("max_price", "", "zh") == "最高价格"
    assert (
        switches("repeat", "", "en")[False][0] == " without repeat"
        and "，不要重复" in switches("repeat", "", "zh")[False]
    )


def test_what_is_served_is_found_in_names_and_descriptions() -> None:
    assert served(["alarm"], ["set_alarms"]) and served(["闹钟"], ["设置一个闹钟"])
    assert not served(["eat", "闹钟"], ["weather_forecast Tells the weather"])


def test_values_have_the_words_that_the_description_brackets() -> None:
    said = "Which pet: cat (猫, kitty), guinea_pig（豚鼠、天竺鼠） or fish"
    assert aliases("cat", said, "en") == ["kitty"] and aliases("cat", said, "zh") == ["猫"]
    assert aliases("guinea_pig", said, "zh") == ["豚鼠", "天竺鼠"] and aliases("fish", said, "zh") == []
    assert aliases("monday", "", "zh") == ["周一"] and aliases("monday", "", "en") == []
