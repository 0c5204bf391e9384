"""What is asked of XLA's compiler: by chip, by the configuration, and by neither where it is not known."""

import dataclasses
import functools

import jax
import pytest

from t5lite.core.errors import ConfigError
from t5lite.partitioning import PartitioningConfig, compiler_options, make_partitioner
from t5lite.partitioning.compiler_options import TABLE
from t5lite.planning.hardware.topology import compile_only_devices, parse_topology

WINDOWED = "xla_jf_spmd_threshold_for_windowed_einsum_mib"


def partitioner(*given, devices=None, **settings):
    config = PartitioningConfig(**settings, compiler_options=given)
    return make_partitioner(config, jax.devices()[:1] if devices is None else devices)


@functools.cache
def slice_of(chip):
    return compile_only_devices(parse_topology(f"{chip}:2x2"))


@pytest.mark.parametrize("chip", ["v5e", "v6e"])
def test_a_tpus_compiler_knows_the_whole_table(chip):
    options = dict(partitioner(devices=slice_of(chip)).compiler_options)
    assert options == {each.name: each.value for each in TABLE if each.platform == "tpu"}
    assert options[WINDOWED] == "1000000"


def test_nothing_is_asked_of_a_compiler_that_the_table_does_not_name():
    assert partitioner().compiler_options == ()
    assert {each.platform for each in TABLE} <= {"tpu", "gpu"}


def test_what_is_given_is_asked_for_in_the_place_of_the_tables():
    options = partitioner((WINDOWED, "7"), devices=slice_of("v5e")).compiler_options
    assert [value for name, value in options if name == WINDOWED] == ["7"]


def test_what_the_environment_names_is_left_to_it(monkeypatch):
    monkeypatch.setenv("LIBTPU_INIT_ARGS", f"--xla_other=1 --{WINDOWED}=7")
    assert WINDOWED not in dict(partitioner(devices=slice_of("v5e")).compiler_options)


def test_what_a_version_of_the_compiler_does_not_know_is_left_out_and_said_once(monkeypatch, caplog):
    stranger = dataclasses.replace(TABLE[0], name="xla_of_another_version")
    before = partitioner(devices=slice_of("v5e")).compiler_options
    monkeypatch.setattr(compiler_options, "TABLE", (stranger, *TABLE))
    for _ in range(2):
        assert partitioner(devices=slice_of("v5e")).compiler_options == before
    assert [each.getMessage() for each in caplog.records] == [
        "one of t5lite's compiler options is left out: No such compile option: 'xla_of_another_version'"
    ]


def test_a_refusal_in_other_words_stops_nothing(monkeypatch):
    """Of an option of the table: another compiler, or plugin, may say it in its own."""

    def refuse(*_):
        raise jax.errors.JaxRuntimeError("FAILED_PRECONDITION: not here")

    caches = (compiler_options._known, compiler_options._refusal)
    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    for cache in caches:
        cache.cache_clear()
    assert partitioner(devices=slice_of("v5e")).compiler_options == ()
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("xla_nope", "1"), "partitioning.compiler_options for cpu: No such compile option: 'xla_nope'"),
        (("xla_allow_excess_precision", "seven"), "'seven' is not a valid bool value"),
        ((WINDOWED, "1"), "No such compile option"),
    ],
)
def test_what_is_given_and_not_known_is_one_line(option, message):
    with pytest.raises(ConfigError, match=message) as error:
        partitioner(option)
    assert "\n" not in str(error.value)
