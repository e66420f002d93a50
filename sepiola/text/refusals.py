"""Whether a reply refuses: phrases of English and Chinese in which people and models say that they will not, or cannot,
do or answer what is asked. What is refused in other words is not found.
"""

from __future__ import annotations

import re

_NOT = r"(?:\s*n['’]?t|\s+not|not)"
_WILL_NOT = (
    rf"(?:(?:can|could|will|would|ca|wo){_NOT}|can['’]?t|wont"
    r"|(?:['’]?m|\s+am)\s+(?:not\s+(?:able|willing|allowed|going)|unable)\s+to"
    rf"|(?:would|['’]?d)\s+(?:rather|prefer)\s+not(?:\s+to)?|do{_NOT}\s+(?:want|wish)\s+to)"
)
_DO_SO = (
    r"(?:help(?!\s+(?:but|it)\b)|assist|answer|provide|discuss|talk\s+about|comment|reply|respond|support|tell\s+you"
    r"|give\s+you|do\s+that|say\s+that|say\s+anything)"
)
_REFUSAL = re.compile(
    rf"\bi\s*{_WILL_NOT}\s+(?:\w+ly\s+|be\s+able\s+to\s+)?{_DO_SO}\b"
    r"|\b(?:not\s+comfortable|uncomfortable)\s+(?:with|about|answering|discussing|talking|sharing)\b"
    r"|\bi\s+(?:must\s+|have\s+to\s+)?(?:refuse|decline)\b|\bas\s+an?\s+(?:ai|language\s+model)\b"
    r"|(?:不方便|无法|不能|不会|不想|不愿)(?:为你|给你|帮你|向你|再)?(?:回答|帮忙|帮助|提供|协助|讨论|告诉|评论)"
    r"|(?:我|必须|只能)拒绝|恕(?:我)?(?:不能|无法|难)",
    re.IGNORECASE,
)


def refuses(reply: str) -> bool:
    """Whether a reply says that it will not, or cannot, do or answer what is asked."""
    return _REFUSAL.search(reply) is not None
