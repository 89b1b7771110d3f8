"""A serving caller: retrieves for Ann, and reports what it showed, so that the next towers learn from it.

Run: python examples/answer.py http://127.0.0.1:8470 127.0.0.1:9092
"""

import sys

from serving.client import Client
from streams.producer import Producer

node, bootstrap = sys.argv[1:]
with Client(node, timeout_s=1.0, retries=2) as client:
    answer = client.retrieve("home-timeline", user_id="ann", k=3, languages=["en"], max_per_author=1)
with Producer(bootstrap) as producer:
    for position, found in enumerate(answer.candidates):
        print(position, found.candidate_id, found.text)
        producer.impression(
            found.candidate_id,
            user_id="ann",
            request_id=answer.request_id,
            surface="home-timeline",
            position=position,
            bundle=answer.bundle,
            query_token=answer.query_token,
            token=found.token,
        )
