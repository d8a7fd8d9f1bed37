"""The installed command and the scripts: each reaches the same function as the other."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tfrecords import errors
from tfreid.commands import main as tfreid_command

ROOT = Path(__file__).resolve().parents[3]
# The campaign uses the tests, which are not installed; the check of BoxMOT has two environments.
DOORS = [ROOT / "train_net.py", ROOT / "test_net.py",
         *sorted({*(ROOT / "tools").glob("*.py")} - {
             ROOT / "tools" / name for name in ("check_boxmot.py", "robustness.py")})]


@pytest.mark.parametrize("door", DOORS, ids=lambda path: path.stem)
def test_a_script_is_a_door_to_a_command(door):
    module = re.search(r"^main = command\(\"(tfreid\.commands\.\w+)\"\)$", door.read_text(), re.M)
    commands = {command.module for command in tfreid_command.COMMANDS.values()}
    assert module.group(1) in commands
    assert len(door.read_text().splitlines()) < 30


@pytest.mark.parametrize("name", tfreid_command.COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        tfreid_command.main([name, "--help"])
    assert stopped.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_help_lists_every_command_without_loading_tensorflow():
    module = subprocess.run([sys.executable, "-m", "tfreid", "--help"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout
    program = ("import sys; from tfreid.commands.main import main; main(['--help']); "
               "sys.exit('tensorflow' in sys.modules)")
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True,
                           text=True, check=True).stdout
    assert module == shown
    for name, command in tfreid_command.COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", shown, re.M)


def test_an_unknown_command_gets_the_nearest(capsys):
    assert tfreid_command.main(["trian"]) == 2
    message = capsys.readouterr().err
    assert "tfreid train" in message and message.count("\n") == 1


def test_the_version(capsys):
    assert tfreid_command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tfreid {importlib.import_module('tfreid').__version__}\n"


def test_ctrl_c_during_the_imports_of_a_command_is_no_traceback(tmp_path, monkeypatch, capsys):
    (tmp_path / "slow_command.py").write_text("raise KeyboardInterrupt\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert errors.command("slow_command")([]) == 130
    assert capsys.readouterr().err == "interrupted\n"
