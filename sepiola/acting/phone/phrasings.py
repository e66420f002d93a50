"""How people ask for the phone's functions, in English and Chinese, for `sepiola.acting.synthesis`.

A phrasing a line, as in the `Examples:` of a docstring: `[a|b]` is a choice, `{argument}` a value, and "= " begins a
whole sentence. Without them an agent learns that orders are made of names, and takes plain speech for no order at all.
"""

from __future__ import annotations

PHRASINGS = {
    "send_email": """
        [send an e-mail to|send an email to|email] {to} [about|with the subject] {subject}[:|, saying] {body}
        [write an e-mail to|write an email to|mail] {to} under the subject {subject}[:|, saying that] {body}
        tell {to} by [e-mail|email][ that|:] {body}, [subject|the subject is] {subject}
        let {to} know by [e-mail|email] that {body}, [subject|headed] {subject}
        write to {to} by e-mail, [subject|headed|titled] {subject}, [text|body|saying] {body}
        = {to} should get an e-mail [about|headed] {subject}: {body}
        给{to}[发邮件|写邮件|发一封邮件|写封邮件|发个邮件|发电子邮件][，|][主题|标题][是|为|：|写]{subject}，[内容|正文|里面][是|为|：|写]{body}
        [发邮件|写邮件|发一封邮件]给{to}，[主题|标题][是|：|]{subject}，[内容|正文][是|：|说]{body}
        [用邮件|发邮件]告诉{to}[，|：|]{body}，[主题|标题][写|用|是]{subject}
    """,
    "send_text_message": """
        text {to}[ that| saying|:|] {message}
        [send a text to|send a message to|send an SMS to] {to}[ saying| that says|:| saying that] {message}
        [message|write to] {to}[:|,| that] {message}
        tell {to} [by text|in a message][:| that] {message}
        let {to} know by [text|message] that {message}
        send {to} a [text|message|text message][:| saying| that] {message}
        = {to} should know by text that {message}
        给{to}[发|发个|发条|发一条][短信|信息|消息][说|，说|：|，内容是|，]{message}
        [发|发个|发条|发一条][短信|信息|消息]给{to}[，说|说|：|，内容是]{message}
        [用短信|发短信|发消息][告诉|通知]{to}[，|：|]{message}
        [跟|和]{to}[发短信|发消息]说[，|：|]{message}
    """,
    "google_search": """
        [google|look up|search for|search the web for|search Google for|find out about] {query}
        [look for|search] {kind} [of|about|for|on] {query}
        [look up|search for|google] {query} [in|among] {kind}[, {results} results|]
        [show|give|find] me {results} results [for|about|on] {query}
        [google|search for|look up] {query}[, | and show me ]{results} results
        = what does the web say about {query}?
        [搜|搜索|搜一下|查一下|谷歌一下|上网查|上网搜|在网上搜]{query}
        [上谷歌|用谷歌|在谷歌上][搜|搜索|查]{query}[，给我{results}条结果|，要{results}条|，看{results}条|]
        [搜|搜索|找]{query}的{kind}[，要{results}条|]
        [在|从]{kind}[里|中][搜|查|找]{query}
    """,
    "amazon_shopping": """
        [buy|order|get] {product} [on|from] Amazon[, at most {max_price} dollars| for no more than {max_price} dollars|]
        [put {product} in|add {product} to] [my|the] [cart|shopping cart|basket]
        put {quantity} {product} in [my|the] [cart|shopping cart|basket][, at most {max_price} dollars each|]
        add {quantity} {product} to [my|the] [cart|shopping cart|basket][, at most {max_price} dollars each|]
        [buy|order|get me] {quantity} {product} [on|from] Amazon[, no more than {max_price} dollars each|]
        [buy|order|get me] {quantity} {product} [on|from] Amazon for at most {max_price} dollars
        = I need {quantity} {product} from Amazon
        [在亚马逊|上亚马逊][买|订|下单]{product}[，不超过{max_price}元|，最高{max_price}|]
        [在亚马逊|上亚马逊][买|订][{quantity}个|{quantity}件]{product}[，单价不超过{max_price}元|，每件最多{max_price}|]
        把{product}[放进|加入|加到|放到]购物车
        [往|在]购物车里[加|放][{quantity}个|{quantity}件]{product}
    """,
    "smart_recycling": """
        [recycle|throw away|bin|sort] the {item} as {material}
        [recycle|throw away|bin] {pieces} {item} as {material}
        [put|throw] the {item} [in|into] the {material} [bin|recycling]
        [put|throw] {pieces} {item} [in|into] the {material} [bin|recycling]
        = the {item} is {material}, recycle it
        把{item}[当|当作|按]{material}[回收|扔掉|处理]
        把{item}[扔进|放进|丢进]{material}[桶|回收桶|垃圾桶]
        把{pieces}[个|件]{item}[扔进|放进|丢进]{material}[桶|回收桶|垃圾桶]
        把{pieces}[个|件]{item}[当|当作|按]{material}[回收|扔掉|处理]
    """,
    "lost_and_found": """
        = I {action} [a|the|my] {item}
        = I {action} [a|the] {item} at {place}[ {day}|][, tag {tag}|]
        = I {action} [a|the|my] {item} {day}[, the tag is {tag}|]
        = I {action} the {item}[,| with] tag {tag}
        [report|put down|note] that I {action} [a|the|my] {item}[ at {place}|][ {day}|]
        [report|put down|note] that I {action} [a|the|my] {item}, tag {tag}
        = 我{action}{item}
        [登记|记录|登记一下]我[在{place}|]{action}{item}[，标签号{tag}|]
        [登记|记录]我{day}{action}{item}
        = 我在{place}{action}{item}[，标签[是|号]{tag}|]
        = 我{day}[在{place}|]{action}{item}[，标签号{tag}|]
        = 我{action}{item}，标签[是|号是|]{tag}
    """,
    "interior_design": """
        [redo|redesign|furnish|redecorate] [my|the] {room} in [a|] {style} style[, with {colour} walls|]
        [redo|redesign|furnish|redecorate] [my|the] {room} in {style} style[ for at most {budget}|, budget {budget}|]
        [paint|make] the {room} {colour} and furnish it in {style} style[, budget {budget}|]
        make [my|the] {room} {style}[ with {colour} walls|][ for at most {budget}|]
        = I want a {style} {room}[ with {colour} walls|]
        把{room}[装修|布置|设计|改造|装饰]成{style}[风格|风][，墙[用|刷|要]{colour}|][，预算{budget}|]
        [重新|][装修|布置]{room}，要{style}[风格|风][，{colour}的墙|][，预算{budget}元|]
        = 我想要{style}风格的{room}[，墙是{colour}的|]
    """,
    "instacart_shopping": """
        [order|buy|get|get me] {items} from [Instacart|the grocery store|the supermarket][, for {day}|]
        [order|buy|get] [the groceries|groceries] for {day}: {items}
        [put|add] {items} on my grocery [list|order][, deliver it {day}|]
        [do my grocery shopping|order groceries]: {items}
        = I need {items}[ delivered {day}|]
        = we are out of {items}
        [买菜|订菜|买杂货|订杂货]：{items}[，{day}送到|，{day}送|]
        [去超市|在超市|到超市]买{items}[，{day}送到|]
        [在Instacart|在网上超市|用Instacart][买|订]{items}[，{day}送来|]
        = 家里[需要|没有|缺]{items}[了|]
    """,
    "doordash_delivery": """
        [order|get|get me] {dish} from {restaurant}[ at {at}| for {at}|]
        [order|get] {quantity} {dish} from {restaurant}[ at {at}|, deliver at {at}|]
        [have|let] {restaurant} [bring|deliver] {dish}[ at {at}|]
        order {dish} on DoorDash, from {restaurant}
        = I feel like {dish} from {restaurant}
        [从|在]{restaurant}[点|订|叫]{dish}[，{at}送到|，{at}送|]
        [从|在]{restaurant}[点|订|叫]{quantity}份{dish}[，{at}送到|，{at}送|]
        [点|叫]{restaurant}的外卖，[要|点|来]{dish}
        [点|叫]{restaurant}的外卖，[要|点|来]{quantity}份{dish}[，{at}送到|]
        = 我想吃{restaurant}的{dish}
    """,
    "animal_care": """
        [book|schedule|arrange] [a|] {service} for [my|the|our] {animal} {day}[ at {at}|]
        [book|schedule|arrange] [a|] {service} for [my|our] {animal} {name} {day}[ at {at}|]
        [book|get] [my|the] {animal} [a|] {service} {day}[ at {at}|]
        = my {animal} [{name}|] needs [a|] {service} {day}[ at {at}|]
        给[我的|我家的|我家|][{animal}|{animal}{name}][约|预约|安排|订]{day}[{at}|]的{service}
        {day}带[我的|我家的|][{animal}|{animal}{name}]去做{service}
        {day}给[我的|我家的|][{animal}|{animal}{name}]做{service}
        [预约|约]{day}[{at}|]的[{animal}|{animal}{name}]{service}
        = [我的|我家的][{animal}|{animal}{name}]{day}[{at}|]要[做|]{service}
    """,
}
