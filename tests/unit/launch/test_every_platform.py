"""The contract of every platform: the recipe reaches training word for word, and the scripts are sound."""

import base64
import dataclasses
import json
import re
import shlex
import subprocess

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from t5lite import run_config
from t5lite.core.errors import ConfigError
from t5lite.core.exit_codes import ExitCode
from t5lite.launching import exit_policy
from t5lite.launching.platforms import PLATFORMS
from t5lite.launching.template import fill
from tests.launch_jobs import OPTIONS, linter, make_job, platform

EVERY = pytest.mark.parametrize("name", PLATFORMS)
WORDS = st.lists(
    st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12)
    | st.sampled_from(
        ["$(touch x)", "`id`", "a'b", 'c"d', "$HOME", "$$", "%n", "@NAME@", "\\", "-n", "", "~", "!x"]
    ),
    max_size=4,
)


def shell_scripts(name: str, text: str) -> dict[str, str]:
    """Return a rendered file's scripts, those inside it too."""
    if name == "gke":
        return {}
    scripts = {name: text}
    if name == "tpu":
        scripts["startup"] = (
            re.search(r"<<'T5LITE_STARTUP'\n(.*)\nT5LITE_STARTUP\n", text, re.DOTALL)[1] + "\n"
        )
        scripts["train"] = re.search(r"<<'T5LITE_TRAIN'\n(.*?)T5LITE_TRAIN\n", text, re.DOTALL)[1]
    if name == "xpk":
        encoded = re.search(r"echo ([A-Za-z0-9+/=]+) \| base64", text)[1]
        scripts["host"] = "#!/usr/bin/env bash\n" + base64.b64decode(encoded).decode()
    if name == "slurm":
        scripts["task"] = "#!/usr/bin/env bash\n" + re.search(r"\ntask='\n(.*?)\n'\n", text, re.DOTALL)[1]
    if name == "ssh":
        (command,) = shlex.split(
            re.search(r"^host=('.*?)\nconfig=\$\(cat", text, re.DOTALL | re.MULTILINE)[1]
        )
        scripts["host"] = "#!/usr/bin/env bash\n" + shlex.split(command)[2]
    return scripts


def arrived_config(name: str, text: str) -> str:
    """Return the configuration that a rendered file brings along."""
    if name == "gke":
        return next(yaml.safe_load_all(text))["data"]["config.json"].removesuffix("\n")
    script = next(script for script in shell_scripts(name, text).values() if "<<'T5LITE_CONFIG'" in script)
    if name == "xpk":
        script = shell_scripts(name, text)["host"]
    return re.search(r"<<'T5LITE_CONFIG'.*?\n(.*?)\nT5LITE_CONFIG\n", script, re.DOTALL)[1]


def arrived_words(name: str, text: str) -> list[str]:
    """Return the further words of ``t5lite train``, as a real bash takes them apart."""
    if name == "gke":
        (container,) = list(yaml.safe_load_all(text))[1]["spec"]["replicatedJobs"][0]["template"]["spec"][
            "template"
        ]["spec"]["containers"]
        return [_expanded_by_kubernetes(word) for word in container["args"]]
    holder = {"tpu": "train", "xpk": "host", "ssh": "host"}.get(name, name)
    (line,) = [
        line
        for line in shell_scripts(name, text)[holder].splitlines()
        if "-first" in line and "-last" in line
    ]
    words = re.search(r"-first.*-last", line)[0]
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {words}"],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    return done.stdout.split("\0")[:-1]


