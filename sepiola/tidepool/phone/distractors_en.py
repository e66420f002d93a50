"""English requests that no function of the phone serves.

`NEAR_MISSES` are about a function's subject and do not ask for it: past, negated, cancelled, asked about, or something
near that it cannot do. `IRRELEVANT` has nothing to do with any. `ABOUT_PICTURES` asks about what a picture shows.
"""

from __future__ import annotations

_ROOMS = "[living room|kitchen|bathroom|bedroom|study]"
_BINS = "[paper|glass|plastic|metal|battery]"
_PETS = "[dogs|cats|rabbits|birds|turtles]"

NEAR_MISSES: dict[str, tuple[str, ...]] = {
    "send_email": (
        "= Did {any_person} [answer|read|get|open] my [email|mail][| about {any_subject}]?",
        "[delete|archive|print|flag] the [emails|mails|last email] [from|by] {any_person}[| about {any_subject}]",
        "= What is {any_person}'s [email address|mail address]?",
        "= I [already|just] [emailed|wrote an email to] {any_person}[| about {any_subject}]",
        "= don't [email|mail] {any_person} [yet|today|any more|about {any_subject}]",
        "[read me|show me] the [latest|last] email [from|by] {any_person}",
        "= {any_person} [emailed|wrote to] me [about {any_subject}|yesterday]",
    ),
    "send_text_message": (
        "= Did {any_person} [read|get|see|answer] my [text|message]?",
        "[delete|read me|show me] the [last|latest] [text|message|SMS] [from|of] {any_person}",
        "[call|ring|phone|video call] {any_person}[| {coming_day}| now]",
        "= I [already|just] texted {any_person}[| that {any_message}]",
        "= don't text {any_person} [yet|today|any more]",
        "[block|mute|unblock] {any_person}[| for a week]",
        "= {any_person} texted me that {any_message}",
    ),
    "google_search": (
        "[open|close|bookmark|print] the [page|site|article] about {any_query}",
        "[clear|delete|hide] my [search history|last search|old searches]",
        "= How does [Google|a search engine] [work|earn money|rank pages]?",
        "= I [already|just] googled {any_query}",
        "= don't [google|search for|look up] {any_query} [any more|again|yet]",
        "[translate|summarise|explain] the article [on|about] {any_query}",
        "= {any_person} [googled|searched for] {any_query} [yesterday|last week]",
    ),
    "amazon_shopping": (
        "[cancel|return|track] my [|Amazon ]order of the {any_product}",
        "[remove|delete|take] the {any_product} from my [cart|Amazon cart|shopping cart]",
        "= Where is my [parcel|Amazon parcel|package] with the {any_product}?",
        "= How much [is|was] the {any_product} [on Amazon|last year]?",
        "= I [already|just] bought a {any_product} on Amazon",
        "= don't [buy|order] the {any_product} [yet|on Amazon|any more]",
        "[rate|review|repair] the {any_product} [that I bought|from Amazon]",
    ),
    "smart_recycling": (
        f"= [How|Why|Where] is {_BINS} [recycled|sorted|melted]?",
        f"= When is the {_BINS} bin [collected|emptied|washed]?",
        f"[empty|clean|paint|move] the {_BINS} bin",
        f"= Is the {_BINS} bin [full|empty|broken]?",
        "= I [already|just] threw the {any_waste} away",
        "= don't throw the {any_waste} away [yet|today]",
        "[repair|keep|wash|reuse] the {any_waste}",
    ),
    "lost_and_found": (
        "= Where is the [lost and found|lost-property office][| at {any_place}]?",
        "= When does the [lost and found|lost-property office] [open|close]?",
        "[withdraw|delete|cancel] my report [for|about] the {any_lost}",
        "= Has anybody [found|seen|handed in] my {any_lost}?",
        "= I found my {any_lost} again[, never mind|, all is well| at home]",
        "= don't report the {any_lost} [yet|as lost]",
        "[find|look for|ring] my {any_lost}[| at {any_place}]",
    ),
    "interior_design": (
        f"[clean|tidy|vacuum|measure] the {_ROOMS}",
        f"[turn on|turn off|dim] the lights in the {_ROOMS}",
        f"= How [big|warm|bright] is the {_ROOMS}?",
        f"= [I|We] [already|just] painted the {_ROOMS}",
        f"= don't [redesign|paint|change] the {_ROOMS} [yet|this year]",
        f"[undo|delete|show me] the last design of the {_ROOMS}",
        "= What is [Nordic|rustic|Japanese|industrial] style [about|like]?",
    ),
    "instacart_shopping": (
        "[cancel|track|pay for] my [Instacart|grocery] order[| with the {any_grocery}]",
        "[remove|delete|take] {any_grocery} [from|off] the [grocery list|Instacart order]",
        "= Do we [still |]have {any_grocery}?",
        "= How do I [cook|store|peel|freeze] {any_grocery}?",
        "= [I|We] [already|just] bought {any_grocery}",
        "= don't [buy|order] [any |more ]{any_grocery}",
        "= How much sugar is in {any_grocery}?",
    ),
    "doordash_delivery": (
        "[cancel|track|rate] my [|DoorDash ]order from {any_restaurant}",
        "= Where is the driver from {any_restaurant}?",
        "= Is {any_restaurant} [open|good|expensive]?",
        "[book|reserve] a table at {any_restaurant}[| {coming_day}]",
        "= I [already|just] [ate|had] {any_dish} at {any_restaurant}",
        "= don't order [the |]{any_dish} [again|from {any_restaurant}]",
        "= How do I [cook|make|season] {any_dish}?",
    ),
    "animal_care": (
        "[cancel|move|postpone] {any_pet_name}'s [appointment|checkup|grooming]",
        f"= What do {_PETS} [eat|dream of|drink]?",
        f"= How [old|big|heavy] do {_PETS} get?",
        "= I [already|just] took {any_pet_name} to the vet",
        "= don't book anything for {any_pet_name} [yet|this week]",
        "[feed|brush|play with|photograph] {any_pet_name}",
        "= Who [walked|fed|groomed] {any_pet_name} [today|yesterday]?",
    ),
}

