"""What an `adapter_config.json` of peft asks for: what counts for the weights, and what is refused or not known."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from sepiola.checkpoints.config import JSON, Config
from sepiola.checkpoints.files import read_json
from sepiola.errors import CheckpointError, brief, shown

CONFIG = "adapter_config.json"
TOKEN_ROWS_KEY = "trainable_token_indices"
MAX_QUANTIFIERS = 3  # of an expression for modules' names: the time to match one is exponential in them

# What a config may ask for beside what is honoured, by its key; true, or not empty, means that it does.
_REFUSED = {
    "lora_bias": "biases of its second matrices",
    "target_parameters": "matrices on a mixture's experts",
    "layer_replication": "layers that are copied",
    "alora_invocation_tokens": "an adapter that begins in the middle of a text",
    "use_qalora": "inputs that are pooled",
    "use_bdlora": "matrices in blocks",
    "arrow_config": "adapters that are chosen by the token",
    "kasa_config": "singular values of the weights",
    "velora_config": "gradients that are compressed",
    "monteclora_config": "matrices that are drawn",
}
# What counts here, or for training alone.
_KNOWN = {
    *(
        "peft_type",
        "peft_version",
        "task_type",
        "auto_mapping",
        "base_model_name_or_path",
        "revision",
        "inference_mode",
    ),
    *("r", "rank_pattern", "lora_alpha", "alpha_pattern", "use_rslora", "use_dora", "lora_dropout", "bias"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out", "enable_lora"),
    *("modules_to_save", TOKEN_ROWS_KEY, "ensure_weight_tying", "init_lora_weights", "merge_weights"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config", "qalora_group_size"),
    *("megatron_config", "megatron_core"),
}
_PLAIN_STARTS = ("gaussian", "orthogonal", "eva")  # initialisations that leave the weights under them as they are

log = logging.getLogger(__name__)


class AdapterConfig:
    """The `adapter_config.json` of a folder. Raises CheckpointError for what is not supported, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.raw = read_json(folder / CONFIG)
        self._check_kind()
        self._rank: int = self._number("r", 8)
        self._alpha: float = self._number("lora_alpha", 8)
        self._patterns = {key: self._pattern(key) for key in ("rank_pattern", "alpha_pattern")}
        self.dora = bool(self.raw.get("use_dora"))
        self.whole_modules = self._names("modules_to_save")

    @property
    def base(self) -> str | None:
        """What the adapter lies on, as its config names it."""
        named = self.raw.get("base_model_name_or_path")
        return named if isinstance(named, str) and named else None

    def is_whole(self, module: str) -> bool:
        """Whether a module was trained as a whole, beside the adapter."""
        parts = module.split(".")
        paths = [".".join(parts[: n + 1]) for n in range(len(parts))]
        return any(path.endswith(name) for path in paths for name in self.whole_modules)

    def rank(self, module: str) -> int:
        """The rank of a module's matrices."""
        return int(_matched(self._patterns["rank_pattern"], module, self._rank))

    def scale(self, module: str) -> float:
        """What the product of a module's matrices is multiplied by."""
        alpha, rank = _matched(self._patterns["alpha_pattern"], module, self._alpha), self.rank(module)
        return alpha / rank**0.5 if self.raw.get("use_rslora") else alpha / rank

    def token_rows(self, module: str) -> list[int]:
        """The tokens whose rows of a module were trained; a list is the embedding's."""
        given = self.raw.get(TOKEN_ROWS_KEY) or []
        by_name = given if isinstance(given, Mapping) else {"": given}
        ids = next((ids for name, ids in by_name.items() if module.endswith(str(name))), [])
        if not isinstance(ids, list) or not all(type(i) is int and i >= 0 for i in ids):
            raise self._wrong(TOKEN_ROWS_KEY, given, "ids of tokens, or such by the names of modules")
        return ids

    def _check_kind(self) -> None:
        raw, where = self.raw, self.folder
        if raw.get("peft_type") != "LORA":
            raise CheckpointError(f"{where}: an adapter of type {shown(raw.get('peft_type'))}; 'LORA' is supported")
        asked = [f"{key} ({what})" for key, what in _REFUSED.items() if raw.get(key)]
        if isinstance(start := raw.get("init_lora_weights"), str) and start not in _PLAIN_STARTS:
            asked.append(f"init_lora_weights: {shown(start)} (which changes the weights under it)")
        if asked:
            raise CheckpointError(
                f"{where}: the adapter asks for {', '.join(asked)}, which is not supported; merge it with peft "
                "(merge_and_unload, save_pretrained), and load that"
            )
        strange = sorted(key for key, value in raw.items() if key not in _KNOWN and key not in _REFUSED and value)
        if strange:
            names = ", ".join(brief(key) for key in strange[:6])
            log.warning("%s: keys that are not known, and not honoured: %s", where / CONFIG, names)

    def _number(self, key: str, default: int) -> int:
        value = self.raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 31:
            raise self._wrong(key, value, "a positive number")
        return value  # type: ignore[return-value]

    def _names(self, key: str) -> tuple[str, ...]:
        value = self.raw.get(key) or []
        if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
            raise self._wrong(key, value, "names of modules")
        return tuple(value)

    def _pattern(self, key: str) -> dict[re.Pattern[str], float]:
        """Numbers by modules' names: a key is a name's end, or an expression for it, as in peft."""
        given, found = self.raw.get(key) or {}, {}
        if not isinstance(given, Mapping):
            raise self._wrong(key, given, "numbers by the names of modules")
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 31:
                raise self._wrong(f"{key}.{name}", value, "a positive number")
            if re.search(r"\)[*+{]", name) or len(re.findall(r"[*+{]", name)) > MAX_QUANTIFIERS:
                raise self._wrong(key, name, f"an expression of {MAX_QUANTIFIERS} quantifiers at most, none on a group")
            try:
                found[re.compile(rf"(.*\.)?({name})$")] = value
            except re.error as error:
                raise self._wrong(key, name, f"an expression for modules' names ({error})") from None
        return found

    def _wrong(self, key: str, value: object, expected: str) -> CheckpointError:
        return CheckpointError(f"{self.folder / CONFIG}: {key} is {shown(value)}; expected {expected}")


def _matched(pattern: Mapping[re.Pattern[str], float], module: str, otherwise: float) -> float:
    return next((value for key, value in pattern.items() if key.match(module)), otherwise)


def config_to_write(
    base: str | None, rank: int, alpha: float, dropout: float, targets: Iterable[str] | str, *, turned: bool
) -> JSON:
    """The `adapter_config.json` of matrices of low rank, all of one rank and scale."""
    config: Config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": dropout,
        "target_modules": targets if isinstance(targets, str) else list(targets),
        "fan_in_fan_out": turned,
        "bias": "none",
        "inference_mode": True,
    }
    return dict(config)
