"""What services take for a name: checked here, where they would refuse it minutes later, or on every host."""

import re
from dataclasses import dataclass

from t5lite.core.errors import ConfigError


@dataclass(frozen=True)
class Grammar:
    """A kind of name.

    Args:
      what: the name is called.
      example: of one.
      pattern: of all of them.
      longest: in characters.
    """

    what: str
    example: str
    pattern: str
    longest: int

    def check(self, option: str, text: str | None) -> None:
        """Check a name that an option was given; None is not given.

        Raises:
          ConfigError: if it is none, saying what one looks like.
        """
        if text is None:
            return
        if len(text) > self.longest or not re.fullmatch(self.pattern, text, re.ASCII):
            length = f", at most {self.longest} characters" if len(text) > self.longest else ""
            raise ConfigError(f"{option} {text!r} is no {self.what}{length}, such as {self.example}")


_HOST_PART = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
IMAGE = Grammar(
    "name of a container image",
    "europe-docker.pkg.dev/my-project/images/t5lite:1.0",
    # [HOST[:PORT]/]PATH[:TAG][@DIGEST], as github.com/distribution/reference defines it.
    rf"({_HOST_PART}(\.{_HOST_PART})*(:[0-9]+)?/)?"
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
    r"(:\w[\w.-]{0,127})?(@[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    longest=400,
)
CLUSTER = Grammar("name of a GKE cluster", "pods-1", r"[a-z]([a-z0-9-]*[a-z0-9])?", longest=40)
ZONE = Grammar("zone", "us-west4-a", r"[a-z]+-[a-z]+[0-9]+-[a-z0-9]+", longest=60)
PROJECT = Grammar(
    "project ID or number",
    "my-project-1",
    # The ID of a project of a domain has that before a colon.
    r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]{1,19}",
    longest=100,
)
RUNTIME_VERSION = Grammar(
    "software of a TPU VM", "v2-alpha-tpuv6e", r"[a-z0-9]+([._-][a-z0-9]+)*", longest=100
)
_VERSION = r"(===?|~=|!=|<=?|>=?) *[\w.*+!-]+"
_URL = r"(https?|(git|hg|svn|bzr)\+[a-z]+)://\S+"
_OPERAND = r"""([a-z_.]+|"[^"\x00-\x1f]*"|'[^'\x00-\x1f]*')"""
_COMPARISON = rf"[( ]*{_OPERAND} *(===?|~=|!=|<=?|>=?|in|not +in) *{_OPERAND}[) ]*"
_REQUIREMENT = (
    r"([A-Za-z0-9]([\w.-]*[A-Za-z0-9])?( *\[[\w ,.-]*\])?"
    rf"( *{_VERSION}( *, *{_VERSION})*| *@ *{_URL})?|{_URL})"
    rf"( *;{_COMPARISON}((and|or) +{_COMPARISON})*)?"
)
_PIP_OPTION = r"(--pre|(-[fi] +|(--find-links|--index-url|--extra-index-url)(=| +))(https?|file)://\S+)"
PACKAGE = Grammar(
    "package for pip",
    "'t5lite[tpu,gcs]' or 't5lite[tpu,gcs] @ git+https://HOST/t5lite@COMMIT' or "
    "'t5lite[tpu,gcs] --extra-index-url https://HOST/simple'",
    rf"(?P<requirement>{_REQUIREMENT})(?P<options>( +{_PIP_OPTION})*)",
    longest=1000,
)


def pip_words(package: str) -> list[str]:
    """Return the arguments of ``pip install`` for what ``PACKAGE`` took: the whole requirement is one."""
    match = re.fullmatch(PACKAGE.pattern, package, re.ASCII)
    assert match is not None  # else it was refused
    return [match["requirement"].rstrip(), *match["options"].split()]


PROGRAM = Grammar(
    "program that a host finds (~ is expanded by nobody)",
    "t5lite or /opt/t5lite/bin/t5lite",
    r"[^\s~-](.*\S)?",
    longest=1000,
)
