// The known words that somebody may have meant: Python's difflib, for the same suggestions.
#pragma once

#include <string>
#include <vector>

#include "text.hpp"

namespace fleetnet::command {

/// Return the known words most like a word, best first; as difflib.get_close_matches.
std::vector<std::string> close_matches(const Text& word, const std::vector<std::string>& known,
                                       std::size_t most, double cutoff);

}  // namespace fleetnet::command
