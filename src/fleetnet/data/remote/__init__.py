"""Shards that lie elsewhere: finding and fetching them, and a bounded cache of them."""
