import logging

import pytest

from srgan_dist.utils.progress import start_logging
from srgan_dist.utils.terminal import ListedError, lines_of, printable, printable_lines

ATTACK = "cat\x1b[2J\x1b]0;title\x07\x9b31m\r\nerror: fake\u202e\udcff"
SHOWN = r"cat\x1b[2J\x1b]0;title\x07\x9b31m\r\nerror: fake\u202e\xff"


def test_control_characters_are_escaped_and_all_else_stays():
    assert printable(ATTACK) == SHOWN
    assert printable("ünï  çødé ↓ 🐈") == "ünï  çødé ↓ 🐈"
    assert printable_lines("a\tb\nc\x1b") == "a\tb\nc\\x1b"


def test_a_listed_error_keeps_its_lines_apart():
    assert lines_of(ListedError("two files:", ATTACK)) == ("two files:", ATTACK)
    assert lines_of(ValueError(ATTACK)) == (ATTACK,)
    assert "surrogates" in lines_of(UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"))[0]


def test_names_in_log_messages_are_quoted(capsys: pytest.CaptureFixture[str]):
    start_logging(True)

    logging.getLogger("srgan_dist").warning("cannot read %s (%d of %.1f)", ATTACK, 3, 2.5)

    assert capsys.readouterr().err.split("  ", 1)[1] == f"cannot read {SHOWN} (3 of 2.5)\n"