def _expanded_by_kubernetes(word: str) -> str:
    """Return an argument as the kubelet hands it over: ``$$`` is ``$``, ``$(NAME)`` a variable's value."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda match: "$" if match[0] == "$$" else "EXPANDED", word)


@EVERY
def test_the_configuration_arrives_whole(name):
    job = make_job("--seed", "7", "--data.store", 'gs://bucket/it\'s $(here) `x` "y" \\ ü')
    text = platform(name).render(job)
    assert run_config.from_json(arrived_config(name, text)) == job.config


@EVERY
@settings(max_examples=12)
@given(words=WORDS)
def test_every_word_reaches_training_as_it_was_given(name, job, words):
    words = ("-first", *words, "-last")
    text = platform(name).render(dataclasses.replace(job, train_arguments=words))
    assert tuple(arrived_words(name, text)) == words


@EVERY
def test_scripts_pass_shellcheck(name, job, tmp_path):
    text = platform(name).render(job)
    paths = []
    for part, script in shell_scripts(name, text).items():
        path = tmp_path / f"{part}.sh"
        path.write_text(script)
        paths.append(path)
    if paths:
        done = subprocess.run(
            [linter("shellcheck"), "--shell=bash", *paths], capture_output=True, text=True, check=False
        )
        assert done.stdout == ""


@EVERY
def test_nothing_of_the_template_is_left(name, job):
    assert not re.search(r"@[A-Z_]+@", platform(name).render(job))


@EVERY
def test_the_policy_is_that_of_the_exit_codes(name, job):
    """Every final code is named where restarts are decided; no other is."""
    text = platform(name).render(job)
    final = {int(code) for code in ExitCode if not code.restarts}
    if name == "xpk":  # which names what is restarted; a signal's code always is
        named = {int(code) for code in re.search(r"--restart-on-exit-codes=(\S+)", text)[1].split(",")}
        assert named == {code for code in ExitCode if code.restarts and code < 127} | {1}
        return
    pattern = {
        "gke": r"values: \[(.*)\]",
        "tpu": r"RestartPreventExitStatus=(.*)",
        "slurm": r"\n  ([0-9|]+)\) exit",
        "ssh": r"case \$1 in ([0-9|]+)\)",
        "local": r"case \$1 in ([0-9|]+)\)",
    }[name]
    assert {int(code) for code in re.findall(r"\d+", re.search(pattern, text)[1])} | {0} == final


def test_a_mistake_outranks_every_signal():
    """A task of Slurm that must not be restarted reports above the codes of those that are killed with it."""
    assert all(code + 200 > 128 + 64 and code + 200 < 256 for code in exit_policy.MISTAKES)


@pytest.mark.parametrize(
    "bad", ["", "My_Run", "a" * 41, "-a", "a-", "1a", "a b", "a.b", "a'b", "a\n", "é", "$(x)", "a/b"]
)
def test_a_name_that_no_host_can_have_is_refused(bad):
    with pytest.raises(ConfigError, match="RFC 1123"):
        make_job(name=bad)


@pytest.mark.parametrize("bad", ["a\nb", "a\0b", "a\rb", "\x1b[0m", "\x85", "\udcff"])
@pytest.mark.parametrize("field", ["train_arguments", "flags"])
def test_a_word_that_does_not_reach_a_host_unharmed_is_refused(field, bad):
    with pytest.raises(ConfigError, match="do not reach a host unharmed"):
        make_job(**{field: (bad,)})


def test_a_value_is_not_read_as_a_template_again():
    text = fill("xpk_host.sh", NAME="x", CONFIG="@ARGUMENTS@", ARGUMENTS=" x")
    assert "@ARGUMENTS@" in text


@pytest.mark.parametrize("values", [{"CONFIG": ""}, {"CONFIG": "", "ARGUMENTS": "", "MORE": ""}])
def test_template_and_caller_agree_on_the_places(values):
    with pytest.raises(KeyError, match=r"xpk_host\.sh"):
        fill("xpk_host.sh", **values)


def test_options_are_known_for_every_platform():
    assert OPTIONS.keys() == PLATFORMS.keys()
    assert json.loads(make_job().config_json)["run_dir"].startswith("gs://")


@EVERY
def test_a_process_that_is_started_again_knows_its_predecessor(name, job):
    """By the job's name, which a lease holds; Slurm has one of its own (``SLURM_JOB_ID``)."""
    parts = [platform(name).render(job), *shell_scripts(name, platform(name).render(job)).values()]
    assert name == "slurm" or any("T5LITE_JOB" in part for part in parts)


def test_a_name_that_yaml_takes_for_something_else_stays_a_name():
    for word in ("on", "null", "yes", "e1"):
        config, jobset = yaml.safe_load_all(platform("gke").render(make_job(name=word)))
        pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
        named = (config["metadata"], jobset["metadata"], pod["volumes"][0]["configMap"])
        assert [each["name"] for each in named] == [word] * 3
        assert pod["containers"][0]["env"] == [{"name": "T5LITE_JOB", "value": word}]
