"""How people ask for the phone's functions, in English and Chinese, for `sepiola.acting.synthesis`.

A phrasing a line, as in the `Examples:` of a docstring: `[a|b]` is a choice, `{argument}` a value, `{argument=value}`
one that the words say themselves, and "= " begins a whole sentence. Without them an agent learns that orders are made
of names, and takes plain speech for no order at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sepiola.calling.functions import Function


def phrased(functions: Sequence[Function], phrasings: Mapping[str, str]) -> tuple[Function, ...]:
    """The functions with the ways to ask for them."""
    lines = {name: tuple(line.strip() for line in text.strip().splitlines()) for name, text in phrasings.items()}
    return tuple(replace(each, examples=lines[each.name]) for each in functions)


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

ANDROID = {
    "take_a_photo": """
        [take|snap|shoot] a [photo|picture|shot][ with the {camera} camera|][ in {resolution}|]
        take a {resolution} [photo|picture][ with the {camera} camera|]
        take a [photo|picture] of [me|myself|us]{camera=front}[ in {resolution}|]
        [take|shoot] a selfie{camera=front}[ in {resolution}|]
        use the {camera} camera [to take|for] a [photo|picture][ in {resolution}|]
        [拍|照|拍一下|照一下]照[，用{camera}|][，{resolution}|]
        [拍张|拍一张|来一张|照张|照一张]{resolution}的[照片|照]
        用{camera}[拍|照]一张[照片|照|相片][，{resolution}|]
        [拍张|来张|拍一张]自拍{camera=front}[，{resolution}|]
    """,
    "get_trending_news": """
        [show|give|read|tell] me the news[ about {topic}| on {topic}|]
        [show|give|get] me {max_results} [news stories|headlines|articles] [about|on] {topic}
        [what's|find out what's] new [about|in] {topic}[, {max_results} stories|]
        [show|get] the [top|trending|latest] news [from|in] {region}[ about {topic}|][, in {language}|]
        [show|get] the [top|trending|latest] news in {language}[ about {topic}|]
        = what is in the news[ about {topic}|]?
        [看看|看一下|给我看|播报]新闻
        [看看|看一下|给我看|找|读一下][关于|有关]{topic}的[{language}|][新闻|消息|报道][，要{max_results}条|]
        [看看|给我看|来]{max_results}条[关于|有关|]{topic}的新闻
        [看看|看一下|给我看]{region}的[热门|最新|]新闻[，要{max_results}条|]
        = {topic}有什么[新闻|新消息]？
    """,
    "get_weather_forecast": """
        [show|tell|give] me the [weather|forecast|weather forecast] [for|in] {location}[ for the next {days} days|]
        [check|look up] the [weather|forecast] [for|in] {location}[ for {days} days|, {days} days|]
        [check|find out] [if|whether] it [will rain|rains|is cold|is warm] in {location}
        = [what's|what is|how is] the weather [like |]in {location}[ over the next {days} days|]?
        = do I need an umbrella in {location}?
        [查|看看|查一下|看一下|告诉我]{location}的[天气|天气预报]
        [查|看看|查一下]{location}[接下来|未来]{days}天的[天气|天气预报]
        {location}的[天气|天气预报][查一下|看一下|查查]
        {location}[接下来|未来]{days}天的天气[查一下|看一下|查查]
        = {location}[今天|]天气[怎么样|如何|好吗]？
        = {location}[会不会|会]下雨[吗|]？
        = {location}[接下来|未来]{days}天[天气|]怎么样？
    """,
    "search_youtube_videos": """
        [find|search for|look for|show me] [a video|videos|clips] [about|of|on] {query}
        [find|search for|look for|play] {query} on YouTube
        [search|look on] YouTube for {query}
        = I want to watch [something|a video] [about|on] {query}
        = are there [any |]videos [about|of|on] {query}?
        [找|搜|搜索|看|找几个|找一下][关于|]{query}的视频
        [在油管上|上油管|在YouTube上|上YouTube][搜|搜索|找|看]{query}
        = 我想看[关于|]{query}的视频
        = 有没有[关于|]{query}的视频？
    """,
    "find_route": """
        [find|show me|give me] [the way|a route|directions] to {destination}[ by {mode}|][, leaving {depart}|]
        [navigate|take me|get me|guide me|bring me] to {destination}[ by {mode}|][, leaving {depart}|]
        [plan|find] my [trip|way] to {destination} {depart}[ by {mode}|]
        = how do I get to {destination}[ by {mode}|]?
        = I have to be on my way to {destination} {depart}[, by {mode}|]
        [导航到|导航去|带我去|带我到]{destination}
        [查|找|看看|查一下|规划][去|到]{destination}的[路|路线|走法][，{mode}|][，{depart}出发|]
        [我要|我想|]{depart}出发去{destination}，[查|规划]一下路线[，{mode}|]
        = [去|到]{destination}怎么走？
        = {mode}[去|到]{destination}怎么走？
    """,
    "create_contact": """
        [add|save] {name}[ to my contacts| to the address book|]: {number}[, e-mail {email}|]
        [add|save|create|make] a [new |]contact[ for|:] {name}[,| with the number] {number}[, e-mail {email}|]
        [save|store|write down] {number} as {name}['s number|]
        [put|write] {name} in [my|the] [contacts|address book][,| under] {number}[, e-mail {email}|]
        = {name} has [the|a new] number {number}[, the e-mail is {email}|]
        [添加|新建|保存|存|加][一个|]联系人{name}，[电话|号码|手机][是|：|]{number}[，邮箱[是|]{email}|]
        把{name}[加到|存到|存进|添加到][通讯录|联系人][里|]，[电话|号码|手机][是|]{number}[，邮箱[是|]{email}|]
        [把|]{number}存[成|为]{name}[的电话|的号码|]
        = {name}的[电话|号码|手机号]是{number}，存一下
    """,
    "create_calendar_event": """
        [put|enter] {title} in [my|the] calendar[:| for|,] {start}[, for {minutes} minutes|, {minutes} minutes long|]
        [add|create|make] [an event|a calendar entry|an appointment] {title} {start}[, {minutes} minutes|]
        [schedule|plan] {title} {start}[ for {minutes} minutes|, {minutes} minutes|]
        block {minutes} minutes {start} for {title}
        = {title} is {start}[ and takes {minutes} minutes|], [put it in|note it in] my calendar
        [把|]{title}[加到|写进|放进|记到]日历[里|]，{start}[开始|][，{minutes}分钟|]
        [在日历上|在日程里|日历里][加|记|写][上|]{title}，{start}[开始|][，[时长|一共|]{minutes}分钟|]
        [安排|预定|新建日程][：|]{title}，{start}[开始|][，{minutes}分钟|]
        = {start}有{title}，[记到日历里|加到日程里][，{minutes}分钟|]
    """,
    "set_alarm": """
        [set|make] an alarm [for|at] {at}[ called {label}| for {label}|]
        [set|make] a daily alarm{daily=true} [for|at] {at}[ called {label}| for {label}|]
        [wake me|wake me up|get me up|ring] at {at}[ for {label}|]
        [wake me|wake me up|get me up] every [day|morning]{daily=true} at {at}[ for {label}|]
        = I have to [get up|be up] at {at}[ for {label}|]
        [定|设|订|上|设置][个|一个|]{at}的闹钟[，叫{label}|，名字是{label}|]
        [定|设|订][个|一个|]每天{daily=true}{at}的闹钟[，叫{label}|]
        {at}[叫醒我|叫我起床|叫我|提醒我起床][，因为{label}|]
        每天{daily=true}{at}[叫醒我|叫我起床|叫我][，因为{label}|]
        = 我{at}要起床
    """,
    "start_timer": """
        [set|start] a timer [for|of|to] {minutes} minutes
        [set|start] a {minutes}[ |-]minute timer
        [time|count down] {minutes} minutes
        [tell|call|remind] me in {minutes} minutes
        = the [eggs|noodles|cake] [need|needs] {minutes} minutes
        [计时|倒计时|倒数]{minutes}分钟
        [定|设|开][个|一个|]{minutes}分钟的[计时器|倒计时|定时器]
        {minutes}分钟[后|以后|之后][提醒我|叫我|告诉我]
        = [鸡蛋|面|蛋糕]要[煮|做|烤]{minutes}分钟
    """,
    "toggle_flashlight": """
        [turn on|switch on|light] the [flashlight|torch]{on=true}
        [turn|switch] the [flashlight|torch] on{on=true}
        [make|give me] [some |]light{on=true} [here|in here|with the phone]
        [turn off|switch off|put out] the [flashlight|torch]{on=false}
        [turn|switch] the [flashlight|torch] off{on=false}
        = it is [too |]dark [here|in here], I need [a|some] light{on=true}
        = I don't need the [flashlight|torch] any more{on=false}
        [打开|开一下|开|点亮]手电[筒|]{on=true}
        把手电[筒|][打开|开一下|点亮]{on=true}
        [关掉|关上|关一下|关闭|关]手电[筒|]{on=false}
        把手电[筒|][关掉|关了|关上]{on=false}
        = [这里|这儿][太|好]黑[了|]，[照一下|给点光]{on=true}
        = 不需要手电[筒|]了{on=false}
    """,
    "set_volume": """
        [set|turn|put] the {sound} [volume |][to|up to|down to] {level}[ percent|%|]
        [set|put] the volume of the {sound} [to|at] {level}[ percent|%|]
        [make|play] the {sound} [at|as loud as] {level}[ percent|%]
        mute the {sound}{level=0}
        [turn|set] the {sound} [all the way up|to full volume|to maximum]{level=100}
        [把|]{sound}[的|][音量|声音][调到|设为|设成|调成|开到]{level}
        [把|]{sound}[的|][音量|声音][调到|设为|设成]百分之{level}
        [把|]{sound}静音{level=0}
        [把|]{sound}[的|][音量|声音][开到最大|调到最大]{level=100}
    """,
    "set_do_not_disturb": """
        [keep quiet|be quiet|stay silent] until {until}
        [turn on|switch on|set|use] do not disturb until {until}
        [do not|don't] [ring|disturb me|bother me] [before|until] {until}
        [no calls|hold my calls|silence the phone|silence everything] until {until}
        = I want [to be left alone|no calls|peace and quiet] until {until}
        [打开|开启|开|设置]勿扰[模式|][到|，到|直到]{until}
        {until}[前|之前|以前][不要|别|请勿][打扰我|响|吵我]
        [安静|静音|保持安静][到|，到|直到]{until}
        = {until}[前|之前|以前]我想[安静|静静|一个人待着]
    """,
}
