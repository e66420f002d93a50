"""The sentences of word problems and their solutions, in English and Chinese, by name.

Slots: `A` and `B` are the children, `things` what they have, `c` its counter, letters the numbers of a sentence, and
digits the sums of a step of the solution, in their order. A step whose sums take what both children have first says
what each has (`a`, `b`), by name.
"""

from __future__ import annotations

from sepiola.tidepool.word_problems.program import Operation

NAMES = {
    "en": (("Mia", "Tom"), ("Ann", "Ben"), ("Lily", "Jack"), ("Sara", "Paul"),
           ("Leo", "Nora"), ("the elder", "the younger")),
    "zh": (("小明", "小红"), ("小华", "小丽"), ("小军", "小芳"), ("东东", "西西"), ("姐姐", "妹妹"), ("哥哥", "弟弟")),
}  # fmt: skip
THINGS = {
    "en": (("apples", ""), ("shells", ""), ("books", ""), ("pencils", ""), ("stickers", ""), ("sweets", "")),
    "zh": (("苹果", "个"), ("贝壳", "枚"), ("书", "本"), ("铅笔", "支"), ("贴纸", "张"), ("糖", "颗")),
}
COUNTERS = {"en": "", "zh": "个"}

TELLS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "both": ("{A} has {n} {things} and {B} has {m}.", "There are {n} {things} for {A} and {m} for {B}."),
        "more": ("{B} has {n} {things} and {A} has {m} more.", "{B} has {n} {things}. {A} has {m} more than {B}."),
        "fewer": ("{B} has {n} {things} and {A} has {m} fewer.", "{B} has {n} {things}. {A} has {m} fewer than {B}."),
        "times": (
            "{B} has {n} {things} and {A} has {k} times as many.",
            "{B} has {n} {things}. {A} has {k} times {B}'s.",
        ),
        "share times": (
            "Two children share {n} {things}: {A} takes {k} times {B}'s.",
            "{A} and {B} share {n} {things}, and {A} takes {k} times as many as {B}.",
        ),
        "share more": (
            "Two children share {n} {things}: {A} takes {m} more than {B}.",
            "{A} and {B} share {n} {things}, and {A} takes {m} more.",
        ),
        "rates": (
            "{A} gathers {n} {things} a day for {k} days, and {B} gathers {m} a day for {j} days.",
            "For {k} days {A} gathers {n} {things} a day, and for {j} days {B} gathers {m} a day.",
        ),
        "packs": (
            "{A} has {n} bags of {m} {things} and {k} loose ones. {B} has {j} {things}.",
            "{A} has {k} {things} and {n} bags of {m} more. {B} has {j} {things}.",
        ),
        "gives": ("{A} gives {n} to the parents.", "{A} gives {n} of them away."),
        "finds": ("{A} finds {n} more.", "{A} gets {n} from a friend."),
        "hands": ("{A} hands {n} to {B}.", "{B} takes {n} of {A}'s."),
        "fraction": (
            "{A} divides them into {k} equal parts and gives one part away.",
            "{A} gives away one of {k} equal parts.",
        ),
        "gathers": ("{A} gathers {n} a day for {k} days more.", "For {k} days {A} gathers {n} more a day."),
        "uses": ("{A} uses {n} a day for {k} days.", "For {k} days {A} uses {n} a day."),
        "now": ("How many {things} does {A} have now?", "How many does {A} have in the end?"),
        "total": ("How many {things} do they have together?", "How many {things} are there in all?"),
        "difference": (
            "How many more {things} does {A} have than {B}?",
            "By how many {things} does {A} have more than {B}?",
        ),
        "even": (
            "How many must {A} hand over so that both have equally many?",
            "Both shall have equally many. How many must {A} hand over?",
        ),
        "handover": (
            "Of the rest {B} shall have {m} more than {A}. How many must {A} hand over?",
            "How many must {A} hand over so that {B} has {m} more than {A}?",
        ),
        "bags": (
            "They put all {things} into bags of {n}. How many bags do they fill?",
            "How many bags of {n} do they fill with all {things}?",
        ),
        "left over": (
            "{A} puts the {things} into bags of {n}. How many are left over?",
            "How many are left over when {A} fills bags of {n}?",
        ),
        "sells": (
            "{A} sells the {things} for {n} coins each. How many coins does {A} get?",
            "How many coins does {A} get for the {things} at {n} coins each?",
        ),
        "lasts": (
            "Then {A} uses {n} a day. For how many days do they last?",
            "How many days do {A}'s {things} last at {n} a day?",
        ),
        "begin": ("Begin with {n}.", "Take the number {n}."),
        "add": ("Add {n}.", "Then {n} more."),
        "take": ("Subtract {n}.", "Then {n} less."),
        "what": ("What is the number?", "How much is it?"),
    },
    "zh": {
        "both": ("{A}有{n}{c}{things}，{B}有{m}{c}。", "{things}分给{A}{n}{c}，分给{B}{m}{c}。"),
        "more": ("{B}有{n}{c}{things}，{A}比{B}多{m}{c}。", "{B}有{n}{c}{things}，{A}还要多{m}{c}。"),
        "fewer": ("{B}有{n}{c}{things}，{A}比{B}少{m}{c}。", "{B}有{n}{c}{things}，{A}要少{m}{c}。"),
        "times": ("{B}有{n}{c}{things}，{A}的是{B}的{k}倍。", "{B}有{n}{c}{things}，{A}有它的{k}倍。"),
        "share times": (
            "两个孩子分{n}{c}{things}，{A}拿的是{B}的{k}倍。",
            "{A}和{B}一起分{n}{c}{things}，{A}分到的是{B}的{k}倍。",
        ),
        "share more": (
            "两个孩子分{n}{c}{things}，{A}比{B}多拿{m}{c}。",
            "{A}和{B}一起分{n}{c}{things}，{A}多分到{m}{c}。",
        ),
        "rates": (
            "{A}每天收集{n}{c}{things}，收集了{k}天；{B}每天收集{m}{c}，收集了{j}天。",
            "{A}用{k}天收集{things}，每天{n}{c}；{B}用{j}天，每天{m}{c}。",
        ),
        "packs": (
            "{A}有{n}袋{things}，每袋{m}{c}，另有{k}{c}；{B}有{j}{c}。",
            "{A}有{k}{c}{things}，还有{n}袋，每袋{m}{c}；{B}有{j}{c}。",
        ),
        "gives": ("{A}给了父母{n}{c}。", "{A}送出{n}{c}。"),
        "finds": ("{A}又找到{n}{c}。", "朋友又给了{A}{n}{c}。"),
        "hands": ("{A}给{B}{n}{c}。", "{B}从{A}那里拿走{n}{c}。"),
        "fraction": ("{A}把自己的平均分成{k}份，送出一份。", "{A}送出自己的{k}等份中的一份。"),
        "gathers": ("{A}又收集了{k}天，每天{n}{c}。", "{A}每天再收集{n}{c}，共{k}天。"),
        "uses": ("{A}用了{k}天，每天用{n}{c}。", "{A}每天用{n}{c}，用了{k}天。"),
        "now": ("{A}现在有多少{c}{things}？", "最后{A}有多少{c}？"),
        "total": ("他们一共有多少{c}{things}？", "两人合起来有多少{c}？"),
        "difference": ("{A}比{B}多多少{c}{things}？", "{A}的比{B}的多几{c}？"),
        "even": ("{A}要交出多少{c}，两人才一样多？", "两人要一样多，{A}要交出几{c}？"),
        "handover": (
            "余下的{B}要比{A}多{m}{c}，{A}要交出几{c}？",
            "{A}要交出多少{c}，{B}才比{A}多{m}{c}？",
        ),
        "bags": ("他们把{things}全部装袋，每袋{n}{c}，能装几袋？", "全部{things}每袋装{n}{c}，要装多少袋？"),
        "left over": ("{A}把{things}装袋，每袋{n}{c}，还剩几{c}？", "{A}每袋装{n}{c}，最后剩下多少{c}？"),
        "sells": ("{A}把{things}卖掉，每{c}{n}元，得到多少元？", "每{c}卖{n}元，{A}一共能卖多少元？"),
        "lasts": ("以后{A}每天用{n}{c}，能用多少天？", "{A}的{things}每天用{n}{c}，够用几天？"),
        "begin": ("从{n}开始。", "有一个数{n}。"),
        "add": ("加{n}。", "再多{n}。"),
        "take": ("减{n}。", "再少{n}。"),
        "what": ("得多少？", "是几？"),
    },
}  # fmt: skip

