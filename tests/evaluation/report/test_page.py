"""The report: what the page and the JSON hold, hostile text, damaged images, size, curves."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from sepiola.data.example import Example, Message, Question
from sepiola.data.image import ImageRef
from sepiola.errors import DataError
from sepiola.evaluation.report.page import write_report
from sepiola.reasoning.answer import Answer
from sepiola.specs.base import Spec
from tests.evaluation.reports import REPORT, bucket

HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(1)>"'&{{ 7*7 }}</pre></style>]]>"""


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, name: str = "") -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and name in ["", *(a.get("class") or "").split()]]


def picture(side: int = 640, noise: bool = False) -> ImageRef:
    image = (
        Image.effect_noise((side, side), 90).convert("RGB") if noise else Image.new("RGB", (side, side // 2), "teal")
    )
    return ImageRef.of(image)


def sample(
    id: str, choice: int | None = 0, text: str = "Which?", image: ImageRef | None = None
) -> tuple[Example, Answer]:
    content = (text,) if image is None else (image, text)
    question = Question(text, ("iron", "wood"), 0, hint="a hint", lecture="", solution="Iron is magnetic.")
    return Example(id, (Message("user", content),), "iron", question), Answer(id, "out " + id, choice, "because " + id)


def test_page_and_json_hold_the_figures(tmp_path: Path) -> None:
    path = write_report(tmp_path / "new" / "run", REPORT, [sample("1"), sample("2", 1), sample("3", None)])
    assert path == tmp_path / "new" / "run" / "report.html"
    names = ["accuracy.svg", "report.html", "report.json"]
    assert sorted(p.name for p in path.parent.iterdir()) == names, "no temporary file stays"
    assert (path.parent / "accuracy.svg").read_text(encoding="utf-8").startswith("<svg xmlns=")
    page = Page(path.read_text(encoding="utf-8"))
    for text in (
        "两阶段 run",
        "81.2%",
        "424",
        "with eyes",
        "zero features",
        "NAT",
        "Multimodal-CoT base",
        "84.9",
    ):
        assert text in page.text
    for text in (
        "nearest neighbour",
        "5 unknown",
        "91.2",
        "12.5%",
        "说明: 对齐",
        "Iron is magnetic.",
        "because 2",
    ):
        assert text in page.text
    cards = page.all("article")
    assert [(a.get("class") or "").split()[1] for a in cards] == ["right", "wrong", "wrong"]
    assert "✗ unparsed" in page.text and "Right 1" in page.text and "Wrong 2" in page.text
    data = json.loads((path.parent / "report.json").read_text(encoding="utf-8"))
    assert data["baselines"]["nearest_neighbour"]["correct"] == 300
    assert data["title"] == "两阶段 run"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    example, answer = sample(HOSTILE, text=HOSTILE)
    assert example.question is not None
    question = Question(HOSTILE, (HOSTILE, "b"), 0, hint=HOSTILE, lecture=HOSTILE, solution=HOSTILE)
    example = Example(HOSTILE, example.messages, HOSTILE, question, {"language": HOSTILE})
    answer = Answer(HOSTILE, HOSTILE, 1, HOSTILE)
    report = {
        "title": HOSTILE,
        "description": HOSTILE,
        "name": HOSTILE,
        "language": HOSTILE,
        "rows": [{"name": HOSTILE, **bucket(0.5), "note": HOSTILE, HOSTILE: HOSTILE}],
        "buckets": {HOSTILE: bucket(0.5)},
        "baselines": {HOSTILE: bucket(0.5)},
        "recipe": HOSTILE,
    }
    curves = [{"step": i, "stage": HOSTILE, "loss": 2.0 / i} for i in range(1, 9)]
    html = write_report(tmp_path, report, [(example, answer)], curves).read_text(encoding="utf-8")
    page = Page(html)
    assert not page.all("script") and not page.all("img")
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert page.text.count(HOSTILE) >= 10
    assert "49" not in re.sub(r"<svg.*?</svg>", "", html[html.index("<body") :], flags=re.DOTALL)


def test_page_asks_for_nothing(tmp_path: Path) -> None:
    html = write_report(tmp_path, REPORT, [sample("1", image=picture())]).read_text(encoding="utf-8")
    page = Page(html)
    assert not re.search(r"https?:|//[a-z]|url\((?!#)|@import", html)
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    sources = [a["src"] or "" for _, a in page.tags if "src" in a]
    assert len(sources) == 1 and all(s.startswith("data:image/") for s in sources)
    policy = next(a["content"] or "" for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "script-src" not in policy


def test_thumbnails_are_small_and_the_page_light(tmp_path: Path) -> None:
    noise = picture(400, noise=True)
    samples = [sample(str(i), image=noise) for i in range(24)]
    path = write_report(tmp_path, REPORT, samples)
    assert path.stat().st_size < 2_000_000
    source = Page(path.read_text(encoding="utf-8")).all("img")[0]["src"] or ""
    with Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) as image:
        assert image.size == (256, 256)


def test_a_damaged_picture_does_not_cost_the_report(tmp_path: Path) -> None:
    broken = [ImageRef(data=b"no picture"), ImageRef(path=tmp_path / "gone.png")]
    samples = [sample(str(i), image=image) for i, image in enumerate(broken)]
    page = Page(write_report(tmp_path, REPORT, samples).read_text(encoding="utf-8"))
    assert page.text.count("image cannot be read") == 2


def test_samples_without_a_known_answer_open_ones_and_many_images(tmp_path: Path) -> None:
    caption = Example("1", (Message("user", (*[picture(8)] * 6, "Describe 图.")),), "a cat")
    answerable = Example("2", (Message("user", ("色?",)),), "红", Question("色?", answer_text="红"), {"language": "zh"})
    samples = [(caption, Answer("1", "a dog")), (answerable, Answer("2", "答案是红。"))]
    page = Page(write_report(tmp_path, {"title": "t"}, samples).read_text(encoding="utf-8"))
    assert len(page.all("img")) == 4 and "and 2 more images" in page.text
    assert "not scored" in page.text and "✓ right" in page.text
    assert [a["lang"] for a in page.all("article")] == ["en", "zh-Hans"]


def test_a_sample_with_another_ones_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no answer \(1\)"):
        write_report(tmp_path, REPORT, [(sample("1")[0], sample("2")[1])])
    assert not list(tmp_path.iterdir()), "nothing is written when the report cannot be made"


def test_a_title_alone_makes_a_page_and_no_title_is_an_error(tmp_path: Path) -> None:
    page = Page(write_report(tmp_path, {"title": "only"}).read_text(encoding="utf-8"))
    assert not page.all("table") and not page.all("svg")
    with pytest.raises(DataError, match="'title' is missing"):
        write_report(tmp_path, {"accuracy": 0.5})


def test_without_matplotlib_the_page_says_what_brings_its_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curves = [{"step": i, "stage": "s", "loss": 2.0 / i} for i in range(1, 9)]
    drawn = Page(write_report(tmp_path / "with", REPORT, curves=curves).read_text(encoding="utf-8"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plain = Page(write_report(tmp_path / "without", REPORT, curves=curves).read_text(encoding="utf-8"))
    assert len(drawn.all("svg")) == 2 and "pip install" not in drawn.text
    assert not plain.all("svg") and "pip install 'sepiola[eval]'" in plain.text and "81.2%" in plain.text
    assert sorted(p.name for p in (tmp_path / "without").iterdir()) == ["report.html", "report.json"]


def test_arms_that_cost_the_same_have_no_plot_of_costs(tmp_path: Path) -> None:
    def names(first: int, second: int) -> list[str]:
        rows = [{"name": n, "bridge_parameters": p, **bucket(0.8)} for n, p in (("eyes", first), ("blind", second))]
        folder = write_report(tmp_path / f"{first}-{second}", {"title": "t", "rows": rows}).parent
        return sorted(p.stem for p in folder.glob("*.svg"))

    assert names(4000, 4000) == ["accuracy"]
    assert names(4000, 0) == ["accuracy", "bridge_parameters"]


def test_json_takes_what_results_are_made_of(tmp_path: Path) -> None:
    import numpy as np

    class Model(Spec):
        width: int

    report = {
        "title": "t",
        "recipe": Model(width=3),
        "loss": float("nan"),
        "steps": np.int64(4),
        "share": np.float32(0.5),
        "interval": (0.1, 0.2),
        "path": Path("a/b"),
    }
    write_report(tmp_path, report)
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert data == {
        "title": "t",
        "recipe": {"width": 3},
        "loss": None,
        "steps": 4,
        "share": 0.5,
        "interval": [0.1, 0.2],
        "path": "a/b",
    }
    with pytest.raises(DataError, match=r"report\.rows\[0\]\.x: cannot be written as JSON: got object"):
        write_report(tmp_path, {"title": "t", "rows": [{"x": object()}]})


def test_false_claims_are_shown_as_a_share(tmp_path: Path) -> None:
    rows = [{"name": "with eyes", **bucket(0.8), "false_claims": 0.05378}, {"name": "blind", **bucket(0.3)}]
    write_report(tmp_path, REPORT | {"rows": rows})
    page = (tmp_path / "report.html").read_text()
    assert "5.4%" in page and "0.05378" not in page.split("<script")[0].split("False claims")[1][:400]
