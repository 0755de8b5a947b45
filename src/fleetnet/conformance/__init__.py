"""The conformance set: pictures, and the answers that every host has to give to them.

``docs/conformance.md`` describes the set, and how a host in another language uses it.
"""
