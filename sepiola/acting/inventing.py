"""Made-up functions, from which a model learns to read declarations: a verb, a thing, and arguments, as APIs have them.

Descriptions are in English or Chinese, in other words than the names. Every third thing has a name that is no word, so
that what a function is for must be read and cannot be known. The things of a split are in no other.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from sepiola.specs.base import Plain
from sepiola.tidepool.phone.grammar import share_of

_VERBS = {
    "get": (("Gets", "Retrieves", "Fetches", "Returns", "Looks up"), ("获取", "查询", "返回")),
    "find": (("Finds", "Searches for", "Locates", "Looks for"), ("查找", "搜索", "寻找")),
    "list": (("Lists", "Shows all of", "Returns all of"), ("列出", "显示所有")),
    "create": (("Creates", "Makes", "Sets up", "Generates"), ("创建", "新建", "生成")),
    "add": (("Adds", "Inserts", "Appends"), ("添加", "增加")),
    "delete": (("Deletes", "Removes", "Erases"), ("删除", "移除")),
    "update": (("Updates", "Changes", "Modifies", "Edits"), ("更新", "修改")),
    "send": (("Sends", "Delivers", "Transmits"), ("发送", "发出")),
    "book": (("Books", "Reserves"), ("预订", "预约")),
    "buy": (("Buys", "Purchases", "Orders"), ("购买", "订购")),
    "cancel": (("Cancels", "Calls off"), ("取消", "撤销")),
    "play": (("Plays", "Starts playback of"), ("播放",)),
    "start": (("Starts", "Begins", "Launches"), ("开始", "启动")),
    "stop": (("Stops", "Ends", "Halts"), ("停止", "结束")),
    "check": (("Checks", "Verifies", "Tells the state of"), ("检查", "核实")),
    "calculate": (("Calculates", "Computes", "Works out"), ("计算", "算出")),
    "convert": (("Converts", "Transforms"), ("换算", "转换")),
    "schedule": (("Schedules", "Plans", "Arranges"), ("安排", "计划")),
    "share": (("Shares", "Makes public"), ("分享", "共享")),
    "track": (("Tracks", "Follows"), ("跟踪", "追踪")),
    "rate": (("Rates", "Scores"), ("评分", "评价")),
    "translate": (("Translates",), ("翻译",)),
    "compare": (("Compares",), ("比较", "对比")),
    "open": (("Opens",), ("打开",)),
}
_THINGS = {
    "weather": "天气", "movie": "电影", "restaurant": "餐厅", "hotel": "酒店", "flight": "航班", "ticket": "票",
    "recipe": "菜谱", "song": "歌曲", "playlist": "歌单", "podcast": "播客", "invoice": "发票", "payment": "付款",
    "account": "账户", "balance": "余额", "loan": "贷款", "stock price": "股价", "exchange rate": "汇率",
    "bill": "账单", "calendar event": "日程", "meeting": "会议", "reminder": "提醒", "alarm": "闹钟",
    "timer": "计时器", "note": "笔记", "task": "任务", "project": "项目", "employee": "员工", "customer": "客户",
    "order": "订单", "parcel": "包裹", "product": "商品", "coupon": "优惠券", "cart": "购物车", "store": "商店",
    "review": "评论", "user profile": "用户资料", "password": "密码", "file": "文件", "folder": "文件夹",
    "image": "图片", "video": "视频", "document": "文档", "report": "报告", "email": "邮件", "text message": "短信",
    "contact": "联系人", "phone call": "电话", "news": "新闻", "article": "文章", "book": "图书", "library": "图书馆",
    "course": "课程", "exam": "考试", "grade": "成绩", "train": "火车", "bus": "公交车", "taxi": "出租车",
    "rental car": "租车", "parking space": "停车位", "route": "路线", "map": "地图", "distance": "距离",
    "traffic": "路况", "charging station": "充电站", "bike": "自行车", "house": "房屋", "apartment": "公寓",
    "mortgage": "房贷", "doctor": "医生", "appointment": "预约", "medicine": "药品", "symptom": "症状",
    "workout": "锻炼", "diet plan": "饮食计划", "calories": "卡路里", "sleep record": "睡眠记录", "pet": "宠物",
    "plant": "植物", "lamp": "台灯", "thermostat": "恒温器", "door lock": "门锁", "camera": "摄像头",
    "vacuum": "吸尘器", "washing machine": "洗衣机", "television": "电视", "speaker": "音箱", "server": "服务器",
    "database": "数据库", "table row": "数据行", "log": "日志", "backup": "备份", "container": "容器",
    "repository": "代码仓库", "branch": "分支", "bug": "缺陷", "test": "测试", "area": "面积", "volume": "体积",
    "average": "平均值", "equation": "方程", "prime number": "质数", "triangle": "三角形", "currency": "货币",
    "unit": "单位", "language": "语言", "word": "单词", "holiday": "假期", "concert": "音乐会", "museum": "博物馆",
    "sports match": "比赛", "team": "球队", "player": "球员", "lottery": "彩票", "horoscope": "星座", "joke": "笑话",
    "quote": "名言", "poem": "诗", "color": "颜色", "logo": "标志", "website": "网站", "domain": "域名",
    "survey": "问卷", "vote": "投票", "law": "法律", "contract": "合同", "tax": "税", "visa": "签证",
    "passport": "护照", "insurance": "保险", "job": "职位", "resume": "简历", "salary": "工资",
}  # fmt: skip
_TAILS = {
    "en": ("", "", " of a user", " by its name", " from the database", " in the app", " for a given day", " in a city"),
    "zh": ("", "", "的信息", "（按名称）", "（在应用中）"),
}
_SYLLABLES = [f"{first}{second}" for first in "bdfgklmnprst" for second in "aeio"]
_CHARACTERS = "安白川大东方飞高光海和红华江金京兰林龙明南宁平青山石水天文西新星雪阳玉远云正中"
_ARGUMENTS: tuple[tuple[str, Plain, str, str], ...] = (
    ("city", {"type": "string"}, "The city", "城市"),
    ("name", {"type": "string"}, "What it is called", "名称"),
    ("title", {"type": "string"}, "Its title", "标题"),
    ("date", {"type": "string", "format": "date"}, "The day", "日期"),
    ("time", {"type": "string", "format": "time"}, "At what time", "时间"),
    ("location", {"type": "string"}, "Where", "地点"),
    ("quantity", {"type": "integer", "minimum": 1, "maximum": 20}, "How many", "数量"),
    ("amount", {"type": "number", "minimum": 1, "maximum": 900}, "How much", "金额"),
    ("person", {"type": "string"}, "Whose", "谁的"),
    ("query", {"type": "string"}, "What to look for", "关键词"),
    ("message", {"type": "string"}, "What is said", "内容"),
    ("category", {"type": "string", "enum": ["small", "medium", "large"]}, "Which size", "尺寸"),
    ("mode", {"type": "string", "enum": ["daily", "weekly", "monthly"]}, "How often", "频率"),
    ("color", {"type": "string", "enum": ["red", "blue", "green", "black"]}, "Which colour", "颜色"),
    ("days", {"type": "integer", "minimum": 1, "maximum": 30}, "For how many days", "天数"),
    ("guests", {"type": "integer", "minimum": 1, "maximum": 12}, "For how many people", "人数"),
    ("email", {"type": "string"}, "An address", "邮箱"),
    ("destination", {"type": "string"}, "Where it goes", "目的地"),
)


def invent(count: int, split: str, *, seed: int = 0) -> list[Plain]:
    """So many functions, as plain data (`name`, `description`, `parameters`), each of another name.

    Every second is described in Chinese. Functions that share a verb or a thing are among them.
    """
    rng = random.Random(f"invent {seed} {split}")
    words = {thing: chinese for thing, chinese in _THINGS.items() if share_of("thing", thing) == split}
    made: dict[str, Plain] = {}
    while len(made) < count:
        language = ("en", "zh")[len(made) % 2]
        thing, chinese = rng.choice([*words.items()])
        if rng.random() < 1 / 3:
            thing = "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4)))
            chinese = "".join(rng.choices(_CHARACTERS, k=rng.randint(2, 3)))
            if share_of("thing", thing) != split:
                continue
        verb, (english_verbs, chinese_verbs) = rng.choice([*_VERBS.items()])
        name = f"{verb}_{thing.replace(' ', '_')}"
        if name in made:
            continue
        if language == "zh":
            description = rng.choice(chinese_verbs) + chinese + rng.choice(_TAILS["zh"])
        else:
            article = rng.choice(("the ", "a ", ""))
            description = f"{rng.choice(english_verbs)} {article}{thing}{rng.choice(_TAILS['en'])}"
        made[name] = {"name": name, "description": description + ".。"[language == "zh"],
                      "parameters": _parameters(rng, language)}  # fmt: skip
    return [*made.values()]


def _parameters(rng: random.Random, language: str) -> Plain:
    chosen: Sequence[tuple[str, Plain, str, str]] = rng.sample(_ARGUMENTS, rng.choice((0, 1, 1, 2, 2, 3)))
    properties = {
        name: {**schema, "description": chinese if language == "zh" else english}
        for name, schema, english, chinese in chosen
    }
    return {"type": "object", "properties": properties, "required": [name for name in properties if rng.random() < 0.6]}
