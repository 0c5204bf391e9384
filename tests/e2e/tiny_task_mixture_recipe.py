"""Recipe of the end-to-end tests: the tiny mixture's model, of the tasks that docs/tasks.md mixes."""

import runpy
from pathlib import Path
from typing import Any

from t5lite import recipe as r

PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


def config() -> r.RunConfig:
    make = runpy.run_path(str(Path(__file__).with_name("tiny_mixture_recipe.py")))["config"]
    config: r.RunConfig = make()
    _, _, section = PAGE.read_text(encoding="utf-8").partition("## Several tasks\n")
    said: dict[str, Any] = {"r": r}
    exec(section.partition("```python\n")[2].partition("```")[0], said)
    return r.replace(config, data=said["data"], evaluations=said["evaluations"])
