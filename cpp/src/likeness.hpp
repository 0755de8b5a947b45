// How alike two words are, as Python's difflib says (Ratcliff and Obershelp).
#pragma once

#include <cstddef>
#include <string_view>

namespace fleetnet {

/// How many characters two texts have in common: the longest common part, of several the first in
/// `a`, and of these the first in `b`; and likewise before it and behind it.
template <typename Character>
std::size_t in_common(std::basic_string_view<Character> a, std::basic_string_view<Character> b) {
    std::size_t best = 0, a_at = 0, b_at = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        for (std::size_t j = 0; j < b.size(); ++j) {
            std::size_t length = 0;
            while (i + length < a.size() && j + length < b.size() &&
                   a[i + length] == b[j + length]) {
                ++length;
            }
            if (length > best) best = length, a_at = i, b_at = j;
        }
    }
    if (best == 0) return 0;
    return best + in_common(a.substr(0, a_at), b.substr(0, b_at)) +
           in_common(a.substr(a_at + best), b.substr(b_at + best));
}

/// From 0 to 1; two empty texts are the same.
template <typename Character>
double likeness(std::basic_string_view<Character> a, std::basic_string_view<Character> b) {
    const std::size_t both = a.size() + b.size();
    return both == 0 ? 1.0 : 2.0 * static_cast<double>(in_common(a, b)) / static_cast<double>(both);
}

}  // namespace fleetnet
