"""The programs that tasks may run.

A task is a text for a shell, and the list of allowed programs is worth nothing if the shell can do more than run them.
So `check_shell` reads the text as a small part of the shell's language: words, quotes, `|`, `||`, `&&`, `;`, line ends,
and redirections to /dev/null. It refuses everything else (variables, substitutions, files, background jobs, compound
commands), and programs that are not on the list. The shell then runs the text unchanged.

Some programs can run, read or write anything by an argument: `wrk -s`, `curl -o`, `grep x FILE`. For hey, wrk, ghz,
curl and grep it allows only the arguments that are known to do none of that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from canarycore.errors import CanaryError
from canarycore.text import shorten
from canarycore_loadtester.generator.command_lines import PROGRAMS, UsageError, check_options
from canarycore_loadtester.options import EVERY_COMMAND

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from canarycore_loadtester.options import LoadtesterOptions


class ForbiddenCommand(CanaryError):
    """A task that the options of the load tester do not allow."""


def check_command(command: str, options: LoadtesterOptions) -> None:
    """Raise ForbiddenCommand if tasks may not use a program or delegate."""
    if not options.allows(command):
        listed = ", ".join(options.allowed_commands) or "none"
        raise ForbiddenCommand(f"found {shorten(command)}, expected one of {listed}: see --allowed-commands")


def check_shell(text: str, options: LoadtesterOptions) -> None:
    """Raise ForbiddenCommand for a text that does more than run allowed programs."""
    if EVERY_COMMAND in options.allowed_commands:
        return
    for words in simple_commands(text):
        check_command(words[0], options)
        if words[0] in _CHECKS:
            _CHECKS[words[0]](words[1:])
        elif words[0] in PROGRAMS:
            try:
                check_options(words)
            except UsageError as error:
                raise ForbiddenCommand(f"{error}: see --allowed-commands") from None


# --------------------------------------------------------------------------------------------------------- the shell

_OPERATOR = re.compile(r"\|\||&&|[|;\n]")
_SILENCE = re.compile(r">{1,2}[ \t]*/dev/null(?![^\s|;&])|>&[12](?![^\s|;&])|</dev/null(?![^\s|;&])")
_REFUSED = frozenset("$`<>()&")
_BLANK = " \t"


def simple_commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of a shell text, without quotes. Raise ForbiddenCommand for other grammar."""
    words: list[str] = []
    for word in _words(text):
        if word is not None:
            words.append(word)
        elif words:
            yield words
            words = []
    if words:
        yield words


def _words(text: str) -> Iterator[str | None]:
    """Yield the words, and None for each operator."""
    at, word = 0, _Word()
    while at < len(text):
        character = text[at]
        operator, silence = _OPERATOR.match(text, at), _SILENCE.match(text, at)
        if operator is None and silence is None and character not in _BLANK:
            if character in _REFUSED or (character == "#" and not word.is_begun):
                raise ForbiddenCommand(
                    f"found {character!r} outside of quotes, expected programs and pipes: see --allowed-commands"
                )
            at = word.add(*_part(text, at))
            continue
        if word.is_begun and not (silence is not None and word.is_descriptor):
            yield word.finish()
        word = _Word()
        if operator is not None:
            yield None
        separator = operator or silence
        at = at + 1 if separator is None else separator.end()
    if word.is_begun:
        yield word.finish()


class _Word:
    """A word of which a part was read."""

    def __init__(self) -> None:
        self._value = self._bare = ""  # bare: the characters outside of quotes
        self.is_begun = False

    @property
    def is_descriptor(self) -> bool:
        """Whether the word is the number of a file before a redirection, such as in `2>`."""
        return self._bare.isdecimal() and self._bare == self._value

    def add(self, at: int, part: str, is_quoted: bool) -> int:
        """Add a part, and return the place after it."""
        self.is_begun = True
        self._value += part
        self._bare += "" if is_quoted else part
        return at

    def finish(self) -> str:
        """Return the word. Raise ForbiddenCommand if bash would make several words of it."""
        if "{" in self._bare and ("," in self._bare or ".." in self._bare):
            raise ForbiddenCommand(f"found {shorten(self._value)}, expected quotes around braces")
        return self._value


def _part(text: str, at: int) -> tuple[int, str, bool]:
    """Read a quoted part, or one character. Return the place after it, its value, and whether it was quoted."""
    character = text[at]
    if character == "'":
        end = text.find("'", at + 1)
        if end < 0:
            raise ForbiddenCommand("found ' without its end")
        return end + 1, text[at + 1 : end], True
    if character == '"':
        return _double_quoted(text, at + 1)
    if character == "\\":
        following = text[at + 1 : at + 2]
        return at + 2, "" if following == "\n" else following, True
    return at + 1, character, False


