"""A mail to a value: whatever the bytes, never an exception; what its author wrote, and nothing of what was quoted."""

from __future__ import annotations

import base64
import time
from email.message import EmailMessage

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from detector.ingest.mail import MAIL_BYTES, Mail, Rejected, parse
from detector.ingest.mail_text import from_html, own_words
from detector.words import ANSWER_ABOVE


def mail(body: str = "Nothing can be bought.", **headers: str) -> bytes:
    named = {
        "from": "Kim Doe <kim@example.org>", "to": "desk@example.org", "subject": "The shop is white",
        "message-id": "<one@mail.example.org>", **{name.replace("_", "-"): text for name, text in headers.items()},
    }  # fmt: skip
    lines = [f"{name}: {text}" for name, text in named.items() if text]
    return ("\r\n".join(lines) + "\r\n\r\n" + body.replace("\n", "\r\n")).encode()


def read(raw: bytes) -> Mail:
    found = parse(raw)
    assert isinstance(found, Mail), found
    return found


def multipart(*parts: str, kind: str = "mixed", **headers: str) -> bytes:
    body = "".join(f"--XX\n{part}\n" for part in parts) + "--XX--\n"
    return mail(body, content_type=f'multipart/{kind}; boundary="XX"', **headers)


# --- any bytes --------------------------------------------------------------------------------------------------------

_HEADERS = st.sampled_from([
    b"From: kim@example.org", b"From: =?utf-8?q?K=FF?= <kim@example.org>", b"From: ((((((", b"Subject: =?x?b?!!?=",
    b"Content-Type: multipart/mixed; boundary=a", b"Content-Type: multipart/mixed; boundary*0*=''%ff; boundary*1=b",
    b"Content-Type: text/html; charset=idna", b"Content-Type: text/plain; charset*=punycode''%00",
    b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable", b"Date: 99 Feb 99999",
    b"Content-Disposition: attachment; filename*=utf-7'x'%ff", b"References: <a@b> <c\xff@d>", b"", b"--a", b"--a--",
])  # fmt: skip


@given(st.one_of(st.binary(max_size=3000), st.lists(st.one_of(_HEADERS, st.binary(max_size=60))).map(b"\r\n".join)))
@example(b"From: " + b"(" * 9000 + b"kim@example.org")
@example(b"From: kim@example.org\r\nContent-Type: text/plain; charset=undefined\r\n\r\n\xff")
@example(b"From: kim@example.org\r\nContent-Type: text/plain; charset=zlib\r\n\r\n\xff")
@settings(max_examples=400, deadline=None)
def test_never_an_exception_and_never_more_than_the_desk_takes(raw: bytes) -> None:
    found = parse(raw)
    if isinstance(found, Rejected):
        assert found.reason
        return
    assert len(found.text) <= 10_000
    assert len(found.subject) <= 200
    assert 0 < len(found.message_id) <= 255
    for text in (found.sender, found.name, found.subject, found.message_id):
        assert not any(char in text for char in "\r\n\0")


@given(st.text(max_size=300))
def test_html_and_quotes_never_raise(text: str) -> None:
    from_html(text)
    own_words(text, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"From: kim@example.org\r\n" + b"x: y\r\n" * 200_000,
        b"From: kim@example.org\r\nContent-Type: text/plain; " + b'a=";";' * 200_000 + b"\r\n\r\nhello",
        b"From: kim@example.org\r\nContent-Type: text/html\r\n\r\n" + b"<style" * 80_000,
        b"From: kim@example.org\r\nContent-Type: text/html\r\n\r\n" + b"<a <!-- " * 60_000,
        b"From: kim@example.org\r\nIn-Reply-To: <a@b>\r\n\r\n" + b"on wrote wrote wrote wrote wrote:\r\n" * 50_000,
        b"From: kim@example.org\r\nSubject: " + b"=?a?q?" * 300_000 + b"\r\n\r\n",
        b"From: kim@example.org\r\nReferences: " + b"<a@b> " * 300_000 + b"\r\n\r\n",
        b"From: kim@example.org\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\n\r\n" * 250_000,
        b"".join(
            b"From: kim@example.org\r\nContent-Type: multipart/mixed; boundary=a%d\r\n\r\n--a%d\r\n" % (n, n)
            for n in range(20_000)
        ),
    ],
    ids=["headers", "parameters", "style", "comments", "quotes", "words", "references", "parts", "nesting"],
)
def test_what_is_made_to_be_slow_is_not(raw: bytes) -> None:
    started = time.process_time()
    found = read(raw)
    assert time.process_time() - started < 3
    assert len(found.thread) <= 50


# --- who, what, when --------------------------------------------------------------------------------------------------


