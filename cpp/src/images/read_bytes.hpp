// Reading numbers out of bytes, never beyond their end.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "bytes.hpp"

namespace fleetnet {

inline std::uint32_t big16(const std::uint8_t* p) {
    return static_cast<std::uint32_t>(p[0]) << 8 | p[1];
}
inline std::uint32_t big32(const std::uint8_t* p) { return big16(p) << 16 | big16(p + 2); }
inline std::uint32_t little16(const std::uint8_t* p) {
    return static_cast<std::uint32_t>(p[1]) << 8 | p[0];
}
inline std::uint32_t little32(const std::uint8_t* p) { return little16(p + 2) << 16 | little16(p); }

/// The part of `bytes` from `start` on, at most `size` long; empty beyond the end, as in Python.
inline Bytes slice(Bytes bytes, std::size_t start, std::size_t size = SIZE_MAX) {
    if (start >= bytes.size) return Bytes(bytes.data + bytes.size, 0);
    const std::size_t left = bytes.size - start;
    return Bytes(bytes.data + start, size < left ? size : left);
}

template <std::size_t N>
bool starts_with(Bytes bytes, const char (&text)[N]) {
    return bytes.size >= N - 1 && std::memcmp(bytes.data, text, N - 1) == 0;
}

inline std::string text_of(Bytes bytes) { return std::string(bytes.begin(), bytes.end()); }

}  // namespace fleetnet