# What each kind of irrelevant request, and each function of the phone, is about, in words of both languages: a set of
# functions that has one of these words in a name or description may well serve it.
TOPICS: dict[str, str] = {
    "timer": "alarm timer countdown wake clock 闹钟 计时 倒计时",
    "music": "music song radio play audio player playlist 音乐 歌 播放",
    "switch": "flashlight wifi bluetooth airplane heating turn switch toggle 手电 蓝牙 无线 飞行模式 暖气 打开 关闭",
    "navigation": "navigate navigation drive route direction map 导航 路线 地图",
    "photo": "photo picture selfie camera image 照片 拍照 相机 图片",
    "translation": "translate spell pronounce language 翻译 拼写 朗读",
    "reminder": "remind reminder note memo task 提醒 备忘 记下 待办",
    "calendar": "calendar event schedule appointment 日历 日程 活动 预约",
    "weather": "weather rain forecast temperature 天气 下雨 气温",
    "travel": "flight train hotel taxi book ticket travel 机票 火车 酒店 出租车 订票",
    "payment": "pay payment transfer money bank lend 付款 转账 支付 钱",
    "volume": "volume brightness loud mute 音量 亮度 静音",
    "lock": "lock unlock charge restart reboot 锁 重启 充电",
    "fact": "calculate calculator math capital question answer 计算 数学 问答",
    "joke": "joke story poem riddle tell 笑话 故事 谜语",
    "send_email": "email mail send write 邮件 发送",
    "send_text_message": "text message sms send tell notify 短信 信息 消息 发送",
    "google_search": "search google find look web query 搜索 查找 查询",
    "amazon_shopping": "shop buy order cart product purchase 购物 买 购买 订单 商品",
    "smart_recycling": "recycle waste bin trash 回收 垃圾",
    "lost_and_found": "lost found report claim 失物 报失 认领",
    "interior_design": "design room furnish wall interior decorate 设计 装修 房间",
    "instacart_shopping": "grocery groceries food shop buy order 买菜 食材 购买 订单",
    "doordash_delivery": "deliver delivery restaurant dish food order 外卖 餐厅 菜 点餐",
    "animal_care": "pet animal vet book appointment 宠物 动物 预约",
}