def test_a_plain_mail_becomes_its_facts() -> None:
    found = read(mail("It is down.\n-- \nKim\nSales", date="Tue, 24 Nov 2026 09:30:00 +0100", delivered_to="x@y.org"))
    assert (found.sender, found.name, found.subject, found.text) == (
        "kim@example.org", "Kim Doe", "The shop is white", "It is down.",
    )  # fmt: skip
    assert (found.message_id, found.thread, found.named, found.automatic) == ("one@mail.example.org", (), None, "")
    assert found.sent_at == 1_795_509_000_000
    assert found.recipients == {"desk@example.org", "x@y.org"}


@pytest.mark.parametrize(
    ("header", "sender", "name"),
    [
        ("kim@example.org", "kim@example.org", "kim"),
        ("kim@example.org (Kim Doe)", "kim@example.org", "Kim Doe"),
        ('"Doe, Kim" <kim@example.org>', "kim@example.org", "Doe, Kim"),
        ("=?iso-8859-1?q?K=EDm?= <kim@example.org>", "kim@example.org", "Kím"),
        ("=?utf-8?q?boss=40example.org?= <eve@evil.org>", "eve@evil.org", "boss@example.org"),
        ("=?utf-8?b?PGJvc3NAZXhhbXBsZS5vcmc+?= <eve@evil.org>", "eve@evil.org", "<boss@example.org>"),
        ("boss@example.org <eve@evil.org>", "eve@evil.org", "boss@example.org"),
    ],
)
def test_the_address_is_found_before_anything_is_decoded(header: str, sender: str, name: str) -> None:
    found = read(mail(**{"from": header}))
    assert (found.sender, found.name) == (sender, name)


@pytest.mark.parametrize("header", ["", "nobody", "<>", "<@relay:kim@example.org>", "<a@b@c>", "kim@"])
def test_without_an_address_it_is_refused_with_the_reason(header: str) -> None:
    found = parse(mail(**{"from": header}))
    assert isinstance(found, Rejected)
    assert found.reason.startswith("From: there is no mail address")


def test_an_answer_names_what_it_answers() -> None:
    found = read(mail(subject="AW: Re: [INC-42] The shop", references="<a@b>\r\n\t<c@d>", in_reply_to="<c@d>"))
    assert (found.subject, found.named, found.thread) == ("The shop", "INC-42", ("a@b", "c@d"))


def test_a_mail_without_a_name_gets_one_that_is_the_same_at_its_second_delivery() -> None:
    one, again, other = (
        read(mail(text, message_id="", received=via)) for text, via in (("a", "x"), ("a", "y"), ("b", "x"))
    )
    assert one.message_id == again.message_id != other.message_id
    assert len(read(mail(message_id=f"<{'x' * 400}@y>")).message_id) <= 255


@pytest.mark.parametrize(
    "headers",
    [
        {"auto-submitted": "auto-replied"}, {"auto-submitted": "auto-generated; x=y"}, {"precedence": "bulk"},
        {"precedence": "List"}, {"precedence": "junk"}, {"return-path": "<>"}, {"from": "MAILER-DAEMON@mx.example.org"},
        {"content-type": "multipart/report; report-type=delivery-status; boundary=x"}, {"x-autoreply": "yes"},
        {"from": "bounces+7-kim=example.org@lists.example.org"},
    ],
)  # fmt: skip
def test_what_no_person_wrote_is_known(headers: dict[str, str]) -> None:
    assert read(mail(**headers)).automatic


@pytest.mark.parametrize("headers", [{"auto-submitted": "no"}, {"return-path": "<kim@example.org>"}])
def test_what_a_person_wrote_is_not_automatic(headers: dict[str, str]) -> None:
    assert read(mail(**headers)).automatic == ""


# --- the text ---------------------------------------------------------------------------------------------------------

PLAIN = "Content-Type: text/plain; charset=utf-8\n\nplain words"
HTML = "Content-Type: text/html\n\n<p>rich <b>words</b></p>"


def test_plain_text_is_preferred_and_html_becomes_text() -> None:
    assert read(multipart(HTML, PLAIN, kind="alternative")).text == "plain words"
    assert read(multipart(HTML, "Content-Type: text/plain\n\n  ", kind="alternative")).text == "rich words"


def test_attachments_are_named_and_not_kept() -> None:
    picture = (
        "Content-Type: image/png\nContent-Disposition: attachment; filename*=utf-8''Bild%20%C3%BC.png\n"
        "Content-Transfer-Encoding: base64\n\nAAAA"
    )
    found = read(multipart(PLAIN, picture, "Content-Type: message/rfc822\n\nFrom: x@y\n\nsecret"))
    assert found.text == "plain words\n[Attached, and not kept: Bild ü.png, message/rfc822]"


