"""The function whose declaration shares most with a request, by TF-IDF of characters: what any choice must beat."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sepiola.data.example import Example
from sepiola.errors import SepiolaError


def nearest_functions(examples: Sequence[Example]) -> list[str]:
    """For each example the name of the nearest function among those that it declares.

    Texts are the user's last message and the declarations as JSON; vectors are of 2 to 4 characters within words,
    sublinear, fitted on all that is declared. Needs the `eval` extra.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise SepiolaError("the text baselines need scikit-learn: pip install 'sepiola[eval]'") from None
    declared = [[json.dumps(tool["function"], ensure_ascii=False) for tool in e.metadata["tools"]] for e in examples]
    all_of_them = sorted({text for texts in declared for text in texts})
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit(all_of_them)
    known = vectorizer.transform(all_of_them)
    places = {text: place for place, text in enumerate(all_of_them)}
    asked = vectorizer.transform([example.messages[-1].text for example in examples])
    chosen = []
    for row, (example, texts) in enumerate(zip(examples, declared, strict=True)):
        likeness = (known[[places[text] for text in texts]] @ asked[row].T).toarray()[:, 0]
        chosen.append(str(example.metadata["tools"][int(likeness.argmax())]["function"]["name"]))
    return chosen
