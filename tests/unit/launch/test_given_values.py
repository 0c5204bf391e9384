"""What a user gives a platform is refused in a line, or arrives as it is: no shell and no YAML reads it."""

import contextlib
import dataclasses
import re
import shlex
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t5lite.adapters import Base, LoRA
from t5lite.core.errors import ConfigError
from t5lite.launching import addresses, grammars
from t5lite.launching.addresses import check_places
from t5lite.run_config import InitializeFrom
from t5lite.run_origins import ContinueFrom
from tests.launch_jobs import OPTIONS, Programs, linter, make_job, platform

DIGEST = "sha256:" + "0123456789abcdef" * 4
INSTALLED = {
    text: [text]
    for text in (
        "t5lite",
        "t5lite[tpu,gcs]>=0.1,<2",
        "t5lite [tpu] == 1.0.*",
        "https://h/t5lite-1-py3-none-any.whl",
        "t5lite[tpu,gcs] @ git+https://h/t5lite@c0ffee",
        "t5lite>=1; (python_version >= '3.11' and sys_platform not in \"a -f b\") or os_name=='$(x)'",
    )
} | {
    "t5lite[tpu] -f https://h/libtpu_releases.html": ["t5lite[tpu]", "-f", "https://h/libtpu_releases.html"],
    "t5lite [tpu] == 1.* --index-url=https://u:$p'q@h/simple?a&b;c --pre -i file:///a": [
        *("t5lite [tpu] == 1.*", "--index-url=https://u:$p'q@h/simple?a&b;c", "--pre", "-i", "file:///a"),
    ],
    "t5lite @ https://h/x ; os_name == 'posix'  --extra-index-url  http://h --find-links https://h/$(x)`": [
        *("t5lite @ https://h/x ; os_name == 'posix'", "--extra-index-url", "http://h"),
        *("--find-links", "https://h/$(x)`"),
    ],
}
"""What ``--package`` takes, and the words that reach pip."""
NAMES = {
    grammars.IMAGE: (
        ["x", "gcr.io/p/t5lite:1", "localhost:5000/a/t5lite", f"Host.example/a__b/c--d.e:V_1.0@{DIGEST}"],
        [
            "x y",
            "",
            "-x",
            "X",
            "x:",
            "a//b",
            "/a",
            "gs://b/x",
            "é",
            "x\n",
            "a@sha256:12",
            'a"b',
            "a" * 401,
            "$(a)",
        ],
    ),
    grammars.CLUSTER: (["pods", "a", "p-1"], ["Pods", "1a", "a-", "a_b", "a b", "", "a" * 41]),
    grammars.ZONE: (
        ["us-west4-a", "northamerica-northeast1-b", "us-central1-ai1a"],
        ["us-west4", "us", "US-west4-a", "us-west4-a ", "", "us-west٤-a"],
    ),
    grammars.PROJECT: (
        ["my-project-1", "a.example:my-project", "123456789012"],
        ["My-Project", "short", "a-project-", "", "a b", "p" * 31],
    ),
    grammars.RUNTIME_VERSION: (
        ["v2-alpha-tpuv6e", "tpu-vm-tf-2.13.0-pod-pjrt"],
        ["", "v2 alpha", "V2", "-a"],
    ),
    grammars.PACKAGE: (
        [*INSTALLED],
        [
            "",
            "-r x",
            "--index-url=http://x",
            "t5lite jax",
            "./t5lite",
            *("t5lite; x", "t5lite; python_version", "t5lite; python_version>'3", "t5lite; 'a'=='b' jax"),
            *(
                "t5lite -f x",
                "t5lite -f",
                "t5lite --index-url gs://b/x",
                "t5lite -r https://h/r",
                "t5lite --pre=1",
            ),
            *("t5lite --prefix https://h", "t5lite -f https://h x", "t5lite\n--pre", "--pre t5lite"),
            "t5lite[tpu",
            "gs://b/x.whl",
        ],
    ),
    grammars.PROGRAM: (["t5lite", "/opt/a b/t5lite", "if", "é=1"], ["", " ", "-x", "~/bin/t5lite", "a\nb"]),
}
"""Of every grammar, names and what is none."""
PROGRAMS = ["t5lite", "if", "time", "!", "a=b/c", "it's", "a b/t5lite", "$(x)", "\\", "é", "[0]=x", '"', "#"]
FLAGS = st.lists(
    st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=8)
    | st.sampled_from(["--a=b c", "a\\b", "$(x)", "it's", '"', "#", "\\", "~", "[1]=x", "'\\''", "-"]),
    max_size=3,
).map(tuple)


