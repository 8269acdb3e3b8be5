import pytest

from srgan_dist.utils.status_line import Number, Status, duration, live_line, log_line

NUMBERS = (
    Number("loss 0.0123", "0.0123"),
    Number("PSNR 27.34 dB", "27.34 dB"),
    Number("312 crops/s", "312/s"),
    Number("D loss 0.61", ""),
    Number("D accuracy 71%", ""),
)
STATUS = Status("SRGAN", 112_400, 300_000, NUMBERS, 8000)
LONGEST = Status("SRResNet", 1_099_999, 1_200_000, NUMBERS, 360_000)


@pytest.mark.parametrize("status", [STATUS, LONGEST], ids=["SRGAN", "SRResNet"])
def test_80_columns_hold_every_number_and_a_bar(status: Status):
    line = live_line(status, 79)

    for part in (f"{status.step}/{status.total}", status.percent, "loss 0.0123", "27.34 dB", "312", "/s", "|"):
        assert part in line
    assert duration(status.left or 0) in line
    assert len(line) <= 79


@pytest.mark.parametrize("width", [1, 10, 40, 59, 79, 99, 199])
@pytest.mark.parametrize("status", [STATUS, LONGEST, Status("x", 0, 0), Status("L" * 300, 1, 2)])
def test_no_line_is_longer_than_the_terminal(status: Status, width: int):
    assert len(live_line(status, width)) <= width


def test_60_columns_hold_every_number_in_its_short_form():
    line = live_line(STATUS, 59)

    assert line == "SRGAN  37% 112k/300k  0.0123  27.34 dB  312/s  2h13m"


def test_a_wide_terminal_shows_the_rest_too():
    assert all(number.text in live_line(STATUS, 199) for number in NUMBERS)


def test_what_is_not_known_is_not_shown():
    line = live_line(Status("SRGAN", 5, 10, (Number("312 crops/s", "312/s"),)), 79)

    assert "loss" not in line
    assert "dB" not in line
    assert "left" not in line


def test_a_terminal_without_unicode_gets_ascii():
    assert live_line(STATUS, 79, ascii_only=True).isascii()


def test_an_activity_stands_where_the_bar_was():
    line = live_line(STATUS._replace(activity="validation"), 99)

    assert "validation" in line
    assert "|" not in line
    assert len(line) <= 99


def test_a_log_file_has_all_numbers():
    wanted = "SRGAN  step 112400/300000 (37%)  loss 0.0123  PSNR 27.34 dB  312 crops/s  D loss 0.61  D accuracy 71%"

    assert log_line(STATUS) == f"{wanted}  2h13m left"


def test_a_line_that_stays_on_a_terminal_fits_it():
    assert log_line(STATUS, 69) == "SRGAN  37% 112400/300000  loss 0.0123  27.34 dB  312 crops/s  2h13m"
    assert log_line(STATUS, 300) == log_line(STATUS)
    assert len(log_line(STATUS, 20)) == 20


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (59.4, "59s"), (59.6, "1m00s"), (3599, "59m59s"), (8000, "2h13m"), (90_000, "1d01h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str):
    assert duration(seconds) == text


def test_only_the_end_is_100_percent():
    assert Status("x", 999_999, 1_000_000).percent == "99%"
    assert Status("x", 10, 10).percent == "100%"
