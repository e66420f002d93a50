"""How a function and its arguments may be asked for in English and Chinese, from their names and descriptions alone.

"set_alarm", "Sets an alarm." is "set an alarm" and 设置闹钟. Chinese is taken from a Chinese description; else names
are translated word by word, where a small vocabulary has every word; else the English words stand in the Chinese
sentence, as people mix them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_CHINESE = re.compile("[\u4e00-\u9fff]")
_VERBS = {
    "set": "设置", "get": "获取", "send": "发送", "create": "创建", "add": "添加", "delete": "删除",
    "remove": "移除", "update": "更新", "open": "打开", "close": "关闭", "start": "开始", "stop": "停止",
    "play": "播放", "pause": "暂停", "show": "显示", "find": "查找", "search": "搜索", "book": "预订",
    "order": "订购", "buy": "购买", "cancel": "取消", "call": "呼叫", "write": "写", "read": "读取", "turn": "调节",
    "schedule": "安排", "convert": "换算", "translate": "翻译", "calculate": "计算", "check": "查看",
    "list": "列出", "reserve": "预订", "rent": "租", "pay": "支付", "share": "分享", "take": "拍", "record": "录制",
    "move": "移动", "rename": "重命名", "save": "保存", "lock": "锁上", "unlock": "解锁", "remind": "提醒",
    "track": "查询", "download": "下载", "upload": "上传", "print": "打印", "water": "浇", "feed": "喂",
}  # fmt: skip
_NOUNS = {
    "alarm": "闹钟", "timer": "计时器", "reminder": "提醒", "note": "笔记", "event": "日程", "calendar": "日历",
    "weather": "天气", "message": "消息", "email": "邮件", "mail": "邮件", "file": "文件", "folder": "文件夹",
    "photo": "照片", "song": "歌曲", "music": "音乐", "video": "视频", "room": "房间", "table": "桌位",
    "hotel": "酒店", "flight": "航班", "ticket": "票", "taxi": "出租车", "train": "火车", "car": "车",
    "bike": "自行车", "light": "灯", "lights": "灯", "lamp": "灯", "door": "门", "window": "窗户", "volume": "音量",
    "brightness": "亮度", "temperature": "温度", "contact": "联系人", "phone": "电话", "number": "号码",
    "name": "名字", "title": "标题", "subject": "主题", "text": "内容", "body": "正文", "content": "内容",
    "date": "日期", "day": "日期", "time": "时间", "hour": "小时", "minutes": "分钟", "seconds": "秒",
    "hours": "小时", "days": "天数", "city": "城市", "location": "地点", "place": "地点", "address": "地址",
    "country": "国家", "from": "起点", "to": "目标", "destination": "目的地", "origin": "出发地",
    "recipient": "收件人", "quantity": "数量", "count": "数量", "amount": "金额", "price": "价格",
    "currency": "货币", "unit": "单位", "units": "单位", "language": "语言", "color": "颜色", "colour": "颜色",
    "size": "尺寸", "item": "物品", "items": "物品", "product": "商品", "order": "订单", "query": "关键词",
    "topic": "主题", "category": "类别", "kind": "种类", "type": "类型", "mode": "模式", "level": "等级",
    "priority": "优先级", "label": "标签", "duration": "时长", "people": "人数", "guests": "人数",
    "seats": "座位数", "max": "最高", "min": "最低", "start": "开始", "end": "结束", "genre": "风格",
    "artist": "歌手", "restaurant": "餐厅", "dish": "菜", "book": "书", "plant": "植物", "plants": "植物",
    "pet": "宠物", "report": "报告", "list": "清单", "task": "任务", "appointment": "预约", "repeat": "重复",
    "red": "红色", "blue": "蓝色", "green": "绿色", "yellow": "黄色", "white": "白色", "black": "黑色", "small": "小",
    "medium": "中", "large": "大", "low": "低", "high": "高", "on": "开", "off": "关", "cat": "猫", "dog": "狗",
    "monday": "周一", "tuesday": "周二", "wednesday": "周三", "thursday": "周四", "friday": "周五", "saturday": "周六",
    "sunday": "周日", "daily": "每天", "weekly": "每周", "monthly": "每月",
    "at": "时间", "flashlight": "手电筒", "channel": "频道", "station": "车站", "seat": "座位", "cabin": "舱位",
   
    "speed": "速度", "style": "风格", "comment": "备注",
}  # fmt: skip
_PREPOSITIONS = {
    "to": ("to",), "recipient": ("to",), "destination": ("to",), "from": ("from",), "origin": ("from",),
    "city": ("in", "for"), "location": ("in", "at"), "place": ("in", "at"), "address": ("at",), "country": ("in",),
    "time": ("at",), "at": ("at",), "date": ("", "for"), "day": ("", "for"), "name": ("called", "named"),
    "title": ("titled", "called"), "topic": ("about", "on"), "subject": ("about", "with the subject"),
    "query": ("", "for"), "message": ("saying", "with the message"), "text": ("saying", "with the text"),
    "body": ("saying", "with the text"), "language": ("in", "into"), "currency": ("in",), "artist": ("by",),
}  # fmt: skip
_MOMENTS = {"minutes": "分钟", "seconds": "秒", "hours": "小时", "days": "天"}
_MOST_WORDS = 8  # of a description's first clause: longer ones are explanations, not orders


def words_of(name: str) -> list[str]:
    """The words of a name: `maxPrice` and `max_price` are max, price."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").strip("_").split("_")


