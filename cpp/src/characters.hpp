// Which characters have a property, as Python says.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>

#include "unicode_tables.hpp"

namespace fleetnet {

/// The range in which a character is, of a table that is sorted; null if it is in none.
template <std::size_t length>
const tables::Range* range_of(const tables::Range (&ranges)[length], char32_t sign) {
    const auto* after = std::upper_bound(
        std::begin(ranges), std::end(ranges), sign,
        [](char32_t wanted, const tables::Range& range) { return wanted < range.first; });
    if (after == std::begin(ranges) || sign > std::prev(after)->last) return nullptr;
    return std::prev(after);
}

/// Whether Python's str.isprintable() says so.
inline bool is_printable(char32_t sign) { return range_of(tables::unprintable, sign) == nullptr; }

}  // namespace fleetnet
