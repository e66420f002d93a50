"""What a request asks an agent on this device to call: `python -m sepiola_edge act FOLDER "Text Anna that I am late"`.

The folder is what `sepiola export AGENT --to edge` wrote, of an agent of `sepiola act train`. Calls are shown, and
nothing is run: `sepiola_edge.Agent` runs Python callables, as far as a policy allows. Of what the agent was taught,
no call can be ill-formed; a request for a function that is not --allow'ed calls nothing.

  python -m sepiola_edge act FOLDER "明天早上给王芳发邮件" --today 2026-05-01
  python -m sepiola_edge act FOLDER "Order this dish" --image menu.png --json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from sepiola_edge import load


def act(arguments: Sequence[str]) -> None:
    """Prints the calls of a request. Raises EdgeError for a folder, a picture or a day that is none."""
    options = argparse.ArgumentParser(
        prog="python -m sepiola_edge act", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("folder", help="what `sepiola export AGENT --to edge` wrote")
    options.add_argument("request", help="what is to be done, in English or Chinese")
    options.add_argument("--image", action="append", default=[], metavar="FILE", help="a picture with it; repeatable")
    options.add_argument("--today", metavar="DAY", help="the day that «tomorrow» comes after; by default today")
    options.add_argument("--allow", action="append", metavar="NAME", help="only this may be called; repeatable")
    options.add_argument("--json", action="store_true", help="print JSON")
    given = options.parse_args(arguments)
    calls = load(given.folder).act(given.request, image=given.image, today=given.today, allow=given.allow)
    if given.json:
        print(json.dumps({"calls": [call.to_json() for call in calls]}, ensure_ascii=False))
    else:
        print("\n".join(map(str, calls)) or "nothing to call")
