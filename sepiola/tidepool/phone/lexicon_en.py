"""English words that open values are made of: names, goods, dishes, groceries, places, messages.

`{word}` in a pattern is a word of that list; `{made}` is a word that is made up of syllables and that no list holds:
who asks for things says words that no training request has, and says them alone.
"""

from __future__ import annotations

WORDS: dict[str, tuple[str, ...]] = {
    name: tuple(words.split(", "))
    for name, words in {
        "syllable": "ba, ko, ri, len, dor, mi, sta, vel, na, quo, tra, fen, zu, lo, pri, gan, shi, mer, ta, ulo, "
        "bex, ira, kal, nor, thu, wen, sa, pol",
        "first": "Anna, Ben, Carla, Deepak, Elif, Farid, Greta, Hugo, Ines, Jonas, Kim, Leila, Marco, Nadia, "
        "Omar, Paula, Quentin, Rosa, Samuel, Tara, Ulrich, Vera, Walter, Ximena, Yusuf, Zoe, Mom, Dad, Grandma, "
        "Aunt May, Alice, Bruno, Chloe, Dmitri, Esther, Felix, Gloria, Hannah, Ivan, Julia, Kofi, Lars, Mina, "
        "Noah, Olga, Priya, Ravi, Sofia, Tom, Uma, Victor, Wendy, Xavier, Yara, Zach, Amir, Beth, Cyril, Diana, "
        "Emil, Fiona, George, Helga, Igor, Jack, Katya, Liam, Maya, Nils, Oscar, Petra, Rita, Stefan, Tina, "
        "Umberto, Viola, Will, Yoko, Zelda, Mr. Hart, Mrs. Low, Dr. Singh, Professor Ito, Coach Reed",
        "adj": "red, blue, small, large, wooden, folding, quiet, waterproof, wireless, silver, heavy, light, "
        "soft, old, new, round, striped, leather, steel, cotton, portable, electric, black, white, green, spare, "
        "cheap, plain, tall, flat",
        "noun": "desk lamp, kettle, notebook, backpack, charger, blanket, tent, mirror, ladder, drill, "
        "bicycle pump, water filter, yoga mat, pillow, keyboard, monitor, printer, suitcase, raincoat, helmet, "
        "flashlight, toaster, frying pan, coffee grinder, alarm clock, picture frame, bookshelf, office chair, "
        "vacuum cleaner, hammock, sleeping bag, telescope, violin, puzzle, chessboard, paintbrush, sewing kit, "
        "toolbox, garden hose, wheelbarrow, bird feeder, doormat, curtain, candle, vase, thermos, lunch box, "
        "microphone, speaker, tripod, scarf, sweater, belt, sandal, board game, calendar, stapler, rug, fan, "
        "heater, hair dryer, razor, bathrobe, towel, basket, dog leash, cat tree, fish tank, skateboard, "
        "jump rope, dumbbell, tennis racket, surfboard, compass, whistle",
        "style": "spicy, grilled, smoked, vegan, crispy, creamy, Thai, Greek, Korean, Cajun, Tuscan, Persian, "
        "roasted, steamed, fried, braised, Mexican, Indian, Peruvian, Lebanese, garlic, honey, pepper, double, "
        "stuffed",
        "base": "chicken curry, lamb kebab, pad thai, ramen, lasagna, risotto, falafel wrap, beef stew, "
        "fish taco, burrito, mushroom pie, tofu bowl, omelette, paella, gnocchi, goulash, quesadilla, poke bowl, "
        "pulled pork, ribs, ravioli, dal, biryani, spring roll, gyoza, couscous, chowder, meatball sub, "
        "club sandwich, waffle, pancake, cheesecake, apple pie, eggplant rice, shrimp noodle, duck leg, "
        "veggie burger, tuna roll, bean chili, lentil soup",
        "grocery": "rice, butter, onion, lemon, olive oil, soy sauce, flour, sugar, oat, yogurt, spinach, "
        "cucumber, garlic, ginger, potato, pepper, mushroom, zucchini, avocado, mango, peach, plum, blueberry, "
        "honey, mustard, vinegar, peanut butter, jam, coffee, green tea, orange juice, cider, sparkling water, "
        "tofu, salmon, chicken breast, bacon, shrimp, lentil, chickpea, pasta, tortilla, cracker, walnut, "
        "almond, raisin, cinnamon, basil, dish soap, napkin, cream cheese, feta, sour cream, celery, leek, "
        "pumpkin, radish, beet, kale, lettuce, corn, pea, coconut milk",
        "waste": "jar, can, bottle, box, tray, cup, tube, lid, bag, carton, wrapper, pot, tin, crate, envelope, "
        "magazine, straw, peel, cell, foil, canister, sheet, bucket, spoon, ring, wire, flask, bowl, sleeve, cap",
        "content": "jam, pickle, soda, shampoo, cereal, tuna, paint, yogurt, ketchup, milk, juice, egg, gift, "
        "pizza, shoe, toothpaste, cat food, detergent, wine, perfume, honey, bean, coffee, salad, camera, watch, "
        "remote, toy",
        "kind": "Street, Avenue, Square, Park, Station, Library, Hotel, Gym, Bridge, Airport, Mall, Hall, "
        "Clinic, Café, Market",
        "cuisine": "Kitchen, Bistro, Grill, House, Diner, Palace, Corner, Table, Garden, Tavern, Noodle Bar, "
        "Pizzeria, Deli",
        "spot": "bus 42, platform 3, the front desk, the swimming pool, the parking lot, gate B7, "
        "the second floor, the cafeteria, the lecture hall, tram 9, the playground, the lobby, room 215, "
        "the ferry, locker 18, the gym",
        "lost": "wallet, umbrella, laptop, passport, scarf, ring, necklace, jacket, camera, notebook, earring, "
        "water bottle, student card, bicycle helmet, tablet, sunglasses, glove, teddy bear, house key, "
        "violin case, lunch bag, cap, bracelet, phone charger, suitcase, watch, sketchbook, hearing aid, "
        "power bank, thermos",
        "event": "meeting, party, trip, picnic, concert, rehearsal, lunch, interview, workshop, wedding, exam, "
        "game, lecture, checkup, dinner, barbecue, tournament, auction, reunion, parade",
        "when": "tonight, this evening, after lunch, before noon, at nine, in an hour, on Monday, next week, "
        "this weekend, later today, at the weekend, after work, before the game, at half past two, around six",
        "doing": "waiting, working, cooking, shopping, studying, running late, stuck in traffic, packing, "
        "sleeping, painting, repairing the roof, walking home, boarding the train, watching a film, "
        "writing the report, cleaning up",
        "topic": "tax rules, sea turtles, bread recipes, solar panels, train times, tide tables, bird calls, "
        "jazz history, knee pain, moss care, chess openings, house prices, black holes, yoga poses, "
        "cheap flights, visa forms, rain radar, marathon plans, kite designs, oil stains, violin lessons, "
        "star maps, beetle species, used cars",
        "pet": "Rex, Momo, Luna, Biscuit, Shadow, Pepper, Coco, Simba, Nala, Ginger, Toby, Misty, Rocky, Daisy, "
        "Oreo, Socks",
        "domain": "mail.com, post.org, home.net, work.io, school.edu",
    }.items()
}

