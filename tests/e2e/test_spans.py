"""Spans full of prompts, sent to the product as in production. The leak scan, which comes last, looks for them."""

import hashlib
import secrets
import urllib.error
import urllib.request

import pytest

from tests.e2e.ground import Ground
from tests.ledger.otlp.spans import as_json
from tests.ledger.otlp.test_canaries import SCOPES, everywhere

PROTOBUF, JSON = "application/x-protobuf", "application/json"


class Exporter:
    """Of a project of a team; what it sends goes through the relay."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.team = ground.team()
        self.token = f"alpi_{secrets.token_urlsafe(32)}"
        ground.canaries.add("an ingest token", self.token, allowed={"sent"})
        ground.query(
            "INSERT INTO directory_ingesttoken (id, digest, organization_id, project_id, name, ending)"
            " VALUES (gen_random_uuid(), %s, %s, %s, 'spans', 'test')",
            [hashlib.sha256(self.token.encode()).digest(), self.team.organization_id, self.team.project_id],
        )

    def post(self, body: bytes, content_type: str) -> int:
        headers = {"Content-Type": content_type, "Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(f"{self.ground.url}/v1/traces", body, headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def rows(self) -> int:
        [(count,)] = self.ground.query(f"SELECT count(*) FROM {self.team.schema}.ledger_usageevent")
        return int(count)


@pytest.fixture(scope="module")
def exporter(ground: Ground) -> Exporter:
    return Exporter(ground)


@pytest.mark.parametrize("scope", SCOPES)
def test_content_is_sent_in_every_attribute_and_place(exporter: Exporter, scope: str) -> None:
    """Below each emitter's scope, in both encodings, and in requests that can't be read."""
    prompt = f"My mother's maiden name is {secrets.token_urlsafe(12)}."
    exporter.ground.canaries.add(f"content of {scope}", prompt, allowed={"sent"})
    before = exporter.rows()
    whole = everywhere(scope, prompt)
    [span] = whole.resource_spans[0].scope_spans[0].spans
    span.trace_id = secrets.token_bytes(16)
    assert exporter.post(whole.SerializeToString(), PROTOBUF) == 200
    span.span_id = secrets.token_bytes(8)
    assert exporter.post(as_json(whole), JSON) == 200
    assert exporter.rows() == before + 2
    assert exporter.post(whole.SerializeToString()[:-1], PROTOBUF) == 400
    assert exporter.post(as_json(whole)[:-1], JSON) == 400
    assert exporter.post(as_json(whole), "text/plain") == 415
    span.span_id = b"short"
    assert exporter.post(whole.SerializeToString(), PROTOBUF) == 200
    assert exporter.rows() == before + 2
