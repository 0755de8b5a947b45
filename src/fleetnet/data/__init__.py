"""From a folder of labelled images to batches."""
