from __future__ import annotations

from pathlib import Path

import pytest

from mjctl.__main__ import run
from mjctl.models.config_file import environment_names, load_environment
from mjctl.models.errors import ConfigError, NotFoundError
from mjctl.models.exit_codes import ExitCode
from mjctl.models.workspace import Workspace
from tests.documents import read_document

GOOD = """\
project: arena
target: local
regions:
  us-east-1:
    zones: [us-east-1a, us-east-1b, us-east-1c]
"""

AWS = (
    GOOD.replace("target: local", "target: aws")
    + """\
aws:
  account_id: "123456789012"
  domain: {name: arena.example.com}
  backup: {copy_region: eu-west-1}
"""
)
NESTED = "[" * 3000 + "]" * 3000
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{this}: &{this} [{','.join([f'*{that}'] * 9)}]\n" for this, that in zip("bcdefghij", "abcdefghi", strict=True)
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "configs").mkdir()
    (tmp_path / "terraform" / "stacks").mkdir(parents=True)
    return Workspace(tmp_path, tmp_path / "home")


def write(workspace: Workspace, text: str, name: str = "test") -> Path:
    path = workspace.configs_dir / f"{name}.yaml"
    path.write_text(text)
    return path


def test_a_good_file_is_read_with_its_defaults(workspace: Workspace) -> None:
    write(workspace, GOOD)
    environment = load_environment(workspace, "test")
    assert environment.name == "test"
    assert environment.game.tick_rate_hz == 20
    assert environment.regions["us-east-1"].zones == ("us-east-1a", "us-east-1b", "us-east-1c")


def test_the_shipped_environments_are_valid() -> None:
    workspace = Workspace.discover(Path(__file__))
    assert "local" in environment_names(workspace)
    for name in environment_names(workspace):
        load_environment(workspace, name)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (GOOD + "colour: red\n", 6, "colour"),
        (GOOD.replace("target: local", "target: moon"), 2, "target"),
        (GOOD.replace("us-east-1c]", "us-east-1b]"), 4, "a zone is listed twice"),
        (GOOD.replace("[us-east-1a, us-east-1b, us-east-1c]", "[]"), 5, "zones"),
        (AWS.replace(", us-east-1c]", "]"), 5, "at least 3 zones"),
        (GOOD + "game:\n  tick_rate_hz: fast\n", 7, "game.tick_rate_hz"),
        (GOOD + "game:\n  tick_rate_hz: 61\n", 7, "game.tick_rate_hz: this field must be at most 60 (found `61`)"),
        (GOOD.replace("target: local", "target: aws") + "local: {tls: true}\n", 6, "local.tls"),
        (GOOD.replace("us-east-1c", "eu-west-1c"), 5, "not a zone of us-east-1"),
        (GOOD + "name: other\n", 6, "the field `name` is not allowed"),
        (GOOD + "project: twice\n", 6, "is written twice (first on line 1)"),
        (GOOD + "local:\n  ports: {mars/api: 8080}\n", 7, "mars/api"),
        (GOOD + "local:\n  ports:\n    us-east-1/apii: 8080\n", 8, "no process `apii`"),
        (GOOD + "local:\n  ports:\n    us-east-1/game-us-east-1d-1: 8080\n", 8, "no process"),
        (GOOD + "local:\n  ports:\n    us-east-1/game-us-east-1a-51: 8080\n", 8, "no process"),
        (
            GOOD + "local:\n  ports:\n    us-east-1/api: 8080\n    us-east-1/worker: 8080\n",
            9,
            "us-east-1/api has port 8080 too",
        ),
        ("project: [\n", 2, "not valid YAML"),
        ("- a\n- b\n", 1, "mapping"),
        ("", 1, "mapping"),
        ("\tproject: x\n", 1, "not valid YAML"),
    ],
)
def test_an_error_names_file_line_and_field(workspace: Workspace, text: str, line: int, words: str) -> None:
    path = write(workspace, text)
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    shown = f"{caught.value.what} {caught.value.where}"
    assert f"{path}:{line}" in shown
    assert words in shown


