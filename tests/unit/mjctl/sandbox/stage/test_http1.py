"""Tests that the parser reads the head and finds the end of each HTTP message, however the bytes are split."""

from __future__ import annotations

import pytest

from mjctl.sandbox.stage.http1 import (
    BodyReader,
    MalformedMessageError,
    has_valid_name,
    parse_request,
    parse_response,
)

CHUNKED = b"3\r\none\r\n5;note=1\r\nthree\r\n0\r\nTrailer: x\r\n\r\n"


def request(*headers: bytes) -> bytes:
    return b"\r\n".join([b"POST /a?b=1 HTTP/1.1", b"Host: a", *headers])


def test_heads_are_parsed() -> None:
    head = parse_request(request(b"X-One:  1 ", b"x-one: 2", b"Connection: keep-alive, Upgrade"))
    assert (head.method, head.target, head.minor) == (b"POST", b"/a?b=1", 1)
    assert head.get(b"x-one") == b"1, 2"
    assert head.get(b"x-two") is None
    assert head.has_token(b"connection", b"upgrade")
    response = parse_response(b"HTTP/1.0 404 Not Found\r\nServer: x")
    assert (response.status, response.reason, response.minor) == (404, b"Not Found", 0)
    assert parse_response(b"HTTP/1.1 204").status == 204


@pytest.mark.parametrize(
    "head",
    [b"GET /", b"GET  / HTTP/1.1", b"GET / HTTP/2.0", request(b"no colon"), request(b": empty"), request(b"a: \n b")],
)
def test_malformed_requests_are_refused(head: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_request(head)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 20 OK", b"HTTP/3 200 OK", b"hello"])
def test_malformed_responses_are_refused(head: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        parse_response(head)


def test_a_header_with_an_underscore_or_a_space_has_an_invalid_name() -> None:
    assert has_valid_name((b"X-1", b""))
    assert not has_valid_name((b"X_1", b""))
    assert not has_valid_name((b"X 1", b""))


@pytest.mark.parametrize("size", range(1, len(CHUNKED) + 1))
def test_the_end_of_a_chunked_body_is_found(size: int) -> None:
    reader = BodyReader.of_request(parse_request(request(b"Transfer-Encoding: chunked")), keep=6)
    data = CHUNKED + b"GET"
    used = 0
    for start in range(0, len(data), size):
        part = data[start : start + size]
        taken = reader.feed(part)
        used += taken
        if taken < len(part):
            break
    assert (used, reader.done, bytes(reader.kept)) == (len(CHUNKED), True, b"onethr")


def test_the_end_of_a_body_with_a_length_is_found() -> None:
    reader = BodyReader.of_request(parse_request(request(b"Content-Length: 5")))
    assert (reader.feed(b"abc"), reader.done) == (3, False)
    assert (reader.feed(b"deGET"), reader.done) == (2, True)
    assert BodyReader.of_request(parse_request(request())).done
    assert BodyReader.of_request(parse_request(request(b"Content-Length: 0"))).done


@pytest.mark.parametrize(
    "headers",
    [
        [b"Content-Length: 1", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 1", b"Content-Length: 2"],
        [b"Content-Length: +1"],
        [b"Transfer-Encoding: gzip, chunked"],
    ],
)
def test_an_ambiguous_length_is_refused(headers: list[bytes]) -> None:
    with pytest.raises(MalformedMessageError):
        BodyReader.of_request(parse_request(request(*headers)))


@pytest.mark.parametrize("body", [b"x\r\n", b"1\nab", b"1\r\nabc\r\n", b"1" * 5000])
def test_malformed_chunks_are_refused(body: bytes) -> None:
    reader = BodyReader.of_request(parse_request(request(b"Transfer-Encoding: chunked")))
    with pytest.raises(MalformedMessageError):
        reader.feed(body)


def test_responses_end_by_their_method_and_status() -> None:
    with_length = parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 5")
    assert BodyReader.of_response(with_length, b"HEAD").done
    assert BodyReader.of_response(parse_response(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5"), b"GET").done
    assert not BodyReader.of_response(with_length, b"GET").done
    endless = BodyReader.of_response(parse_response(b"HTTP/1.1 200 OK"), b"GET")
    assert (endless.until_close, endless.done, endless.feed(b"abc"), endless.done) == (True, False, 3, False)
