"""Making shards of labelled images."""
