"""The list of allowed programs holds against the whole grammar of a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canarycore_loadtester.allowed import ForbiddenCommand, check_shell, simple_commands
from canarycore_loadtester.options import LoadtesterOptions

OPTIONS = LoadtesterOptions(state_file=Path("gates.json"))


@pytest.mark.parametrize(
    "text",
    [
        "hey -z 1m -q 10 -c 2 http://podinfo-canary.test:9898/",
        "hey -z 1m -H 'Cookie: canary=insider' \"http://podinfo.test:9898/?a=1&b=2\"",
        "curl -sd 'test' http://podinfo-canary.demo:9898/token | grep token",
        "curl -s http://podinfo-canary.demo:9898/headers | grep X-Request-Id",
        "curl -sf -o /dev/null -w '%{http_code}' http://podinfo/ && echo fine || false",
        "curl -s http://podinfo/ >/dev/null 2>&1; test 1 = 1",
        "curl -sS -XPOST -H 'Content-Type: application/json' --data-raw @x --max-time 5 http://podinfo/",
        "curl -u user:p@ss -b 'a=b' --retry 3 http://podinfo/",
        "echo a\\\n  b\ngrep -q x </dev/null",
        "hey -n 5 http://podinfo/ 2> /dev/null",
        "wrk -t2 -c10 -d30s --latency http://podinfo/ | grep Requests/sec",
        "[ 1 = 1 ] && echo {a} a..b '{a,b}' it\\'s a#5",
        "echo x | grep -qiE 'x|y' && echo x | grep -e x -e y -m 1",
        "",
    ],
)
def test_programs_pipes_and_quotes_are_allowed(text: str):
    check_shell(text, OPTIONS)


@pytest.mark.parametrize(
    "text",
    [
        "id",
        "hey http://a/; id",
        "hey http://a/ | sh",
        "hey http://a/ && id",
        "hey http://a/ || id",
        "hey http://a/\nid",
        "hey http://a/ & id",
        "hey http://a/?a=1&b=2",
        "echo $(id)",
        "echo `id`",
        'echo "$(id)"',
        'echo "`id`"',
        "echo $HOME",
        'echo "$HOME"',
        "echo $'\\x41'",
        "echo <(id)",
        "(id)",
        "{ id; }",
        "if true; then id; fi",
        "! id",
        "A=b hey http://a/",
        "LD_PRELOAD=/tmp/x echo",
        "eval id",
        "exec id",
        ". /tmp/x",
        "env id",
        "command id",
        "echo x > /tmp/x",
        "echo x >> /tmp/x",
        "echo x >/dev/nullx",
        "echo x >/dev/null/../../tmp/x",
        "echo x >| /tmp/x",
        "grep x < /tmp/x",
        "cat <<x",
        "f() { id; }",
        "/bin/echo x",
        "i\\d",
        "i''d",
        '"id"',
        "#\nid",
        "echo 'x",
        'echo "x',
        "{echo,x}",
        "echo 2>/tmp/x",
        "curl -o /tmp/x http://a/",
        "curl -o/tmp/x http://a/",
        "curl -sSo /tmp/x http://a/",
        "curl -O http://a/x",
        "curl --output /tmp/x http://a/",
        "curl --outp /tmp/x http://a/",
        "curl -K /tmp/x",
        "curl -T /etc/passwd http://a/",
        "curl -F a=@/etc/passwd http://a/",
        "curl -d @/etc/passwd http://a/",
        "curl -d@/etc/passwd http://a/",
        "curl --data-binary @/etc/passwd http://a/",
        "curl --data-urlencode a@/etc/passwd http://a/",
        "curl -H @/etc/passwd http://a/",
        "curl -b /etc/passwd http://a/",
        "curl -c /tmp/x http://a/",
        "curl -D /tmp/x http://a/",
        "curl -w @/etc/passwd http://a/",
        "curl --trace /tmp/x http://a/",
        "curl --proto =file file:///etc/passwd",
        "curl -x http://proxy http://a/",
        "curl -",
        "curl {-o,/tmp/x} http://a/",
        'curl {-o,"/tmp/x"} http://a/',
        "grep x /etc/passwd",
        "grep -e x /etc/passwd",
        "grep -ex /etc/passwd",
        "grep x -r",
        "grep -rx",
        "grep -f /etc/passwd",
        "grep --file=/etc/passwd x",
        "grep --regexp=x /etc/passwd",
        "grep -- x /etc/passwd",
        "jq . /etc/passwd",
        "wrk -s /tmp/x.lua http://a/",
        "wrk -s/tmp/x.lua http://a/",
        "wrk --script=/tmp/x.lua http://a/",
        "wrk --scrip=/tmp/x.lua http://a/",
        "hey -D /etc/passwd http://a/",
        "hey -o csv http://a/",
        "ghz --config=/tmp/x a:1",
        "ghz --data-file /etc/passwd a:1",
        "ghz --output /tmp/x a:1",
    ],
)
def test_everything_else_is_refused_with_the_remedy(text: str):
    with pytest.raises(ForbiddenCommand) as refusal:
        check_shell(text, OPTIONS)
    assert (
        "expected" in str(refusal.value)
        or "--allowed-commands" in str(refusal.value)
        or "without" in str(refusal.value)
    )


def test_a_star_allows_every_text():
    check_shell(
        "for i in 1 2; do $(id) > /tmp/x & done", LoadtesterOptions(state_file=Path("x"), allowed_commands=("*",))
    )


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1), min_size=1))
def test_quoted_words_are_read_as_a_shell_reads_them(commands: list[list[str]]):
    text = " | ".join(shlex.join(words) for words in commands)
    assert list(simple_commands(text)) == commands


@given(st.text("ab'\"\\ |;&><$`(){},.#\n2/devnull"))
def test_every_text_is_words_or_a_refusal(text: str):
    try:
        for words in simple_commands(text):
            assert words
    except ForbiddenCommand:
        return