@pytest.mark.parametrize("grammar", NAMES, ids=lambda grammar: grammar.what)
def test_a_grammar_takes_names_and_nothing_else(grammar):
    names, others = NAMES[grammar]
    for name in (None, *names, *(example.strip("'") for example in grammar.example.split(" or "))):
        grammar.check("--option", name)
    for other in others:
        with pytest.raises(ConfigError, match=f"--option .*{re.escape(grammar.what)}") as refusal:
            grammar.check("--option", other)
        assert "\n" not in str(refusal.value)


def test_every_option_that_is_a_text_has_a_grammar():
    named = {value for value in vars(grammars).values() if isinstance(value, grammars.Grammar)}
    assert named == NAMES.keys()
    for name, options in OPTIONS.items():
        for option in [option for option in options if option.startswith("--")]:
            words = list(options)
            words[words.index(option) + 1] = "x y\n'$(z)"
            with pytest.raises(ConfigError):
                platform(name, *words)


@pytest.mark.parametrize("bucket", ["B", "ab", "My-Bucket", "-ab", "a b", "ab-", "a" * 223, "bücket", "a\nb"])
@pytest.mark.parametrize("option", ["--run-dir", "--data.store", "--evaluations.heldout.store"])
def test_a_bucket_that_no_service_names_so_is_refused(bucket, option):
    with pytest.raises(ConfigError, match=r"no bucket is called .*3 characters or more$"):
        check_places(make_job(option, f"gs://{bucket}/x").config, None)


def test_a_base_that_the_machines_do_not_see_is_refused_with_the_adapter_in_a_bucket(monkeypatch):
    words = [
        word for name in ("data.store", "evaluations.heldout.store") for word in (f"--{name}", "gs://abc/x")
    ]
    source = InitializeFrom(run="gs://bucket/adapter")
    config = dataclasses.replace(make_job(*words).config, initialize_from=source)
    for run, refuses in (("/disk/base", True), ("gs://bucket/base", False)):
        held = SimpleNamespace(adaptation=SimpleNamespace(base=Base(run=run, step=7, digest="")))
        directory = SimpleNamespace(
            path=source.run,
            model_file=SimpleNamespace(is_file=lambda: True),
            read_model_file=lambda held=held: held,
            config_file=SimpleNamespace(is_file=lambda: False),
        )
        monkeypatch.setattr(addresses, "RunDirectory", SimpleNamespace(at=lambda run, found=directory: found))
        check_places(config, None)
        with (
            pytest.raises(ConfigError, match=r"step 7 of /disk/base: on a disk that .* with --base gs://")
            if refuses
            else contextlib.nullcontext()
        ):
            check_places(config, "the hosts lack")


@pytest.mark.parametrize("is_another", [False, True])
def test_a_base_that_the_machines_do_not_see_is_refused_of_a_run_that_goes_on(is_another, monkeypatch):
    """Unless it is told by ``initialize_from`` where the base is now, as where it was begun beside it."""
    words = [
        word for name in ("data.store", "evaluations.heldout.store") for word in (f"--{name}", "gs://abc/x")
    ]
    begun = dataclasses.replace(
        make_job(*words).config,
        run_dir="gs://bucket/run",
        initialize_from=InitializeFrom(run="/disk/base"),
        adapter=LoRA(),
    )
    held = SimpleNamespace(adaptation=SimpleNamespace(base=Base(run="/disk/base", step=7, digest="")))

    def at(run):
        is_own = SimpleNamespace(is_file=lambda: run == "gs://bucket/run")
        return SimpleNamespace(
            model_file=is_own, config_file=is_own, read_model_file=lambda: held, read_config=lambda: begun
        )

    monkeypatch.setattr(addresses, "RunDirectory", SimpleNamespace(at=at))
    if is_another:
        origin = ContinueFrom(run=begun.run_dir, step=9)
        begun = dataclasses.replace(begun, run_dir="gs://bucket/branch", continue_from=origin)
    field = "continue_from.run" if is_another else "run_dir"
    with pytest.raises(
        ConfigError, match=rf"^{field}=.*/run holds .* step 7 of /disk/base: .*--initialize-from.run gs://"
    ):
        check_places(dataclasses.replace(begun, initialize_from=None), "the hosts lack")
    moved = InitializeFrom(run="gs://bucket/base")
    check_places(dataclasses.replace(begun, initialize_from=moved), "the hosts lack")