IRRELEVANT: dict[str, str] = {
    "greeting": "= [How are you|How is it going|What's up|How was your day][| today]?",
    "joke": "= [Tell me|Do you know] a [joke|story|poem|riddle][| about {any_person}| about a {any_product}]",
    "thanks": "= [Thank you|Thanks a lot|Good night|Good morning|See you later|Well done][|, {any_person}]",
    "identity": "= [Who|What] are you[|, really]?",
    "fact": "= What is [the capital of {any_place}|the meaning of life|{number} times {number}|"
    "the square root of {number}]?",
    "why": "= Why is the [sky blue|sea salty|grass green|moon round]?",
    "timer": "[set|start|cancel|pause] [an alarm|a timer] for [{number} minutes|{at}]",
    "music": "[play|pause|skip|repeat] [some music|the radio|{any_query}|a song by {any_person}]",
    "switch": "[turn|switch] [on|off] the [flashlight|Wi-Fi|Bluetooth|airplane mode|heating]",
    "navigation": "[navigate|drive|take me|show the way] to {any_place}",
    "photo": "[take|show me|delete] [a photo|the last photo|a selfie][| of {any_person}]",
    "translation": "[translate|spell|pronounce] {any_subject}[| into French| into German]",
    "reminder": "[remind me|write down|make a note] that {any_message}",
    "calendar": "[add|move|delete] {any_subject} [in|to|from] my calendar[| {coming_day}]",
    "weather": "= [Will it rain|How warm will it be|Is it windy] {plain_day}[| at {any_place}]?",
    "travel": "[book|find me|cancel] a [flight|train|hotel|taxi] to {any_place}[| {coming_day}]",
    "payment": "[pay|transfer|lend] {any_person} {number} dollars",
    "volume": "[turn|set] the [volume|brightness] [up|down|to {number}]",
    "opinion": "= I [think|guess|hope] that {any_subject} is a [good|bad] idea",
    "taste": "= Do you like [{any_dish}|{any_person}|the {any_product}]?",
    "lock": "[lock|unlock|charge|restart] the [phone|car|front door|tablet]",
    "favourite": "= My [favourite|least favourite] [dish|place|word] is {any_dish}",
}

ABOUT_PICTURES: dict[str, tuple[str, ...]] = {
    "receipt": (
        "= [What is|How high is|Do you see] the [total|sum] [on|of] this [receipt|bill]?",
        "= [Which|What] [shop|store] is this [receipt|bill] from?",
    ),
    "poster": (
        "= [When|Where] is [this|the event on this poster|what this poster is about]?",
        "= What does this [poster|picture] [say|show|advertise]?",
    ),
    "label": (
        "= [How much is|What is the price of] [this|the product on this label]?",
        "= [What|Which] [product|thing] is on this [label|tag]?",
    ),
    "recycling": ("= What does this [mark|sign|symbol] [mean|stand for]?", "= [Which|What] [bin|container] is this?"),
    "tag": (
        "= [What number|What thing|Which thing] is on this [tag|picture]?",
        "= What colour is the [thing|item] on this tag?",
    ),
    "room": ("= [Which|What] room is this?", "= What colour are the walls [here|of this room|in this picture]?"),
    "fridge": ("= What is [in|inside] [this|the] fridge?", "= How much [food |]is left in [this|the] fridge?"),
    "menu": ("= What [is|do you see] on this menu?", "= How much is the dish on this [menu|picture]?"),
    "pet": ("= What [animal|pet|creature] is [this|in the picture]?", "= How [old|cute|big] is this [animal|pet]?"),
}
