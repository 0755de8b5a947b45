#include "close_matches.hpp"

#include <algorithm>
#include <utility>

namespace fleetnet::command {

namespace {

struct Block {
    std::size_t a, b, length;
};

/// Return the longest common part; of several the first in `a`, and of these the first in `b`.
Block longest(std::u32string_view a, std::u32string_view b) {
    Block best{0, 0, 0};
    for (std::size_t first = 0; first < a.size(); ++first) {
        for (std::size_t second = 0; second < b.size(); ++second) {
            std::size_t length = 0;
            while (first + length < a.size() && second + length < b.size() &&
                   a[first + length] == b[second + length]) {
                ++length;
            }
            if (length > best.length) best = {first, second, length};
        }
    }
    return best;
}

std::size_t matching(std::u32string_view a, std::u32string_view b) {
    const Block block = longest(a, b);
    if (block.length == 0) return 0;
    return block.length + matching(a.substr(0, block.a), b.substr(0, block.b)) +
           matching(a.substr(block.a + block.length), b.substr(block.b + block.length));
}

double ratio(const Text& a, const Text& b) {
    const std::size_t both = a.size() + b.size();
    return both == 0 ? 1.0 : 2.0 * static_cast<double>(matching(a, b)) / static_cast<double>(both);
}

}  // namespace

std::vector<std::string> close_matches(const Text& word, const std::vector<std::string>& known,
                                       std::size_t most, double cutoff) {
    std::vector<std::pair<double, std::string>> found;
    // The comparison takes the square of the length, and nobody means a word by so long a one.
    if (word.size() > 200) return {};
    for (const std::string& candidate : known) {
        const double alike = ratio(text_of(candidate), word);
        if (alike >= cutoff) found.emplace_back(alike, candidate);
    }
    std::sort(found.rbegin(), found.rend());
    std::vector<std::string> words;
    for (const auto& [alike, candidate] : found) {
        if (words.size() < most) words.push_back(candidate);
    }
    return words;
}

}  // namespace fleetnet::command
