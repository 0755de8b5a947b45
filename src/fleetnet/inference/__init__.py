"""From images to answers, without a deep-learning framework."""