def _double_quoted(text: str, at: int) -> tuple[int, str, bool]:
    value = ""
    while at < len(text):
        character = text[at]
        if character == '"':
            return at + 1, value, True
        if character in "$`":
            raise ForbiddenCommand(f"found {character!r} in double quotes, expected single quotes around it")
        if character == "\\" and text[at + 1 : at + 2] in {"$", "`", '"', "\\"}:
            at, character = at + 1, text[at + 1]
        value += character
        at += 1
    raise ForbiddenCommand('found " without its end')


# --------------------------------------------------------------------------------------------------------- programs


@frozen(kw_only=True)
class _Grammar:
    """The options of a program that neither read nor write files, without their dashes."""

    switches: frozenset[str]
    """Options without a value."""
    values: frozenset[str]
    """Options with a value."""


_CURL = _Grammar(
    switches=frozenset({
        *"sSfLkIivgGN46#",
        *("silent", "show-error", "fail", "fail-with-body", "location", "insecure", "head", "include", "verbose"),
        *("globoff", "get", "compressed", "no-buffer", "http1.1", "http2", "http2-prior-knowledge", "ipv4", "ipv6"),
        *("no-progress-meter", "retry-connrefused", "retry-all-errors"),
    }),
    values=frozenset({
        *"HdXmAeuwbo",
        *("header", "data", "data-raw", "data-binary", "data-urlencode", "json", "request", "max-time"),
        *("connect-timeout", "user-agent", "referer", "user", "write-out", "cookie", "output", "retry"),
        *("retry-delay", "retry-max-time", "url", "resolve", "connect-to"),
    }),
)  # fmt: skip
_GREP = _Grammar(
    switches=frozenset({
        *"EFGPiovwxcqsn",
        *("extended-regexp", "fixed-strings", "perl-regexp", "ignore-case", "only-matching", "invert-match"),
        *("word-regexp", "line-regexp", "count", "quiet", "silent", "no-messages", "line-number"),
    }),
    values=frozenset("eABCm"),
)  # fmt: skip


def _check_curl(arguments: Sequence[str]) -> None:
    """Check the options. A URL is harmless: an option of ours limits the protocols to http and https."""
    options, _ = _parse("curl", _CURL, arguments)
    for name, value in options:
        if name in {"o", "output"} and value != "/dev/null":
            raise ForbiddenCommand(f"curl: found the output {shorten(value)}, expected /dev/null")
        if name in {"b", "cookie"} and "=" not in value:
            raise ForbiddenCommand("curl: found a file of cookies, expected name=value")
        is_file = "@" in value.partition("=")[0] if name == "data-urlencode" else value.startswith("@")
        if is_file and name != "data-raw":
            raise ForbiddenCommand(f"curl: found the file {shorten(value)}, expected a value")


def _check_grep(arguments: Sequence[str]) -> None:
    """Check that grep reads its input: every word after the pattern would be a file."""
    options, words = _parse("grep", _GREP, arguments)
    patterns = sum(name == "e" for name, _ in options) or 1
    if len(words) + sum(name == "e" for name, _ in options) > patterns:
        raise ForbiddenCommand(f"grep: found the file {shorten(words[-1])}, expected a pattern and a pipe")


def _parse(program: str, grammar: _Grammar, arguments: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the options with their values, and the other words. Raise ForbiddenCommand for an unknown option."""
    options: list[tuple[str, str]] = []
    words: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            words.append(argument)
            continue
        for name, attached in _split(argument, grammar):
            if name in grammar.values:
                options.append((name, attached or next(rest, "")))
            elif name in grammar.switches:
                options.append((name, ""))
            else:
                raise ForbiddenCommand(f"{program}: found the option {shorten(argument)}: see --allowed-commands")
    return options, words


def _split(argument: str, grammar: _Grammar) -> Iterator[tuple[str, str]]:
    """Yield the options of an argument, each with its value if that is in the same argument: `-sSm5`."""
    if argument.startswith("--") or argument == "-":
        yield argument[2:], ""
        return
    for at, name in enumerate(argument[1:], start=1):
        if name in grammar.values:
            yield name, argument[at + 1 :]
            return
        yield name, ""


_CHECKS = {"curl": _check_curl, "grep": _check_grep}
