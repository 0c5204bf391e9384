"""Pages that show a command which takes no time show what it prints today."""

import pytest

from t5lite.cli.main import main
from tests.unit.test_repository import ROOT

SHOWN = {"tasks.md": ["tasks", "tasks translation"]}


@pytest.mark.parametrize(
    ("page", "command"), [(page, command) for page, commands in SHOWN.items() for command in commands]
)
def test_a_page_shows_what_the_command_prints(page, command, capsys):
    assert main(command.split()) == 0
    shown = f"$ t5lite {command}\n{capsys.readouterr().out}"
    assert shown in (ROOT / "docs" / page).read_text(encoding="utf-8")
