"""HTTP: the Open Inference Protocol v2, ``POST /classify``, and what operations need."""
