"""Proof that one side knows the job's token, without sending it: HMAC-SHA256 over what both sides made up.

Both sides prove it, each over the other's nonce and its own, so that neither can play back what it heard.
"""


def of(token: bytes, side: str, run_id: str, theirs: str, ours: str) -> str:
    """The proof of `side` ("guest" or "host"), over the other side's nonce and its own, in hex."""
    import hmac  # seldom wanted: without a token it is not paid for

    words = (side, run_id, theirs, ours)
    text = b"".join(len(word).to_bytes(4, "big") + word for word in (text.encode() for text in words))
    return hmac.new(token, text, "sha256").hexdigest()


def holds(given: str, token: bytes, side: str, run_id: str, theirs: str, ours: str) -> bool:
    """Whether that is the proof."""
    import hmac

    return hmac.compare_digest(given.encode(), of(token, side, run_id, theirs, ours).encode())
