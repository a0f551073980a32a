"""What the tuner reads from a config, tries on a machine, and writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.serving import AppArgs
from models.errors import ConfigurationError
from scripts import tune
from scripts.benchmark.encoder_rates import EncoderRate
from scripts.tuning import run_tuning
from scripts.tuning.bare_towers import photo_choice, text_choice
from scripts.tuning.config_text import Place, value_at, with_values
from scripts.tuning.descent import Best, Setting, Trial
from scripts.tuning.hardware import Hardware, quota_cores
from scripts.tuning.highest_rate import LEAST_RATE, Held, Probe
from scripts.tuning.knobs import (
    ARGS,
    Found,
    has_room,
    knobs_of,
    places_of,
    powers_of_two,
    setting_of,
    values_of,
)
from scripts.tuning.live_service import kind_of_change, measured
from scripts.tuning.outcome import Outcome, Verified
from scripts.tuning.run_tuning import Options
from scripts.tuning.written import CACHED, EMBED_BATCH, cached_prompts, require_free, tuned_text, write_config
from serve_app.local_config import load_config

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))
LOCAL = next(path for path in CONFIGS if path.name == "local.yaml")
TEXT = LOCAL.read_text("utf-8")


def differences(one: Any, other: Any, place: Place = ()) -> Iterator[Place]:
    """Places at which two documents differ; what is missing in the first is an empty mapping there."""
    if isinstance(other, dict) and isinstance(one or {}, dict):
        for key in {*(one or {}), *other}:
            yield from differences((one or {}).get(key), other.get(key), (*place, key))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (own, its) in enumerate(zip(one, other, strict=True)):
            name = own.get("name", number) if place != ("applications",) and isinstance(own, dict) else number
            yield from differences(own, its, (*place, name))
    elif one != other:
        yield place


def start_of(path: Path) -> Setting:
    return setting_of(yaml.safe_load(path.read_text("utf-8")), load_config(path).args)


MANY = Found(Hardware(16, 64, 0), (1, 2, 4), (8, 16, 32, 64), 100, start_of(LOCAL))


def outcome_of(start: Setting, tuned: Setting) -> Outcome:
    trials = [
        Trial(name, start[name], value, 50, 60.0 if tuned[name] == value else None, [Probe(60, 20, 90, 300)])
        for name, value in tuned.items()
    ]
    rounds = [[Held(50, []), Held(60, [])]]
    return Outcome(100, start, Held(50, []), 0, trials, Best(tuned, 60), Verified(rounds), adopted=True)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
@settings(max_examples=8, deadline=None)  # a file is parsed for each value
@given(data=st.data())
def test_what_is_written_is_valid_and_differs_in_tuned_keys_only(path: Path, data: st.DataObject) -> None:
    text = path.read_text("utf-8")
    document, start = yaml.safe_load(text), start_of(path)
    tuned = {
        knob.name: data.draw(st.sampled_from([*knob.values, start[knob.name]]), knob.name)
        for knob in knobs_of(start, MANY, busy=0.5)
    }
    written = tuned_text(text, outcome_of(start, tuned), {CACHED: (123, "why")}, ["by a test"])
    changed = yaml.safe_load(written)
    expected = {place for name in tuned if tuned[name] != start[name] for place in places_of(name, document)}
    assert set(differences(document, changed)) <= expected | {CACHED}
    for name, value in tuned.items():
        if value != start[name]:
            assert value_at(changed, places_of(name, document)[0]) == value
    assert value_at(changed, CACHED) == 123
    comments = [line.partition("# ")[2] for line in text.splitlines() if "# " in line]
    assert all(f"# {comment}" in written for comment in comments)


def test_what_is_written_starts_with_where_it_comes_from_and_says_why(tmp_path: Path) -> None:
    start = start_of(LOCAL)
    outcome = outcome_of(start, {**start, "calls.text_calls": 8})
    output = tmp_path / "tuned.yaml"
    write_config(tuned_text(TEXT, outcome, {EMBED_BATCH: (8, "as before")}, ["Machine: here"]), output)
    assert load_config(output).args.calls.text_calls == 8
    lines = output.read_text("utf-8").splitlines()
    assert lines[0] == "# Machine: here"
    place = next(number for number, line in enumerate(lines) if "text_calls: 8" in line)
    assert lines[place - 1].strip() == "# tuned: was 4; 8 held 60/s where 4 held 50/s"
    assert lines[place].endswith(
        "text_calls: 8 # calls to the TextEmbedder at a time; twice its replicas, or more"
    )


def test_what_was_not_better_is_not_written() -> None:
    start = start_of(LOCAL)
    outcome = outcome_of(start, {**start, "calls.text_calls": 8})
    outcome.adopted = False
    written = tuned_text(TEXT, outcome, {}, [])
    assert yaml.safe_load(written) == yaml.safe_load(TEXT)
    assert (
        "# tuned: kept at 4; 8 held 60/s where 4 held 50/s, but not when both were asked in turns" in written
    )
    assert outcome.rate == 50


def test_an_invalid_config_never_appears(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        write_config(with_values(TEXT, {(*ARGS, "calls", "no_such"): 1}), tmp_path / "tuned.yaml")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("a: 1\n", ("b",), 2),
        ("a:\n  b: {}\n", ("a", "b", "c"), 2),
        ("a:\n  b: {c: 1} # why\n", ("a", "b", "d", "e"), 0.5),
        ("a:\n  - name: x\n    b: {c: 1}\n  - {name: y}\n", ("a", "y", "c"), 3),
        ("a:\n  - name: x\n    b:\n      c: 1\n", ("a", "x", "d"), 3),
        ("a:\n  b:\n    c: 1\n", ("a", "d"), 3),
        ("a:\nb: 1", ("a", "c"), 3),
        ("a: null # none\nb: 1", ("a", "c"), 3),
        ("a: [1, 2]\n", ("a", 1), 3),
        ("a: 1", ("b",), None),
    ],
)
def test_a_value_can_be_set_wherever_it_stands(text: str, place: Place, value: Any) -> None:
    changed = with_values(text, {place: value})
    before, after = yaml.safe_load(text), yaml.safe_load(changed)
    assert value_at(after, place) == value
    assert set(differences(before, after)) <= {place}
    assert text.count("#") == changed.count("#")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_configs_own_setting_is_what_it_says(path: Path) -> None:
    document, start = yaml.safe_load(path.read_text("utf-8")), start_of(path)
    for name, value in start.items():
        said = value_at(document, places_of(name, document)[0])
        assert said in (value, None), name
    assert values_of(start, start, document) == {}
    assert {knob.name for knob in knobs_of(start, MANY, busy=0.5)} == set(start)


def test_a_config_that_lists_no_deployments_has_only_knobs_of_its_arguments(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text("applications:\n  - {name: fashion, import_path: 'serve_app.main:build_app'}\n")
    assert set(start_of(path)) == {
        "text_embedder.threads",
        "calls.text_calls",
        "calls.search_calls",
        "calls.per_call",
    }
    start = start_of(path)
    outcome = outcome_of(start, {**start, "calls.text_calls": 8})
    write_config(tuned_text(path.read_text(), outcome, {CACHED: (5, "why")}, ["by a test"]), path)
    assert load_config(path).args.calls.model_dump() == {
        **load_config(LOCAL).args.calls.model_dump(),
        "text_calls": 8,
        "cached_prompts": 5,
    }


def test_the_least_of_replicas_is_raised_and_the_most_never_lowered() -> None:
    document, start = yaml.safe_load(TEXT), start_of(LOCAL)
    more = values_of({**start, "TextEmbedder replicas": 2}, start, document)
    assert {place[-1]: value for place, value in more.items()} == {"min_replicas": 2, "max_replicas": 2}
    document["applications"][0]["deployments"][1]["autoscaling_config"]["max_replicas"] = 5
    more = values_of({**start, "TextEmbedder replicas": 2}, start, document)
    assert {place[-1]: value for place, value in more.items()} == {"min_replicas": 2, "max_replicas": 5}


def test_shares_and_threads_must_fit_the_machine() -> None:
    document, start, two = yaml.safe_load(TEXT), start_of(LOCAL), Hardware(2, 24, 0)
    assert has_room(start, document, two)
    assert has_room({**start, "text_embedder.threads": 2}, document, two)
    assert not has_room({**start, "text_embedder.threads": 2, "TextEmbedder replicas": 2}, document, two)
    assert has_room({**start, "Ingress replicas": 6}, document, two)
    assert not has_room({**start, "Ingress replicas": 8}, document, two)


def test_shares_of_a_gpu_must_fit_too() -> None:
    path = LOCAL.with_name("gpu.yaml")
    document, start = yaml.safe_load(path.read_text("utf-8")), start_of(path)
    assert has_room({**start, "TextEmbedder replicas": 4}, document, Hardware(32, 64, 1))
    assert not has_room({**start, "TextEmbedder replicas": 8}, document, Hardware(32, 64, 1))
    assert has_room({**start, "TextEmbedder replicas": 8}, document, Hardware(32, 64, 2))
    assert not has_room(start, document, Hardware(32, 64, 0))


def test_it_is_measured_with_replicas_held_and_no_limits() -> None:
    application = yaml.safe_load(measured(TEXT))["applications"][0]
    assert all("autoscaling_config" not in own for own in application["deployments"])
    assert value_at(application, ("deployments", "ImageEmbedder", "num_replicas")) == 1
    assert application["args"]["limits"]["key_requests_per_minute"] is None
    assert application["args"]["limits"]["photos"] == 1_000_000


def rate(threads: int, batch: int, per_s: float) -> EncoderRate:
    return EncoderRate(str(threads), batch, per_s, 1000 * batch / per_s, 1.0)


def test_batches_beyond_the_limit_and_threads_that_gain_nothing_are_left_out() -> None:
    speeds = {1: 400.0, 2: 540.0, 4: 560.0}
    rates = [rate(threads, size, own) for threads, own in speeds.items() for size in (1, 8, 16, 32, 64)]
    found = text_choice(rates, slo_ms=70)
    assert found.threads == (1, 2)
    assert found.batches == (8, 16, 32)  # 64 take 114 ms
    assert any("not 64" in line for line in found.lines)
    assert any("threads: not 4" in line for line in found.lines)


def test_the_image_tower_keeps_what_is_there_unless_another_is_clearly_faster() -> None:
    one = [rate(1, 4, 30), rate(1, 8, 42), rate(1, 16, 45), rate(1, 24, 45)]
    two = [*one, rate(2, 8, 70), rate(2, 16, 88), rate(2, 24, 89)]
    choices = [photo_choice(one, 2, 1, 8), photo_choice(one, 2, 1, 4), photo_choice(two, 1, 1, 8)]
    assert [(own.threads, own.batches) for own in choices] == [((1,), (8,)), ((1,), (16,)), ((2,), (16,))]
    slow = [*one, rate(2, 8, 46), rate(2, 16, 47)]
    assert photo_choice(slow, 1, 1, 8).threads == (1,)
    assert photo_choice(slow, 1, 8, 24).threads == (1,)


@pytest.mark.parametrize(
    ("written", "cores"),
    [("max 100000\n", None), ("", None), ("200000 100000\n", 2), ("150000 100000", 1), ("50000 100000", 1)],
)
def test_a_containers_share_of_the_cores(written: str, cores: int | None) -> None:
    assert quota_cores(written) == cores


def test_the_cache_is_shared_by_the_ingress_replicas() -> None:
    assert cached_prompts(20, 1) == 10_240
    assert cached_prompts(20, 2) == 5_120
    assert [powers_of_two(most) for most in (0, 1, 3, 8)] == [(1,), (1,), (1, 2), (1, 2, 4, 8)]


def test_a_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "tuned.yaml"
    require_free(path, force=False)
    assert not list(tmp_path.iterdir())
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match="--force"):
        require_free(path, force=False)
    require_free(path, force=True)
    with pytest.raises(ConfigurationError, match="cannot be written"):
        require_free(tmp_path / "nowhere" / "tuned.yaml", force=False)


@pytest.mark.parametrize("limit", ["0", "-5", "fast", "inf", "nan"])
def test_a_limit_is_a_number_above_0(
    limit: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tune", f"--slo-p99-ms={limit}"])
    with pytest.raises(SystemExit):
        tune.main()
    assert "is not a number above 0" in capsys.readouterr().err


def test_an_unknown_config_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["tune", "--slo-p99-ms", "100", "--config", "no.yaml", "--output", str(tmp_path / "tuned.yaml")]
    monkeypatch.setattr(sys, "argv", words)
    assert tune.main() == 2
    assert "The config no.yaml cannot be read" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_more_replicas_are_tried_first_where_cores_are_free() -> None:
    start = start_of(LOCAL)
    free, busy = (knobs_of(start, MANY, share) for share in (0.4, 0.9))
    assert free[0].name == "Ingress replicas"
    assert busy[-1].name == "TextEmbedder replicas"
    assert {one.name for one in free} == {one.name for one in busy}


def test_the_search_index_is_tuned_where_prompts_do_not_pass_it_by() -> None:
    document = yaml.safe_load(LOCAL.read_text("utf-8"))
    direct = AppArgs()
    through = AppArgs.model_validate({"calls": {"direct_hits": 0}})
    more = setting_of(document, through).keys() - setting_of(document, direct).keys()
    assert {name.split()[0] for name in more} == {"SearchIndex"}
    assert len(more) == 3


def test_only_some_may_be_tried(tmp_path: Path) -> None:
    few = replace(MANY, names=["calls.text_calls"])
    assert [one.name for one in knobs_of(start_of(LOCAL), few, busy=0.5)] == ["calls.text_calls"]
    options = Options(100, LOCAL, None, 1, 1, 100, None, only=["text_calls"])
    with pytest.raises(
        ConfigurationError, match=r"'text_calls' is nothing to try here\. .*calls\.text_calls"
    ):
        run_tuning.tune(tmp_path, options)


def test_a_limit_that_cannot_be_met_is_told_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Held(None, [Probe(30, 60, 200, 300), Probe(LEAST_RATE, 41.2, 80, 150)])
    found = run_tuning.Tuned(Outcome(20, start_of(LOCAL), slow), {}, MANY.hardware)
    monkeypatch.setattr(tune, "tune", lambda *_: found)
    monkeypatch.setattr(sys, "argv", ["tune", "--slo-p99-ms=20", f"--output={tmp_path / 'tuned.yaml'}"])
    assert tune.main() == 1
    told = capsys.readouterr().err
    assert "A p99 of 20 ms cannot be met here: even at 4 requests/s half take 41 ms" in told
    assert "one in a hundred 80 ms. Nothing was written. Give --slo-p99-ms 120 or more" in told
    assert not list(tmp_path.iterdir())


def test_what_a_change_takes_depends_on_its_kind() -> None:
    start = start_of(LOCAL)
    kinds = {
        "TextEmbedder max_batch_size": "live",
        "Ingress replicas": "replicas",
        "calls.per_call": "restart",
    }
    assert {name: kind_of_change(start, {**start, name: 99}) for name in kinds} == kinds
