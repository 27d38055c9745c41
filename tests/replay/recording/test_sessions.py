import re

from locust_adaptive.replay.recording.sessions import Sessions

HEADERS = (("x-user", "CANARY"), ("Cookie", "a=1; sid=CANARY2; b"))


def test_a_session_is_a_hash_of_its_header_cookie_or_connection():
    names = [
        Sessions(b"salt", header="X-User").identify(HEADERS, "c1"),
        Sessions(b"salt", cookie="sid").identify(HEADERS, "c1"),
        Sessions(b"salt").identify(HEADERS, "c1"),
        Sessions(b"salt").identify(HEADERS, "c2"),
        Sessions(b"pepper").identify(HEADERS, "c1"),
    ]
    assert len({name for name, _ in names}) == 5
    assert all(re.fullmatch("[0-9a-f]{16}", name) and kept for name, kept in names)


def test_the_same_identity_is_the_same_session_on_any_connection():
    sessions = Sessions(b"salt", header="X-User")
    assert sessions.identify(HEADERS, "c1") == sessions.identify(HEADERS, "c2")
    assert sessions.identify((), "c1") != sessions.identify((), "c2")


def test_a_share_of_the_sessions_is_drawn_by_the_seed_whatever_the_salt():
    def drawn(salt, seed, share):
        sessions = Sessions(salt, header="X-User", share=share, seed=seed)
        return {i for i in range(4000) if sessions.identify((("X-User", str(i)),), "")[1]}

    tenth = drawn(b"a", 1, 0.1)
    assert abs(len(tenth) - 400) < 4 * 19  # four standard deviations
    assert drawn(b"b", 1, 0.1) == tenth
    assert tenth < drawn(b"a", 1, 0.5)
    assert drawn(b"a", 2, 0.1) != tenth
    assert drawn(b"a", 1, 0.0) == set()
