"""Everything that is parsed from one line or a few: paths, parameters, replies, DNS names as they come by mail.

What must hold: nothing but the documented refusal is raised; what was read can be written, and read again as the same;
each reply that was read can be sent.
"""

from __future__ import annotations

from fuzz.choices import Choices, expanded
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import DOMAIN_BYTES, LOCAL_PART_BYTES, PATH_BYTES
from postroad.vocabulary.reply import Reply, reply
from postroad.wire.smtp.commands import parse_auth, parse_greeting, parse_mail, parse_rcpt, read_verb
from postroad.wire.smtp.parameters import SyntaxRefused, split_parameters
from postroad.wire.smtp.paths import PathRefused, parse_mailbox, split_path
from postroad.wire.smtp.reply_reader import BadReply, ReplyReader
from postroad.wire.smtp.server_profile import ServerProfile
from postroad.wire.smtp.transitions import Verb

_PROFILE = ServerProfile(hostname="mx.example.org", tls_available=True)


def check_paths(given: bytes) -> None:
    choices = Choices(given)
    smtputf8 = bool(choices.octet() & 1)
    octets = expanded(choices.rest())
    try:
        inner, rest = split_path(octets)
    except PathRefused:
        pass
    else:
        assert len(inner) <= PATH_BYTES
        assert rest == octets[len(octets) - len(rest) :]
        octets = inner
    if len(octets) > PATH_BYTES:
        return
    try:
        mailbox = parse_mailbox(octets, smtputf8=smtputf8)
    except PathRefused:
        return
    check_mailbox(mailbox, smtputf8)


def check_mailbox(mailbox: Mailbox, smtputf8: bool) -> None:
    text = str(mailbox)
    assert smtputf8 or text.isascii()
    assert text.isprintable(), "something that cannot be seen"
    assert mailbox.domain.isascii(), "a domain that is not in A-labels"
    assert len(mailbox.domain) <= DOMAIN_BYTES
    assert len(mailbox.local_part.encode()) <= LOCAL_PART_BYTES
    if len(text.rpartition("@")[0].encode()) <= LOCAL_PART_BYTES:  # quoted it may be longer than what was read
        assert parse_mailbox(text.encode(), smtputf8=smtputf8) == mailbox, text


def check_commands(given: bytes) -> None:
    choices = Choices(given)
    smtputf8 = bool(choices.octet() & 1)
    line = expanded(choices.rest())
    verb, _, argument = read_verb(line)
    try:
        match verb:
            case Verb.HELO | Verb.EHLO:
                assert parse_greeting(verb, argument).name.isprintable()
            case Verb.MAIL:
                sender = parse_mail(argument, _PROFILE)
                if sender.reverse_path is not None:
                    check_mailbox(sender.reverse_path, sender.smtputf8)
                assert (sender.ret + sender.envid).isascii()
                assert (sender.ret + sender.envid).isprintable()
            case Verb.RCPT:
                recipient = parse_rcpt(argument, _PROFILE, smtputf8=smtputf8)
                if recipient.forward_path.domain:
                    check_mailbox(recipient.forward_path, smtputf8)
                assert recipient.original.isascii()
                assert recipient.original.isprintable()
            case Verb.AUTH:
                parse_auth(argument)
            case _:
                split_parameters(argument)
    except SyntaxRefused as refused:
        if refused.reply.code // 100 != 5:
            raise AssertionError(refused.reply)


def check_replies(given: bytes) -> None:
    choices = Choices(given)
    cut = choices.octet()
    octets = expanded(choices.rest())
    whole = _read([octets])
    assert _read([octets[:cut], octets[cut:]]) == whole, "how the replies were cut can be seen"
    for taken in whole:
        if isinstance(taken, Reply):
            # A reply may be quoted to others: whoever does it can.
            assert taken == Reply(taken.code, taken.lines, taken.status)
            assert reply(taken.code, str(taken)).wire.isascii()


def _read(chunks: list[bytes]) -> list[Reply | str]:
    reader = ReplyReader()
    found: list[Reply | str] = []
    for chunk in chunks:
        reader.append(chunk)
        while (taken := reader.take()) is not None:
            if isinstance(taken, BadReply):
                return [*found, str(taken)]
            found.append(taken)
    return found


def path_seeds() -> list[bytes]:
    paths = [b"<ann@a.example>", b"<@a,@b:u@c> SIZE=1", b'<"a b"@c>', b'<"a\\"@b"@c>', b"<a@@b>", b"<a@b>c", b"<>"]
    paths += [
        b"<a@[127.0.0.1]>",
        b"<a@[IPv6:::1]>",
        b"<u%other@here>",
        b"<postmaster>",
        "<gr\u00fc\u00dfe@k\u00f6ln.example>".encode(),
    ]
    paths += [
        b"<|cmd@here>",
        b"<../../x@here>",
        b"<" + b"a" * 70 + b"@b>",
        "<a\u200bb@c>".encode(),
        "<\u202ea@c>".encode(),
    ]
    return [bytes([n & 1]) + path for n, path in enumerate(paths)] + [b"\1" + path[1:-1] for path in paths]


def command_seeds() -> list[bytes]:
    lines = [
        b"MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME RET=FULL ENVID=a+2Bb AUTH=<> SMTPUTF8",
        b"EHLO [127.0.0.1]",
        b"NOOP x",
    ]
    lines += [
        b"RCPT TO:<c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;c@d",
        b"RCPT TO:<Postmaster>",
        b"VRFY <ann>",
        b"VRFY ann",
    ]
    lines += [
        b"AUTH PLAIN =",
        b"AUTH LOGIN YW5u",
        b"MAIL FROM:<> SIZE=99999999999999999999",
        b"RCPT TO: <a@b>",
        b"HELP x",
    ]
    return [b"\0" + line for line in lines]


def reply_seeds() -> list[bytes]:
    lines = [
        b"250 2.0.0 ok\r\n",
        b"250-a\r\n250-b\r\n250 c\r\n",
        b"250-a\r\n550 b\r\n",
        b"250\r\n354\n",
        b"599 x\r\n",
        b"199 x\r\n",
    ]
    lines += [
        b"550-5.1.1 no\r\n550 5.1.1 such user\r\n",
        b"550 4.1.1 odd\r\n",
        b"220 \xc3\xbc\x00\x1b[31m\r\n",
        b"{LONG}",
        b"250-{LONG}",
    ]
    return [bytes([n]) + line for n, line in enumerate(lines)]


PATH_WORDS = (
    b"@",
    b'"',
    b"\\",
    b"<",
    b">",
    b"[IPv6:",
    b"]",
    b":",
    b",",
    b".",
    b"xn--",
    b"\xc3\xbc",
    b"{LONG}",
    b"postmaster",
)
COMMAND_WORDS = (
    b"MAIL FROM:<", b"RCPT TO:<", b"EHLO ", b"VRFY ", b"AUTH ", b" SIZE=", b" BODY=", b"BINARYMIME",
    b" ENVID=", b" ORCPT=",
    b" NOTIFY=", b"SUCCESS,", b"FAILURE", b"NEVER", b"+0D", b"+2B", b"rfc822;", b"utf-8;", b" SMTPUTF8",
    b" AUTH=<>", b">",
)  # fmt: skip
REPLY_WORDS = (b"250", b"-", b" ", b"\r\n", b"\n", b"5.1.1 ", b"4.7.0 ", b"2.0.0 ", b"{LONG}", b"550-5.1.1 a\r\n")