def test_storage_is_not_asked_for_the_base_of_a_run_that_has_none(monkeypatch):
    """Which takes a minute where nothing answers, and ``--dry-run`` needs no network."""
    monkeypatch.setattr(addresses, "_base_of", lambda directory: pytest.fail(f"{directory.path} is asked"))
    stores = ["--data.store", "gs://abc/x", "--evaluations.heldout.store", "gs://abc/x"]
    check_places(make_job("--run-dir", "gs://bucket/run", *stores).config, "the hosts lack")


@settings(max_examples=300)
@given(
    grammar=st.sampled_from([each for each in NAMES if each not in (grammars.PACKAGE, grammars.PROGRAM)]),
    data=st.data(),
)
def test_what_a_grammar_takes_is_nothing_that_a_shell_or_yaml_reads(grammar, data):
    name = data.draw(st.sampled_from(NAMES[grammar][0]))
    place = data.draw(st.integers(0, len(name)))
    odd = data.draw(st.text(max_size=2) | st.sampled_from(list(" \n\t'\"\\$`!#&*?[]{}()<>|;~%,é\0")))
    spoiled = name[:place] + odd + name[place:]
    with contextlib.suppress(ConfigError):
        grammar.check("--option", spoiled)
        assert shlex.quote(spoiled) == spoiled
        assert yaml.safe_load(f'"{spoiled}"') == spoiled


def recording(programs: Programs, name: str) -> None:
    """Add a stand-in that notes its words, each ended by NUL, and every call by a line."""
    programs.add(name, 'printf "%s\\0" "$@" >>"$RECORD"; echo >>"$RECORD"')


def recorded(programs: Programs) -> list[list[str]]:
    calls = programs.record_file.read_bytes().decode().split("\0\n")[:-1]
    programs.record_file.unlink()
    return [call.split("\0") for call in calls]


FUZZED = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def some(grammar: grammars.Grammar) -> st.SearchStrategy[str]:
    return st.sampled_from(NAMES[grammar][0])


@FUZZED
@given(image=some(grammars.IMAGE), flags=FLAGS)
def test_gke(image, flags):
    job = make_job(flags=flags)
    rendered = platform("gke", "--chips", "v5e-32", "--image", image)
    _, jobset = yaml.safe_load_all(rendered.render(job))
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == image
    assert rendered.command(job, "f") == ["kubectl", "apply", *flags, "--filename", "f"]


@FUZZED
@given(
    zone=some(grammars.ZONE),
    project=some(grammars.PROJECT),
    version=some(grammars.RUNTIME_VERSION),
    package=some(grammars.PACKAGE),
    flags=FLAGS,
)
def test_tpu(programs, zone, project, version, package, flags):
    recording(programs, "gcloud")
    options = ["--chips", "v5e-16", "--zone", zone, "--project", project]
    job = make_job(flags=flags)
    text = platform("tpu", *options, "--runtime-version", version, "--package", package).render(job)
    done = programs.run(text.replace("2>/dev/null", "; echo FAILED"))
    assert done.returncode == 0, done.stderr
    asked, deleted, created = recorded(programs)
    assert [call[3] for call in (asked, deleted, created)] == ["describe", "delete", "create"]
    assert created[5:-1] == [
        *(f"--zone={zone}", f"--project={project}", "--node-id=my-run", "--accelerator-type=v5litepod-16"),
        *(f"--runtime-version={version}", *flags),
    ]
    line = re.search(r"pip install --python \S+ (.*)\n", text)[1]
    arrived = subprocess.run(["bash", "-c", rf"printf '%s\0' {line}"], capture_output=True, check=True).stdout
    assert [word.decode() for word in arrived.split(b"\0")[:-1]] == INSTALLED[package]


