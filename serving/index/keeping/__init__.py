"""What keeps an index in shape beside its queries: the steps, and the thread that takes them."""
