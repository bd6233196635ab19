"""The aggregator: takes batches from many heads, commits them, and shows them on one page."""