def test_an_error_names_all_problems_of_a_file(workspace: Workspace) -> None:
    write(workspace, GOOD + "colour: red\nshape: round\n")
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    assert "colour" in caught.value.what
    assert "shape" in caught.value.what


def test_the_error_of_a_missing_environment_names_the_existing_environments(workspace: Workspace) -> None:
    write(workspace, GOOD, "alpha")
    with pytest.raises(NotFoundError) as caught:
        load_environment(workspace, "beta")
    assert "alpha" in (caught.value.hint or "")


def test_a_path_is_rejected_as_the_name_of_an_environment(workspace: Workspace) -> None:
    write(workspace, GOOD)
    with pytest.raises(NotFoundError):
        load_environment(workspace, "../configs/test")


def test_the_error_of_a_missing_project_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MJCTL_PROJECT_DIR", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        Workspace.discover()
    assert "MJCTL_PROJECT_DIR" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("concurrency: !Ref Foo", 6, "tag `!Ref`"),
        ("concurrency: !include other.yaml", 6, "tag `!include`"),
        ("game: !ENV\n  tick_rate_hz: 5", 6, "tag `!ENV`"),
        ("game: !!python/object/apply:os.system [true]", 6, "tag `!!python/object"),
        ("concurrency: !!set {a}", 6, "tag `!!set`"),
        ("concurrency: !!binary aGk=", 6, "tag `!!binary`"),
        ("concurrency: !!map text", 6, "tag `!!map`"),
        ("concurrency: !!int abc", 6, "`abc` is not a whole number"),
        ("concurrency: !!float abc", 6, "`abc` is not a number"),
        ("concurrency: !!bool maybe", 6, "`maybe` is not true or false"),
        ("concurrency: !!null 5", 6, "`5` is not null"),
        ("concurrency: 2024-13-45", 6, "as a date"),
        ("concurrency: 2024-01-15", 6, "date"),
        ("? [a]\n: 1", 6, "a key must be text"),
        ("{{ project }}: 1", 6, "a key must be text"),
        ("game: {{ game }}", 6, "a key must be text"),
        ("game: &x\n  modes: *x", 7, "refers to the value that it is part of"),
        ("drift: &x {ignore: [*x]}", 6, "refers to the value"),
        (f"game: {NESTED}", 6, "nested more than"),
        ("game:\n" + "".join(f"{' ' * depth}a:\n" for depth in range(1, 200)), 26, "nested more than"),
        (LAUGHS, 5, "more than 20000 values"),
        ("concurrency: " + "9" * 5000, 6, "more than 18 digits"),
        ("concurrency: 0" + "7" * 6000, 6, "more than 18 digits"),
        ("concurrency: 1.0e+400", 6, "not a finite number"),
        ("concurrency: .inf", 6, "not a finite number"),
        ("concurrency: .nan", 6, "not a finite number"),
        ('concurrency: "\\UFFFFFFFF"', 6, "cannot be read"),
        ("concurrency: \x01", 6, "not allowed"),
        ("<<: 5", 6, "not valid YAML"),
        ("--- \nproject: b", 6, "not valid YAML"),
        ("concurrency: *nowhere", 6, "not valid YAML"),
        ("concurrency: 010", 6, "YAML reads `010` as the number 8"),
        ("concurrency: 0x10", 6, "as the number 16"),
        ("concurrency: 0b11", 6, "as the number 3"),
        ("concurrency: 1_0", 6, "as the number 10"),
        ("game:\n  modes:\n    a: {seats: 2, duration_seconds: 1:30}", 8, "as the number 90"),
        ("game:\n  modes:\n    a: {seats: 2, duration_seconds: 1:30.5}", 8, "as the number 90.5"),
        ("game:\n  modes:\n    a: {seats: 2, duration_seconds: 1_0.5}", 8, "as the number 10.5"),
        ("game:\n  servers_per_zone: yes", 7, "this field needs a number"),
        ("game:\n  servers_per_zone: on", 7, "found `on`"),
        ("local:\n  ports: {us-east-1/api: yes}", 7, "this field needs a number"),
        ("game:\n  modes:\n    on: {seats: 2, duration_seconds: 2}", 8, "the key `on` is not text"),
        ("game:\n  modes:\n    5: {seats: 2, duration_seconds: 2}", 8, "the key `5` is not text"),
        ("game:\n  modes:\n    ~: {seats: 2, duration_seconds: 2}", 8, "the key `~` is not text"),
        ("game:\n  modes:\n    2024-01-01: {seats: 2, duration_seconds: 2}", 8, "is not text"),
        ("aws:\n  account_id: 123456789012", 7, 'write the value in quotes: "123456789012"'),
        ("aws:\n  account_id: 012345670123", 7, '"012345670123" in quotes'),
        ("game:\n  modes:\n    a: {seats: 2}", 8, "game.modes.a.duration_seconds: this field is required"),
        ('aws:\n  account_id: "12345"', 7, "aws.account_id: this field must be the twelve digits of an AWS account"),
        ("colour: red", 6, "colour: there is no such field; correct its name or remove it"),
    ],
)
def test_the_error_of_unusable_yaml_names_file_and_line(workspace: Workspace, text: str, line: int, words: str) -> None:
    path = write(workspace, GOOD + text + "\n" if text != LAUGHS else LAUGHS)
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    shown = f"{caught.value.what} {caught.value.where}"
    assert f"{path}:{line}" in shown
    assert any(part in f"{shown} {caught.value.hint}" for part in words.split("|"))
    assert len(shown) < 600


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concurrency: many", "concurrency: this field must be a whole number (found `many`)"),
        ("concurrency: 1.5", "concurrency: this field must be a whole number (found `1.5`)"),
        ("concurrency: 0", "concurrency: this field must be at least 1 (found `0`)"),
        ("players_data: perhaps", "players_data: this field must be true or false (found `perhaps`)"),
        ("drift: {ignore: module.api}", "drift.ignore: this field must be a list, e.g. [a, b] (found `module.api`)"),
        ("game: fast", "game: this section must be a mapping (lines of `field: value`) (found `fast`)"),
    ],
)
def test_an_error_says_in_words_what_the_field_must_be(workspace: Workspace, text: str, message: str) -> None:
    path = write(workspace, GOOD + text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    assert caught.value.what == f"{path}:6: {message}"


def test_an_invalid_entry_of_a_list_is_reported_once(workspace: Workspace) -> None:
    path = write(workspace, GOOD.replace("[us-east-1a, us-east-1b, us-east-1c]", "[here]"))
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    zone = "this field must be the name of a zone, e.g. eu-west-1a (found `here`)"
    assert caught.value.what == f"{path}:5: regions.us-east-1.zones.0: {zone}"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("concurrency: 010", "write 8 or 10"),
        ("concurrency: 1_0", "write 10"),
        ("concurrency: 0x10", "write 16"),
        ("drift: {ignore: [1:30]}", "write 90"),
        ("game:\n  modes:\n    on: {seats: 2, duration_seconds: 2}", '"on"'),
    ],
)
def test_the_hint_has_the_spelling_to_write_instead(workspace: Workspace, text: str, written: str) -> None:
    write(workspace, GOOD + text + "\n")
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    assert written in (caught.value.hint or "")


