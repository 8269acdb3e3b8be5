import pytest

from srgan_dist.cli.app import COMMANDS, main
from srgan_dist.cli.train import COMMON, train_main
from srgan_dist.training.preset_names import SUMMARIES

SEVERAL = {"pack": "folder", "shards": "show", "track": "sync", "train": "srgan-x4", "config": "srgan-x4"}


def shown(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as stop:
        train_main(args)
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_help_of_a_preset_is_a_screen_of_the_flags_that_people_change(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")

    text = shown(capsys, name, "--help")

    flags = [line.split()[0] for line in text.splitlines() if line.startswith("  --")]
    assert flags[:4] == ["--data.shards", "--run-dir", "--data.batch", "--data.hr-crop"]
    assert 10 <= len(flags) <= len(COMMON)
    assert "--dry-run" in flags
    assert "--help-all" in text
    assert max(map(len, text.splitlines())) < 80
    assert len(text.splitlines()) < 60


def test_all_flags_are_grouped_with_those_of_the_command_first(capsys: pytest.CaptureFixture[str]):
    text = shown(capsys, "srgan-x4", "--help-all")

    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[:3] == ["Flags:", "general:", "data (Training data):"]
    assert text.index("--dry-run") < text.index("--config") + 1000 < text.index("general:") + 1000
    assert "--generator.type srresnet|rrdbnet|compact|lightedsr|spandrel" in text
    assert "--generator.growth-channels" not in text


def test_the_help_follows_the_classes_that_are_chosen(capsys: pytest.CaptureFixture[str]):
    text = shown(capsys, "srgan-x4", "--generator.type", "rrdbnet", "--help-all")

    assert "--generator.growth-channels INT" in text


@pytest.mark.parametrize("name", [c for c in COMMANDS if c != "mlflow"])
def test_the_help_of_a_command_has_no_box_and_no_empty_group(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main([name, *([SEVERAL[name]] if name in SEVERAL else []), "--help"])

    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert text.startswith("usage: ")
    assert "─" not in text
    assert "0 options" not in text


def test_a_switch_is_shown_without_a_value_and_the_way_it_changes(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["shards", "push", "--help"])

    text = capsys.readouterr().out
    assert "  --no-private\n" in text
    assert "FOLDER --to TEXT" in text.splitlines()[0]


LISTS = [[], ["train"], ["config"], ["pack"], ["shards"], ["track"], ["mlflow", "--help"]]


@pytest.mark.parametrize("columns", [50, 80])
@pytest.mark.parametrize("args", LISTS, ids=" ".join)
def test_a_list_fits_the_terminal(
    columns: int, args: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", str(columns))

    main([*args, *([] if "--help" in args else ["--help"])])

    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) < columns


def test_each_command_is_one_line_at_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")

    main(["--help"])

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(COMMANDS)
