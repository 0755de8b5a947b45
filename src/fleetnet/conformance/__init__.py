"""The conformance set: pictures and the answers to them that every host has to give.

``docs/conformance.md`` describes the set, and how a host in another language uses it.
"""
