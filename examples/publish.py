"""A producer: who Ann is, a tweet, and that she liked it. The base install is enough.

Run: python examples/publish.py 127.0.0.1:9092
"""

import sys

from streams.producer import Producer

bootstrap = sys.argv[1]
with Producer(bootstrap) as producer:
    producer.user("ann", languages=("en",), interests=("birds",))
    producer.tweet("t:example", author_id="a:7", text="A heron on the roof", language="en", topics=["birds"])
    producer.engagement("t:example", user_id="ann", kind="favorite")
# the block ends when the broker has acknowledged all of it, or by an error
print("acknowledged at", producer.written)
