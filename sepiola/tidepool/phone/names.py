"""The phone's closed vocabulary: what its pictures can show, as words of both languages.

The values of a function's `Literal` arguments are English in both languages; `SAID` lists how a user says them.
"""

from __future__ import annotations

from sepiola.tidepool.words import word

_CHINESE: dict[str, str] = {
    "apple": "苹果", "banana": "香蕉", "carrot": "胡萝卜", "egg": "鸡蛋", "milk": "牛奶", "cheese": "奶酪",
    "grape": "葡萄", "fish": "鱼", "broccoli": "西兰花", "bread": "面包", "pizza": "披萨", "burger": "汉堡",
    "noodles": "面条", "sushi": "寿司", "soup": "汤",
    "salad": "沙拉", "dumplings": "饺子", "hot dog": "热狗", "lamp": "台灯", "book": "书", "headphones": "耳机",
    "mug": "杯子", "chair": "椅子", "clock": "时钟", "camera": "相机", "guitar": "吉他",
    "key": "钥匙", "umbrella": "雨伞", "bag": "背包", "phone": "手机", "glasses": "眼镜", "hat": "帽子",
    "wallet": "钱包", "glove": "手套", "bottle": "瓶子", "can": "易拉罐", "newspaper": "报纸", "battery": "电池",
    "box": "盒子", "cup": "纸杯", "banana peel": "香蕉皮", "jar": "罐子", "park": "公园", "beach": "海滩",
    "school": "学校", "station": "车站", "cinema": "电影院", "museum": "博物馆", "harbour": "港口",
    "stadium": "体育场", "bakery": "面包店", "pharmacy": "药店", "bookshop": "书店", "flower shop": "花店",
    "toy shop": "玩具店", "hardware store": "五金店",
}  # fmt: skip

SAID: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "material": {
        "en": {
            "paper": ("paper", "cardboard"),
            "plastic": ("plastic",),
            "glass": ("glass",),
            "metal": ("metal", "aluminium"),
            "organic": ("organic", "food waste"),
            "battery": ("battery",),
        },
        "zh": {
            "paper": ("纸类", "废纸"), "plastic": ("塑料",), "glass": ("玻璃",), "metal": ("金属",),
            "organic": ("厨余", "有机"), "battery": ("电池", "废电池"),
        },
    },
    "room": {
        "en": {
            "living_room": ("living room", "lounge"),
            "bedroom": ("bedroom",),
            "kitchen": ("kitchen",),
            "bathroom": ("bathroom",),
            "study": ("study", "home office"),
            "nursery": ("nursery", "baby's room"),
        },
        "zh": {
            "living_room": ("客厅",), "bedroom": ("卧室", "睡房"), "kitchen": ("厨房",), "bathroom": ("浴室", "卫生间"),
            "study": ("书房",), "nursery": ("婴儿房", "儿童房"),
        },
    },
    "style": {
        "en": {
            "modern": ("modern", "contemporary"),
            "rustic": ("rustic", "country"),
            "industrial": ("industrial", "factory"),
            "scandinavian": ("Scandinavian", "Nordic"),
            "japanese": ("Japanese",),
            "traditional": ("traditional", "classic"),
        },
        "zh": {
            "modern": ("现代", "现代简约"), "rustic": ("乡村", "田园"), "industrial": ("工业", "工厂"),
            "scandinavian": ("北欧",), "japanese": ("日式", "和式"), "traditional": ("传统", "古典"),
        },
    },
    "colour": {
        "en": {name: (name,) for name in ("white", "red", "yellow", "green", "blue")} | {"grey": ("grey", "gray")},
        "zh": {
            "white": ("白色",), "red": ("红色",), "yellow": ("黄色",), "green": ("绿色",), "blue": ("蓝色",),
            "grey": ("灰色",),
        },
    },
    "animal": {
        "en": {
            "dog": ("dog", "puppy"), "cat": ("cat", "kitty"), "rabbit": ("rabbit", "bunny"), "bird": ("bird", "parrot"),
            "fish": ("fish", "goldfish"), "turtle": ("turtle", "tortoise"),
        },
        "zh": {
            "dog": ("狗", "狗狗"), "cat": ("猫", "猫咪"), "rabbit": ("兔子", "小兔"), "bird": ("鸟", "鹦鹉"),
            "fish": ("鱼", "金鱼"), "turtle": ("乌龟", "小龟"),
        },
    },
    "service": {
        "en": {
            "checkup": ("checkup", "health check"),
            "vaccination": ("vaccination", "vaccine shot"),
            "grooming": ("grooming", "grooming session"),
            "walking": ("walk", "walking service"),
            "boarding": ("boarding", "overnight stay"),
        },
        "zh": {
            "checkup": ("体检", "健康检查"), "vaccination": ("疫苗接种", "打疫苗"), "grooming": ("美容", "洗澡美容"),
            "walking": ("遛弯", "散步服务"), "boarding": ("寄养", "过夜寄养"),
        },
    },
    "kind": {
        "en": {"images": ("pictures", "images"), "news": ("news", "headlines"), "maps": ("maps", "the map")},
        "zh": {"images": ("图片",), "news": ("新闻",), "maps": ("地图",)},
    },
}  # fmt: skip


def thing(language: str, key: str) -> str:
    """The word for something that a picture shows: in the singular, in the language."""
    return _CHINESE.get(key, key) if language == "zh" else key


def coloured(language: str, colour: str, key: str) -> str:
    """A thing with its colour: "red hat", 红色帽子."""
    return word(language, colour) + ("" if language == "zh" else " ") + thing(language, key)


def said(slot: str, language: str, value: str) -> str:
    """The first way to say a value of a closed argument."""
    return SAID[slot][language][value][0]
