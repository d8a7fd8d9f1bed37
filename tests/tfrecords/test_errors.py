"""What a command prints of names that come from elsewhere."""

from __future__ import annotations

import sys

from tfrecords.errors import UserError, command_line


def test_control_characters_and_broken_names_are_escaped(capsys):
    @command_line
    def main():
        print("\udcb0")
        raise UserError("José 张三 \x1b[2J\r\u202e\udcb0\n")

    assert main() == 2
    captured = capsys.readouterr()
    assert captured.out == "\\udcb0\n"
    assert captured.err == "error: José 张三 \\x1b[2J\\r\\u202e\\udcb0\\n\n"
    assert sys.stdout.errors == "backslashreplace"
