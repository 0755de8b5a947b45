// Bytes that somebody else owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fleetnet {

/// A view of bytes: a file's content, encoded pictures. (C++17 has no std::span.)
struct Bytes {
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;

    Bytes() = default;
    Bytes(const std::uint8_t* first, std::size_t length) : data(first), size(length) {}
    Bytes(const std::vector<std::uint8_t>& owned) : data(owned.data()), size(owned.size()) {}

    const std::uint8_t* begin() const { return data; }
    const std::uint8_t* end() const { return data + size; }
    std::uint8_t operator[](std::size_t place) const { return data[place]; }
};

}  // namespace fleetnet
