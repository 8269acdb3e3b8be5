import pytest

from srgan_dist.utils.untrusted import is_file_name


@pytest.mark.parametrize(
    "name", ["a:b", "C:", "NUL", "nul.tar", "Com1 .txt", "LPT\u00b2.log", "a.", "a ", "a?", 'a"', "a|b", "<a>", "a*"]
)
def test_a_name_that_windows_does_not_take_or_takes_for_something_else_is_none(name: str):
    assert not is_file_name(name)


@pytest.mark.parametrize("name", ["a", ".a", "a.b.tar", "null", "console.txt", "com10", "a b", "画.png", "-", "a'b"])
def test_other_names_are(name: str):
    assert is_file_name(name)