VALUES: dict[str, tuple[str, ...]] = {
    "person": ("{first}", "{first}", "{first} {Made}", "{Made}", "{Made} {Made}"),
    "email": ("{made}@{domain}", "{made}.{made}@{domain}", "{made}{number}@{domain}"),
    "product": ("{noun}", "{made}", "{adj} {noun}", "{adj} {made}", "{Made} {noun}", "{adj} {Made} {noun}"),
    "dish": ("{base}", "{made}", "{style} {base}", "{style} {made}", "{Made} {base}", "{style} {Made} {base}"),
    "grocery": ("{grocery}", "{grocery}", "{made}", "{Made} {grocery}", "{adj} {grocery}"),
    "waste": ("{content} {waste}", "{made}", "{adj} {waste}", "{adj} {content} {waste}", "{Made} {waste}"),
    "restaurant": ("{Made} {cuisine}", "{Made}", "{first}'s {cuisine}", "Little {Made}", "The {Made} {cuisine}"),
    "place": ("{Made} {kind}", "{spot}", "{made} {number}", "{Made} {kind}", "{first} {kind}"),
    "town": ("{Made}", "{Made} {kind}", "{made} {number}", "{Made} {kind}", "{first} {kind}"),
    "lost": ("{lost}", "{made}", "{adj} {lost}", "{adj} {made}", "{Made} {lost}", "{adj} {Made} {lost}"),
    "pet_name": ("{pet}", "{Made}", "{Made}"),
    "tag": ("{number}", "{letter}-{number}", "{letter}{number}"),
    "query": (
        "{topic}", "{topic} {Made}", "{adj} {noun} reviews", "how to clean a {adj} {noun}",
        "{Made} {kind} opening hours",
        "best {base} near {Made} {kind}", "{Made} {event}", "weather in {Made}", "history of {Made}", "{Made} {topic}",
        "where to buy a {noun}", "{style} {base} recipe",
    ),
    "subject": (
        "{event} {when}", "{adj} {noun}", "trip to {Made}", "notes on {topic}", "{Made} {event}", "your {noun}",
        "question about {topic}", "news from {first}", "{event} with {first}", "invoice {number}",
    ),
    "message": (
        "I will bring the {adj} {noun} {when}", "the {noun} is at {Made} {kind}", "I am {doing} with {first}",
        "my {adj} {noun} broke {when}", "{first} likes the {noun}", "the {event} moves to {Made} {kind}",
        "I left your {lost} at {spot}", "dinner is ready {when}", "we need another {adj} {noun}", "I am {doing}",
        "the {event} with {first} starts {when}", "I found the {adj} {lost}", "{first} is {doing} {when}",
        "we are out of {grocery} and {grocery}", "the {topic} are on page {number}", "I will call you {when}",
        "the {noun} costs {number} dollars", "I cannot come to the {event} {when}", "{Made} won the {event}",
    ),
}  # fmt: skip