def test_the_words_of_a_package_reach_pip_each_by_itself():
    assert {package: grammars.pip_words(package) for package in INSTALLED} == INSTALLED


@FUZZED
@given(image=some(grammars.IMAGE), cluster=some(grammars.CLUSTER), flags=FLAGS)
def test_xpk(programs, image, cluster, flags):
    recording(programs, "xpk")
    options = ["--chips", "v6e-16", "--image", image, "--cluster", cluster]
    done = programs.run(platform("xpk", *options).render(make_job(flags=flags)))
    assert done.returncode == 0, done.stderr
    ((*words, _),) = recorded(programs)
    assert {f"--cluster={cluster}", f"--docker-image={image}"} <= {*words}
    assert words[10:] == [*flags]


def sbatch_reads(line: str) -> list[str]:
    """Return the words of a line after ``#SBATCH``, by the rule of Slurm's src/sbatch/opt.c.

    A backslash takes the next character as it is, also in quotes; a ``#`` outside of them begins a comment.
    """
    words, word, quote, escaped = [], "", "", False
    for character in f"{line} ":
        if escaped:
            word, escaped = word + character, False
        elif character == "\\":
            escaped = True
        elif quote or character in "\"'":
            if quote and character != quote:
                word += character
            else:
                quote = "" if quote else character
        elif character == "#":
            break
        elif character.isspace():
            words += [word] if word else []
            word = ""
        else:
            word += character
    assert not quote
    return words


def add_trainer(programs: Programs, name: str) -> None:
    path = programs.directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/sh\necho trained >>"$RECORD"\n')
    path.chmod(0o755)


@FUZZED
@given(program=st.sampled_from(PROGRAMS), flags=FLAGS)
def test_slurm(programs, monkeypatch, program, flags):
    monkeypatch.chdir(programs.directory)
    programs.add("srun", 'while [[ $1 == -* ]]; do shift; done; exec "$@"')
    programs.add("sleep", "exec /bin/sleep 0.05")
    add_trainer(programs, program)
    given_flags = tuple(flag for flag in flags if flag.strip())
    text = platform("slurm", "--t5lite", program).render(make_job(flags=given_flags))
    done = programs.run(text)
    assert done.returncode == 0, done.stderr
    assert programs.record == ["trained"]
    programs.record_file.unlink()
    asked = [
        sbatch_reads(line.removeprefix("#SBATCH")) for line in text.splitlines() if line.startswith("#SBATCH")
    ]
    assert asked[8:] == [[flag] for flag in given_flags]


@FUZZED
@given(
    program=st.sampled_from(PROGRAMS),
    host=st.sampled_from(["one", "ann@two.example", "-o.x@10.0.0.1"]),
    flags=FLAGS,
)
def test_ssh(programs, monkeypatch, program, host, flags):
    monkeypatch.chdir(programs.directory)
    programs.add(
        "ssh",
        'printf "%s\\0" "$@" >"$RECORD.words"; until [[ $1 == -- ]]; do shift; done\nexec bash -c "${*:3}"',
    )
    add_trainer(programs, program)
    given_flags = tuple(flag for flag in flags if flag != "--")
    text = platform("ssh", f"--hosts={host}", "--t5lite", program).render(make_job(flags=given_flags))
    done = programs.run(text)
    assert done.returncode == 0, done.stderr
    assert programs.record == ["trained"]
    programs.record_file.unlink()
    words = Path(f"{programs.record_file}.words").read_bytes().decode().split("\0")
    assert words[4:-2] == [*given_flags, "--", host]


def test_scripts_with_odd_values_pass_shellcheck(tmp_path):
    odd = ("--a=it's $(x)", "\\", "#", '"', "~")
    paths = []
    for name, options in OPTIONS.items():
        program = ["--t5lite", "a=b c/it's"] if name in ("slurm", "ssh") else []
        if name != "gke":
            paths.append(tmp_path / f"{name}.sh")
            paths[-1].write_text(platform(name, *options, *program).render(make_job(flags=odd)))
    done = subprocess.run(
        [linter("shellcheck"), "--shell=bash", "--severity=warning", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert len(paths) == len(OPTIONS) - 1
