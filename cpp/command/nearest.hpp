// The known word that somebody probably meant: Python's difflib, for the same suggestions.
#pragma once

#include <string>
#include <vector>

#include "text.hpp"

namespace fleetnet::command {

/// Return the known words most like a word, best first; as difflib.get_close_matches.
std::vector<std::string> close_matches(const Text& word, const std::vector<std::string>& known,
                                       std::size_t most, double cutoff);

/// Return `, did you mean 'x'?` for the known word closest to `word`, else nothing.
std::string nearest(const std::string& word, const std::vector<std::string>& known);

/// Throws Error(Code::argument), which names the nearest and all, if a word is none of those known.
void check_known(const std::string& what, const std::string& word,
                 const std::vector<std::string>& known);

}  // namespace fleetnet::command