@pytest.mark.parametrize(
    ("charset", "encoding", "body", "text"),
    [
        ("iso-8859-1", "quoted-printable", b"M=FCll", "Müll"),
        ("windows-1252", "8bit", b"\x80 5", "€ 5"),
        ("utf-8", "base64", base64.b64encode("größe".encode()), "größe"),
        ("iso-2022-jp", "7bit", "日本".encode("iso-2022-jp"), "日本"),
        ("utf-8", "8bit", b"M\xfcll", "Müll"),
        ("no-such-charset", "8bit", "Müll".encode(), "Müll"),
        ("idna", "8bit", b"a.b", "a.b"),
        ("utf-8", "base64", b"R3LDvMOfZQ=", "Grüße"),
        ("utf-8", "base64", b"!", ""),
    ],
)
def test_bad_charsets_and_encodings_lose_as_little_as_possible(
    charset: str, encoding: str, body: bytes, text: str
) -> None:
    head = f"From: kim@example.org\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}"
    assert read(head.encode() + b"\n\n" + body).text == text


def test_of_a_huge_mail_the_beginning_is_kept_and_that_is_said() -> None:
    picture = "Content-Type: image/png; name=huge.png\n\n" + "A" * (3 * MAIL_BYTES)
    found = read(multipart(PLAIN, picture))
    assert found.text.startswith("plain words\n[The mail goes on; the rest was not kept.]\n[Attached")
    long = read(mail("word " * 20_000))
    assert len(long.text) < 10_000
    assert "[The mail goes on" in long.text


def test_parts_below_the_limit_of_depth_are_not_looked_for() -> None:
    inner = "Content-Type: text/plain\n\nfound"
    for n in range(30):
        inner = f'Content-Type: multipart/mixed; boundary="b{n}"\n\n--b{n}\n{inner}\n--b{n}--'
    assert "found" not in read(mail("", content_type="").replace(b"\r\n\r\n", b"\r\n" + inner.encode())).text


QUOTES = {
    "gmail": "On Tue, 24 Nov 2026 at 09:30, Service desk <desk@example.org> wrote:\n> Which browser?",
    "broken line": "On Tue, 24 Nov 2026 at 09:30, the Service desk\n<desk@example.org> wrote:\n> Which?",
    "german": "Am 24.11.2026 um 09:30 schrieb Service desk:\n> Which browser?",
    "outlook": "________________________________\nFrom: Service desk\nSent: Tuesday\nTo: Kim\n\nWhich?",
    "original": "-----Original Message-----\nFrom: x\n\nWhich browser?",
    "ours": f"> --- Please {ANSWER_ABOVE} ---\n> Which browser?",
    "bare": "> Which browser?\n> Really.",
}


@pytest.mark.parametrize("how", QUOTES)
def test_of_an_answer_only_its_authors_words_are_kept(how: str) -> None:
    raw = mail(f"Firefox.\n\nIt is new.\n\n{QUOTES[how]}\n", in_reply_to="<a@b>", subject="Re: x")
    assert read(raw).text == "Firefox.\n\nIt is new."


def test_an_answer_below_the_quote_is_kept_too() -> None:
    below = mail(f"{QUOTES['bare']}\n\nFirefox.\n", in_reply_to="<a@b>")
    assert read(below).text == "Firefox."
    wrote = mail(f"{QUOTES['gmail']}\n\nFirefox.\n", in_reply_to="<a@b>")
    assert read(wrote).text == "Firefox."


def test_of_what_is_forwarded_nothing_is_cut() -> None:
    text = f"See below.\n\n{QUOTES['original']}"
    assert "Which browser?" in read(mail(text, subject="Fwd: trouble", references="<a@b>")).text
    assert "Which browser?" in read(mail(text, subject="trouble")).text


def test_html_of_the_common_programs() -> None:
    text = (
        "<head><title>x</title><style>p{}</style></head><div>Firefox &amp; <b>Edge</b><br>both</div>"
        '<ul><li>one</li><li>two</li></ul><div class="gmail_quote">On Monday Ann wrote:<blockquote>x</blockquote></div>'
    )
    raw = mail(text, content_type="text/html", in_reply_to="<a@b>")
    assert read(raw).text == "Firefox & Edge\nboth\n\n- one\n\n- two"
    assert own_words(from_html("<script>evil()</script>a&lt;b&gt;<!-- no -->c"), False) == "a<b>c"


def test_what_pythons_own_library_writes_is_read_back() -> None:
    made = EmailMessage()
    made["From"], made["Subject"], made["Message-ID"] = "Kím <kim@example.org>", "Größe " * 12, "<x@y>"
    made.set_content("Müll\n" * 50)
    made.add_alternative("<p>Müll</p>", subtype="html")
    made.add_attachment(b"1234", maintype="application", subtype="pdf", filename="Rechnung März.pdf")
    found = read(made.as_bytes())
    assert (found.name, found.subject, found.message_id) == ("Kím", ("Größe " * 12).strip(), "x@y")
    assert found.text == ("Müll\n" * 50) + "[Attached, and not kept: Rechnung März.pdf]"