def is_chinese(text: str) -> bool:
    """Whether the text has Chinese characters."""
    return bool(_CHINESE.search(text))


def orders(name: str, description: str, language: str) -> list[str]:
    """What asks for the function, without its arguments, as an order: "set an alarm", "set the alarm"."""
    clause = re.split(r"[.,;:(。，；：（\n]", description.strip(), maxsplit=1)[0].strip()
    words = words_of(name)
    if language == "zh":
        if is_chinese(clause):
            return [clause]
        translated = _translated(words, verb=True)
        return [translated] if translated else [f"{order}" for order in orders(name, description, "en")]
    found: list[str] = []
    if clause and not is_chinese(clause) and len(clause.split()) <= _MOST_WORDS:
        first, _, rest = clause.partition(" ")
        found.append(f"{_base(first.lower())} {rest}".strip())
    verb, rest = words[0], " ".join(words[1:])
    if found and verb not in _VERBS:
        return found
    return list(dict.fromkeys([*found, *((f"{verb} {rest}", f"{verb} the {rest}") if rest else (verb,))]))


def label(name: str, description: str, language: str) -> str:
    """What an argument is called: the words of its name, or Chinese where that is known."""
    words = words_of(name)
    if language == "zh":
        known = description.rstrip("。") if is_chinese(description) and len(description) <= 8 else _translated(words)
        return known or " ".join(words)
    return " ".join(words)


def mentions(name: str, description: str, language: str, *, text: bool) -> list[str]:
    """How an argument may be mentioned: patterns with `{name}` for the value; `text` where the value is free text."""
    slot = f"{{{name}}}"
    words, called = words_of(name), label(name, description, language)
    if language == "zh":
        if words[-1] in _MOMENTS:
            return [f"，时长{slot}{_MOMENTS[words[-1]]}", f"，{slot}{_MOMENTS[words[-1]]}"]
        found = [f"，{called}是{slot}", f"，{called}为{slot}", f"，{called}：{slot}", f"，{called}{slot}"]
        return found if text else [*found, f"，{called}选{slot}"]
    if words[-1] in _MOMENTS:
        return [f" for {slot} {words[-1]}", f", {slot} {words[-1]}"]
    verb = "are" if called.endswith("s") and not called.endswith("ss") else "is"
    found = [f" with {called} {slot}", f", {called}: {slot}", f", {called} {slot}", f", the {called} {verb} {slot}"]
    found += [f" {preposition} {slot}".replace("  ", " ") for preposition in _PREPOSITIONS.get(words[-1], ())]
    return found


def switches(name: str, description: str, language: str) -> dict[bool, list[str]]:
    """How a yes-or-no argument is asked for, and how it is declined."""
    called = label(name, description, language)
    if language == "zh":
        return {True: [f"，要{called}", f"，{called}"], False: [f"，不要{called}", f"，不用{called}"]}
    return {True: [f" with {called}", f", {called}: yes"], False: [f" without {called}", f", {called}: no"]}


def aliases(value: str, description: str, language: str) -> list[str]:
    """Other words for a value of an enum: those in brackets behind it in the description, "cat (猫, kitty)"."""
    found = re.search(rf"(?<!\w){re.escape(value)}(?!\w)\s*[(（]([^)）]+)[)）]", description)
    words = [word.strip() for word in re.split("[,，、/;]", found[1])] if found else []
    own = [word for word in words if word and is_chinese(word) == (language == "zh")]
    if language == "zh" and not own and (translated := _translated(words_of(value))):
        return [translated]
    return own


def served(words: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether one of the words stands in one of the texts; English words as words or their beginnings."""
    written = " ".join(texts).lower()
    have = re.findall(r"[a-z]+", written.replace("_", " "))
    return any(
        word in written if is_chinese(word) else any(w == word or (len(word) > 3 and w.startswith(word)) for w in have)
        for word in words
    )


def _translated(words: Sequence[str], *, verb: bool = False) -> str:
    """The words in Chinese, or "" where one is unknown; the first is a verb where `verb` says so."""
    found = [(_VERBS if verb and place == 0 else _NOUNS).get(word, "") for place, word in enumerate(words)]
    return "".join(found) if all(found) else ""


def _base(verb: str) -> str:
    """The base form of a verb in the third person: sets, searches, carries."""
    if verb.endswith("ies") and len(verb) > 4:
        return verb[:-3] + "y"
    if verb.endswith(("ches", "shes", "sses", "xes", "zes")):
        return verb[:-2]
    return verb[:-1] if verb.endswith("s") and not verb.endswith("ss") else verb