def test_the_quotes_of_the_hint_make_the_file_valid(workspace: Workspace) -> None:
    path = write(workspace, AWS.replace('"123456789012"', "123456789012"))
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    advised = caught.value.what.rpartition("write the value in quotes: ")[2]
    assert advised == '"123456789012"'
    path.write_text(path.read_text().replace("123456789012", advised))
    assert load_environment(workspace, "test").account.account_id == "123456789012"


@pytest.mark.parametrize("text", ["concurrency: 8", "concurrency: +8", "local: {tls: yes}", "local: {tls: off}"])
def test_plain_spellings_are_accepted(workspace: Workspace, text: str) -> None:
    write(workspace, GOOD + text + "\n")
    load_environment(workspace, "test")


@pytest.mark.parametrize("number", ["1.5", "2", "90", "1e2", "+1.0e+2", "30.", "01.5"])
def test_decimal_fractions_are_accepted(workspace: Workspace, number: str) -> None:
    probe = "    probe: {seats: 2, duration_seconds: 2}\n"
    write(workspace, GOOD + f"game:\n  modes:\n{probe}    a: {{seats: 2, duration_seconds: {number}}}\n")
    environment = load_environment(workspace, "test")
    assert environment.game.modes["a"].duration_seconds == float(number)


def test_anchors_and_merge_keys_are_supported(workspace: Workspace) -> None:
    write(
        workspace,
        GOOD
        + "game:\n  modes:\n    probe: &p {seats: 2, duration_seconds: 2}\n"
        + "    quick: {<<: *p, seats: 4}\n    other: *p\n",
    )
    modes = load_environment(workspace, "test").game.modes
    assert (modes["quick"].seats, modes["quick"].duration_seconds, modes["other"].seats) == (4, 2, 2)


