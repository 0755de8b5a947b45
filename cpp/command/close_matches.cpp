#include "close_matches.hpp"

#include <algorithm>
#include <utility>

#include "likeness.hpp"

namespace fleetnet::command {

std::vector<std::string> close_matches(const Text& word, const std::vector<std::string>& known,
                                       std::size_t most, double cutoff) {
    std::vector<std::pair<double, std::string>> found;
    // The comparison takes the square of the length, and nobody means a word by so long a one.
    if (word.size() > 200) return {};
    for (const std::string& candidate : known) {
        const double alike = likeness<char32_t>(text_of(candidate), word);
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
