import pytest

from locust_adaptive.replay.record import CREDENTIALS, Record
from locust_adaptive.replay.recording.heads import ADDRESSES, OF_ONE_REQUEST, repeatable
from locust_adaptive.replay.recording.plan import Plan


@pytest.mark.parametrize(
    "name",
    [*sorted(CREDENTIALS | ADDRESSES), "X-Auth-Key", "X_Api_Key", "My-Token", "X-Secret-Thing", "X-Hub-Signature-256"],
)
def test_headers_that_are_secrets_are_left_out_and_counted(name):
    redactor = Plan().redactor()
    record = Record(0, "s", "GET", "/", ((name.title(), "CANARY"), ("Accept", "*/*")))
    assert redactor.redact(record).headers == (("Accept", "*/*"),)
    assert sum(redactor.counts.values()) == 1


def test_headers_of_one_hop_or_one_request_mean_nothing_later():
    names = (*OF_ONE_REQUEST, "Host", "Content-Length", "Upgrade")
    assert repeatable([(name.title(), "1") for name in names] + [("A", "1"), ("a", "2")]) == (("A", "1"), ("a", "2"))


def test_a_query_parameter_is_a_secret_by_a_word_in_its_name():
    record = (
        Plan(redact_query=("Customer",))
        .redactor()
        .redact(Record(0, "s", "GET", "/a?k=1&My-Token=abc&customer=me&a%70i_key=b&keyboard=c"))
    )
    assert record.path == "/a?k=1&My-Token=xxx&customer=xx&a%70i_key=x&keyboard=c"


def test_a_compressed_body_is_not_kept_where_fields_are_asked_for():
    record = Record(0, "s", "POST", "/", (("Content-Encoding", "gzip"),), b"\x1f\x8b")
    assert Plan().redactor().redact(record).body == b"\x1f\x8b"
    assert Plan(redact_fields=("user",)).redactor().redact(record).omitted == 2
