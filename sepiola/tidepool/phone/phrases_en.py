"""How requests are phrased in English. See `grammar` for the notation and `forms` for what each form asks."""

from __future__ import annotations

PHRASES: dict[str, tuple[str, ...]] = {
    "email": (
        "[send|write|shoot] {mailbox} an [email|e-mail] [with the subject|titled|under the subject] {subject} "
        "[saying|that says|with the text] {body}",
        "[send|write] [an email|an e-mail|a mail] to {mailbox}[, subject|: subject|, titled] {subject}, "
        "[body|text|message] {body}",
        "[email|mail] {mailbox} about {subject} and [say|write|tell them] {body}",
        "= {mailbox} [should|needs to|ought to] get an email from me"
        "[ called| titled| with the subject] {subject}: {body}",
        "= [I need|I want] an email [sent|to go] to {mailbox} with {subject} as the subject and {body} as the "
        "[text|body]",
    ),
    "email.place": (
        "[email|mail] {mailbox} the place [on|shown on] this [poster|picture], "
        "[subject|with the subject|titled] {subject}",
        "[send|write] {mailbox} an [email|e-mail] titled {subject} with [just |only |]the place "
        "[of|from|on] this poster",
        "= [Where this takes place|The place on this poster] should go to {mailbox} by email, subject {subject}",
    ),
    "text": (
        "[text|message] {phone}[ that|:| saying] {message}",
        "[send|shoot|write] {phone} [a text|a text message|a message|an SMS] "
        "[saying|that says|that reads|with] {message}",
        "[send|write] [a text|a text message|an SMS] to {phone}: {message}",
        "[tell|let] {phone} [by text|by SMS|in a text]: {message}",
        "= {phone} [should|needs to|must] [know|hear] by [text|SMS] that {message}",
        "= [I need to|I have to|I want to] text {phone} that {message}",
    ),
    "text.total": (
        "[text|message] {phone} the [total|sum|amount] [on|of] this [receipt|bill], [just|only] the number",
        "[send|write] {phone} [a text|a text message|an SMS] with the [total|sum|amount] of this [receipt|bill]",
        "= {phone} [should|wants to|needs to] know by text "
        "[what this came to|how much this cost|the total of this receipt]",
    ),
    "text.place": (
        "[text|message] {phone} [where this takes place|the place on this poster|the place in the picture]",
        "[send|write] {phone} [a text|a text message|an SMS] with the place [on|of|from] this [poster|picture]",
        "= {phone} [should|wants to|needs to] know by text where [this|this event|it] [is|takes place]",
    ),
    "text.number": (
        "[text|message] the number on this [tag|label][ that|:| saying] {message}",
        "[send|write] [a text|a text message|an SMS] to the number [on|of|from] this [tag|picture]"
        "[ saying|:] {message}",
        "= [Whoever has this number|The number on this tag] should get a text saying {message}",
    ),
    "search": (
        "[google|search for|look up] {query}",
        "[google|search|look up] {query} [on Google|on the web|online]",
        "[find|search|look for] {kind} [of|for|about] {query}",
        "[search|look] [Google|the web|online] for {query}[| and show me {results} results| in the {kind}]",
        "[do|run|start] a [Google|web] search [for|on|about] {query}[| with {results} results]",
        "= [I want to|I need to|let me] google {query}",
        "= [Show me|Give me|I need] {results} [results|hits] [for|on] {query}",
        "= [What does|Let's see what] Google [say|find|have] [about|on] {query}",
    ),
    "search.place": (
        "[google|search for|look up] the place [on|of|in] this [poster|picture]",
        "[search|look] [Google|the web|online] for where this [event|poster] [is|takes you|takes place]",
        "= [I want to|let me] google the place [on|shown on] this [poster|picture]",
    ),
    "search.shop": (
        "[find|search for|look up] [a shop|a store] like the one on this [receipt|bill] on [the map|Google Maps|maps]",
        "[search|look on] [the map|Google Maps|maps] for [the kind of shop|the sort of store] that "
        "[this receipt|this bill] is from",
        "= Where [on the map|on Google Maps] is a [shop|store] like [this one|the one on this receipt]",
    ),
    "search.product": (
        "[google|search for|look up] the [product|thing|article] on this [label|tag]",
        "[search|look] [Google|the web|online] for what this [label|picture|tag] [shows|is for]",
        "= [I want to|let me] google [what is on this label|the product in the picture]",
    ),
    "buy": (
        "[order|buy|get me] {goods} [on|from] Amazon"
        "[| for at most {max_price} dollars| for no more than {max_price} each]",
        "[put|add] {goods} [in|into|to] my [Amazon|shopping] cart[|, at most {max_price} dollars each]",
        "[look on|go on|use] Amazon and [order|buy|get] {goods}[| under {max_price} dollars]",
        "= [I need|I'm after|I could use] {goods} from Amazon[|, max {max_price} dollars]",
        "= {goods} should go [in|into] my [shopping |Amazon ]cart[|, no dearer than {max_price}]",
    ),
    "buy.product": (
        "[order|buy|get me] [this|the product on this label|what this label shows] [on|from] Amazon"
        "[|, {count} of them]",
        "[put|add] [this product|the thing on this label|what is in the picture] [in|into|to] my [Amazon|shopping] cart"
        "[|, {count} pieces]",
        "= [I want|I need] {count} of [these|what this label shows] from Amazon",
    ),
    "buy.price": (
        "[order|buy|get me] [this|what this label shows] [on|from] Amazon for [no more than|at most] "
        "[the price on it|it says]"
        "[|, {count} of them]",
        "[put|add] [this product|the thing on this label] [in|into|to] my cart, [at most at|not above] the price "
        "[shown|on the label]",
    ),
    "buy.total": (
        "[order|buy|get me] {goods} [on|from] Amazon for [no more than|at most] the [total|sum] of this [receipt|bill]",
        "[put|add] {goods} [in|into|to] my [Amazon|shopping] cart, each [under|at most] the "
        "[total|sum] on this receipt",
        "= {goods} from Amazon, [but not dearer than|for at most] what this [receipt|bill] came to",
    ),
    "recycle": (
        "[recycle|throw away|get rid of|sort] {waste} [as|under|with the] {material}",
        "[put|throw|drop|toss] {waste} [in|into] the {material} [bin|recycling|recycling bin]",
        "= {waste} [should|can|may] go [in|into] the {material} [bin|recycling|container]",
        "= [I have|There are|Here is] {waste} for the {material} [bin|recycling|container]",
    ),
    "recycle.mark": (
        "[put|throw|drop|toss] {waste} [in|into] [this bin|the bin in the picture|the bin shown here]",
        "[recycle|sort|get rid of] {waste} [by|according to] [this mark|the mark in the picture|the mark on this bin]",
        "= {waste} [should|can|may] go [in|into] [this bin|the bin shown here|the bin in the picture]",
    ),
    "recycle.both": (
        "[put|throw|drop|toss] [this|the thing in the picture] [in|into] "
        "[this bin|the bin next to it|the bin beside it]",
        "[recycle|sort|get rid of] [this thing|what you see here|what lies here] "
        "[by the mark shown|in the bin shown|here]",
        "= [This|What you see here] [should|can] go into [this bin|the bin beside it]",
    ),
    "lost": (
        "[report|register|note] that I lost {lost_item} [at|near] {place}[| {past_day}]",
        "[report|register] {lost_item} as lost [at|near] {place}[| {past_day}]",
        "[file|make|open] a [lost-property|lost and found|lost item] report for {lost_item} left [at|near] {place}",
        "= I [lost|left|forgot] {lost_item} [at|near] {place}[| {past_day}], [please report it|report it as lost]",
        "= {past_day} I lost {lost_item}, [please report it|report it as lost]",
    ),
    "found": (
        "[report|register|note] that I found {lost_item} [at|near] {place}[| {past_day}]",
        "[report|register] {lost_item} as found [at|near] {place}[| {past_day}| with tag {tag}]",
        "[hand in|turn in] {lost_item} that I found [at|near] {place}[| {past_day}]",
        "= I found {lost_item} [at|near] {place}[| {past_day}], [please report it|report it as found]",
        "= Somebody [left|forgot] {lost_item} [at|near] {place}, [report it as found|please register the find]",
    ),
    "claim": (
        "[claim|get back|reclaim] my {own_item} [from the lost and found|at the lost-property office][|, tag {tag}]",
        "[claim|reclaim] {lost_item} with [the tag|tag number|tag] {tag}[| at the lost and found]",
        "= The {own_item} at the lost and found is mine, [claim it|please claim it][|, the tag is {tag}]",
        "= [I saw|They have] my {own_item} at the lost-property office, [claim it|please claim it for me]",
    ),
    "found.tag": (
        "[report|register] [this|the thing on this tag|what this tag shows] as found [at|near] {place}",
        "[report|register|note] that I found [this|what this tag shows] [at|near] {place}[| {past_day}]",
        "= I found [this|the thing on this tag] [at|near] {place}, [please report it|report it as found]",
    ),
    "claim.tag": (
        "[claim|reclaim|get back] [this|the thing on this tag|what this tag shows][| for me| from the lost and found]",
        "= [This|The thing on this tag|What this tag shows] is mine, [claim it|please claim it]",
    ),
    "design": (
        "[redesign|redo|refurnish|furnish] [the|my|our] {room} in [a |]{style} style"
        "[|, with {colour} walls| for at most {budget}]",
        "[make|turn] [the|my|our] {room} {style}[|, walls {colour}][|, on a budget of {budget}]",
        "[design|plan] a {style} {room}[| with {colour} walls| for up to {budget}]",
        "= [I want|I'd like|we need] [a|the] {style} {room}[| with {colour} walls|, budget {budget}]",
        "= [The|My|Our] {room} [should|has to] [look|become] {style}[|, {colour} walls]",
    ),
    "design.room": (
        "[redesign|redo|furnish] this room in [a |]{style} style[|, with {colour} walls| for at most {budget}]",
        "[make|turn] [this room|the room in the picture] {style}[|, walls {colour}|, on a budget of {budget}]",
        "= [This room|The room in the picture] [should|has to] [look|become] {style}[|, {colour} walls]",
    ),
    "design.both": (
        "[redesign|redo|furnish] this room in [a |]{style} style and [keep|leave] the [colour|color] of "
        "[its|the] walls",
        "[make|turn] this room {style}, [the walls as they are|same wall colour|keeping the wall colour]",
    ),
    "design.wall": (
        "[redesign|redo|furnish] [the|my|our] {room} in [a |]{style} style with walls "
        "[like these|of this colour|as in the picture]",
        "[make|turn] [the|my|our] {room} {style}, with the wall colour [of this picture|you see here]",
    ),
    "groceries": (
        "[order|buy|get me] {groceries} [on|from|via] Instacart[|, to arrive {delivery_day}]",
        "[order|buy|get] [these groceries|groceries]: {groceries}[|, for {plain_day}]",
        "[add|put] {groceries} [on|onto|to] [my|the] [grocery list|grocery order|Instacart order]"
        "[|, delivery {delivery_day}]",
        "= [I need|we need|we are out of food, so get] {groceries} from [Instacart|the grocery store]"
        "[| {delivery_day}]",
        "= {groceries} [should|must] come with [the|my] [groceries|grocery delivery][| {delivery_day}]",
    ),
    "groceries.fridge": (
        "[order|buy|get me] [what is in this fridge|everything in this fridge|all that this fridge holds] "
        "[again|once more]"
        "[|, to arrive {delivery_day}]",
        "[refill|restock] [this fridge|the fridge in the picture] with [the same again|what is in it]"
        "[| {delivery_day}]",
        "= [I want|we need] the same [groceries|food] as in [this fridge|the picture][| {delivery_day}]",
    ),
    "order": (
        "[order|get me|get|grab|fetch] {dishes} from {restaurant}[| on DoorDash| at {at}]",
        "[have|let] {restaurant} [deliver|bring|send] {dishes}[| at {at}]",
        "[use|open|go to] DoorDash and [order|get] {dishes} from {restaurant}[|, delivered at {at}]",
        "= [I want|I'd like|I'm in the mood for|we fancy] {dishes} from {restaurant}[|, delivered at {at}]",
        "= {dishes} from {restaurant} [would be great|for dinner, order it|would be nice, order it][| at {at}]",
    ),
    "order.menu": (
        "[order|get me|get] [this dish|what this menu offers|the dish on this menu] from {restaurant}"
        "[|, {count} times| at {at}]",
        "[have|let] {restaurant} deliver [this|what is on this menu][|, {count} portions|, at {at}]",
        "= [I want|I'd like|we'd like] [this|the dish on this menu] from {restaurant}"
        "[|, {count} portions|, delivered at {at}]",
    ),
    "pet": (
        "[book|schedule|arrange] a {service} for [my|our] {animal}[| {pet_name}] {coming_day}[| at {at}]",
        "[make|get] an appointment for [my|our] {animal}[|, {pet_name},] {coming_day}: {service}",
        "[book|arrange] {service} {coming_day} for {pet_name} the {animal}[| at {at}]",
        "= [My|Our] {animal}[| {pet_name}] needs a {service} {coming_day}[| at {at}][, book it|, please book it|]",
        "= {coming_day} [my|our] {animal} should [get|have] a {service}",
    ),
    "pet.animal": (
        "[book|schedule|arrange] a {service} for [this animal|the pet in the picture|this pet] {coming_day}[| at {at}]",
        "= [This pet|This little one|The animal in the picture] needs a {service} {coming_day}[| at {at}]",
    ),
    "pet.poster": (
        "[book|schedule|arrange] a {service} for [my|our] {animal} on the [day|date] [of|on] this [poster|picture]",
        "= [My|Our] {animal} needs a {service} on the [date|day] that this poster [shows|gives]",
    ),
}

FRAMES = (
    "[|please |hey, |hi, please |okay, |now |quickly ]{core}[|.|!|, please.| for me.|, thanks]",
    "[could|can|would|will] you [|please |kindly ]{core}[?| for me?]",
    "I [want|need|would like|'d like] you to {core}[|.]",
    "[help me |I need to |I want to |I'd like to |time to ]{core}[|.|, please]",
)
GREETINGS = ("[|hi, |hello, |hey, |um, ]{core}[|.|, thanks.|, please.]",)
JOINS = ("{first}[, then |, and then |. After that |. Then |. Also |; also ]{second}",)