@pytest.mark.parametrize("zones", ["[us-east-1a]", "[us-east-1a, us-east-1b]"])
def test_the_local_target_accepts_one_or_two_zones(workspace: Workspace, zones: str) -> None:
    write(workspace, GOOD.replace("[us-east-1a, us-east-1b, us-east-1c]", zones))
    assert load_environment(workspace, "test").regions["us-east-1"].zones


def test_every_process_of_a_region_can_be_pinned(workspace: Workspace) -> None:
    names = ["redis", "postgres", "aws", "api", "worker", "game-us-east-1a-1", "game-us-east-1c-50-ops"]
    pins = "".join(f"    us-east-1/{name}: {8000 + number}\n" for number, name in enumerate(names))
    write(workspace, GOOD + f"local:\n  ports:\n{pins}")
    assert len(load_environment(workspace, "test").local.ports) == len(names)


def test_the_error_of_a_file_that_is_not_utf8_names_the_line(workspace: Workspace) -> None:
    path = workspace.configs_dir / "test.yaml"
    path.write_bytes(GOOD.encode() + b"# \xff\n")
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    assert caught.value.where == f"{path}:6"


def test_the_error_of_thousands_of_invalid_values_has_21_lines(workspace: Workspace) -> None:
    write(workspace, GOOD + "drift: {ignore: [" + ", ".join(["{a: 1}"] * 2000) + "]}\n")
    with pytest.raises(ConfigError) as caught:
        load_environment(workspace, "test")
    assert len(caught.value.what.splitlines()) == 21
    assert "1980 more problems" in caught.value.what


@pytest.mark.parametrize("name", ["a" * 300, "a" * 5000])
def test_a_name_that_is_too_long_for_a_file_is_an_unknown_environment(workspace: Workspace, name: str) -> None:
    write(workspace, GOOD)
    with pytest.raises(NotFoundError) as caught:
        load_environment(workspace, name)
    assert "test" in (caught.value.hint or "")
    assert len(str(caught.value)) < 300


def test_validate_all_reports_every_bad_file(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in {"good": GOOD, "one": GOOD + "colour: red\n", "two": "project: [\n", "zed": GOOD}.items():
        write(workspace, text, name)
    monkeypatch.setenv("MJCTL_PROJECT_DIR", str(workspace.project_dir))
    assert run(["config", "validate", "--all"]) == ExitCode.CONFIG
    text = capsys.readouterr()
    assert text.out.splitlines() == [
        f"configs/{name}.yaml is valid: target local, 1 region" for name in ("good", "zed")
    ]
    assert "one.yaml:6: colour" in text.err
    assert "two.yaml:2" in text.err
    assert run(["config", "validate", "--all", "--output", "json"]) == ExitCode.CONFIG
    entries = {entry["name"]: entry for entry in read_document(capsys.readouterr().out)["environments"]}
    assert {name: entry["valid"] for name, entry in entries.items()} == {
        "good": True, "one": False, "two": False, "zed": True,
    }  # fmt: skip
    assert entries["two"]["error"]["code"] == ExitCode.CONFIG
