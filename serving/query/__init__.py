"""One query, answered from one epoch and a user's state. Knows neither Kafka nor HTTP."""