REASONS: dict[str, dict[str, str]] = {
    "en": {
        "has": "{A} has {0}.",
        "share times": "{B} takes one of {0} parts, {1}, and {A} takes {2}.",
        "share more": "Without the {m} more there are {0}, so {B} takes {1} and {A} takes {2}.",
        "rates": "{A} has {0} and {B} has {1}.",
        "packs": "{A} has {0} in bags, {1} with the loose ones.",
        "gives": "Then {A} has {0}.",
        "finds": "Then {A} has {0}.",
        "hands": "Then {A} has {0} and {B} has {1}.",
        "fraction": "{A} makes parts of {0} and keeps {1}.",
        "gathers": "{A} gathers {0} and has {1}.",
        "uses": "{A} uses {0} and has {1}.",
        "total": "{A} has {a} and {B} has {b}, together {0}.",
        "difference": "{A} has {a} and {B} has {b}, so {A} has {0} more.",
        "even": "{A} has {a} and {B} has {b}, {A} has {0} more, and half of it is {1}.",
        "handover": "{A} has {a} and {B} has {b}, the rest is {0}, and {1} without the {m} more, "
        "so {A} shall have {2}.",
        "hands over": "{A} must hand over {0}.",
        "bags": "They fill {0} bags.",
        "left over": "{A} has {a}, full bags hold {1}, so {2} are left.",
        "sells": "{A} gets {0} coins.",
        "lasts": "They last {0} days.",
        "sum": "{0}.",
    },
    "zh": {
        "has": "{A}有{0}。",
        "share times": "{B}拿{0}份中的一份，{1}，{A}拿{2}。",
        "share more": "去掉多的{m}，有{0}，{B}拿{1}，{A}拿{2}。",
        "rates": "{A}有{0}，{B}有{1}。",
        "packs": "{A}袋里有{0}，共有{1}。",
        "gives": "{A}剩下{0}。",
        "finds": "{A}变成{0}。",
        "hands": "{A}剩下{0}，{B}变成{1}。",
        "fraction": "{A}一份是{0}，剩下{1}。",
        "gathers": "{A}收集{0}，变成{1}。",
        "uses": "{A}用掉{0}，剩下{1}。",
        "total": "{A}有{a}，{B}有{b}，一共有{0}。",
        "difference": "{A}有{a}，{B}有{b}，{A}多{0}。",
        "even": "{A}有{a}，{B}有{b}，{A}多{0}，它的一半是{1}。",
        "handover": "{A}有{a}，{B}有{b}，余下{0}，去掉多的{m}，有{1}，{A}应有{2}。",
        "hands over": "{A}要交出{0}。",
        "bags": "能装{0}袋。",
        "left over": "{A}有{a}，装满的袋里有{1}，剩下{2}。",
        "sells": "{A}得到{0}元。",
        "lasts": "能用{0}天。",
        "sum": "{0}。",
    },
}


def sum_text(operation: Operation, language: str) -> str:
    """An operation as it is written: "20 - 4 = 16", in Chinese without spaces."""
    parts = (operation.left, operation.sign, operation.right, "=", operation.result)
    return ("" if language == "zh" else " ").join(map(str, parts))
