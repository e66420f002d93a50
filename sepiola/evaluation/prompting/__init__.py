"""Prompting: zero-, one- and few-shot benchmarks of text models, one short file each. `TASKS` lists them by name."""

from sepiola.evaluation.benchmarks import bbh, cmmlu, cmrc2018, gsm8k, lambada, nq_open
from sepiola.evaluation.prompting.task import Task

TASKS: dict[str, Task] = {
    "lambada": lambada.PLAIN,
    "lambada_cloze": lambada.CLOZE,
    "cmmlu": cmmlu.LETTERED,
    "cmmlu_cloze": cmmlu.CLOZE,
    "bbh": bbh.CHAIN,
    "bbh_direct": bbh.DIRECT,
    "gsm8k": gsm8k.TASK,
    "nq_open": nq_open.TASK,
    "cmrc2018": cmrc2018.TASK,
}
